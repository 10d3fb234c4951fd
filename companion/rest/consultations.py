"""The consultations' routes (C1–C14)."""

from dataclasses import replace
from typing import Annotated, Any

from pydantic import Field, StringConstraints

from care.accounts import STAFF, Role
from care.consultation import Mode, State
from care.ports import Audit, Clock
from companion.rest.answers import BegunPayment, ConsultationView, Counted
from companion.rest.kernel import Body, Call, Route
from companion.rest.paging import PageQuery, several
from realtime.rooms.consultations import ConsultationService
from realtime.rooms.requests import Form, RequestService

Id = Annotated[str, StringConstraints(min_length=1, max_length=64)]
PATIENT = frozenset({Role.PATIENT})
DOCTOR = frozenset({Role.DOCTOR})


class NewConsultation(Body):
    doctor: Id
    mode: Mode
    person: Id
    seen_before: bool
    description: Annotated[str, StringConstraints(max_length=1000)]
    images: tuple[Id, ...] = Field(default=(), max_length=50)
    slot: Id | None = None
    consent_version: Annotated[str, StringConstraints(max_length=32)]
    prior_diagnosis: Annotated[str, StringConstraints(max_length=500)] | None = None
    guardian_present: bool = False


class Decline(Body):
    reason: Annotated[str, StringConstraints(min_length=1, max_length=200)]


class Listing(PageQuery):
    state: str | None = Field(default=None, max_length=200)
    """One state, or several with commas."""


class ConsultationRoutes:
    """Join the consultations' use cases to their rows."""

    def __init__(
        self,
        requests: RequestService,
        consultations: ConsultationService,
        audit: Audit,
        clock: Clock,
    ) -> None:
        self._audit = audit
        self._requests = requests
        self._consultations = consultations
        self._clock = clock

    def routes(self) -> list[Route]:
        one = "/consultations/{id}"
        rows = [
            Route("POST", "/consultations", self.create,
                  answer=ConsultationView, body=NewConsultation, roles=PATIENT,
                  status=201, summary="Ask a doctor for a consultation (问诊)"),
            Route("GET", "/consultations", self.list, query=Listing,
                  answer=Counted[ConsultationView],
                  summary="List one's consultations, with the counts by state"),
            Route("GET", one, self.get, answer=ConsultationView, summary="Show one"),
            Route("POST", f"{one}/pay", self.pay, roles=PATIENT,
                  answer=BegunPayment, summary="Begin the payment"),
            Route("POST", f"{one}/cancel", self.cancel,
                  answer=ConsultationView, summary="Cancel before it begins"),
            Route("POST", f"{one}/accept", self.accept,
                  answer=ConsultationView, roles=DOCTOR, summary="Accept (接诊)"),
            Route("POST", f"{one}/decline", self.decline,
                  answer=ConsultationView, body=Decline, roles=DOCTOR,
                  summary="Decline before or after accepting (退诊)"),
            Route("POST", f"{one}/end", self.end, answer=ConsultationView, summary="End it"),
        ]  # fmt: skip
        return [replace(row, tag="consultations") for row in rows]

    async def create(self, call: Call) -> Any:
        form = Form(request=call.creation_id(self._clock.now()), **dict(call.body))
        made = await self._requests.submit(call.caller, form)
        return await self._consultations.show(made, call.caller.user)

    async def list(self, call: Call) -> Any:
        states = several(call.query.state, State)
        views, cursor, counts = await self._consultations.page(
            call.caller, states, call.query.cursor, call.query.limit
        )
        return {"items": views, "cursor": cursor, "counts": counts}

    async def get(self, call: Call) -> Any:
        found = await self._consultations.find(call.path["id"], call.caller)
        if call.caller.role in STAFF:
            details = {"consultation": found.id}
            await self._audit.record(
                call.caller.user, "consultation_read", found.patient, "own_view", details
            )
        return await self._consultations.show(found, call.caller.user)

    async def accept(self, call: Call) -> Any:
        moved = await self._consultations.accept(call.path["id"], call.caller)
        return await self._consultations.show(moved, call.caller.user)

    async def decline(self, call: Call) -> Any:
        moved = await self._consultations.decline(call.path["id"], call.caller, call.body.reason)
        return await self._consultations.show(moved, call.caller.user)

    async def end(self, call: Call) -> Any:
        moved = await self._consultations.end(call.path["id"], call.caller)
        return await self._consultations.show(moved, call.caller.user)

    async def cancel(self, call: Call) -> Any:
        moved = await self._consultations.cancel(call.path["id"], call.caller)
        return await self._consultations.show(moved, call.caller.user)

    async def pay(self, call: Call) -> Any:
        payment, params = await self._consultations.pay(call.path["id"], call.caller)
        return {"payment": payment.to_wire(), "params": dict(params)}
