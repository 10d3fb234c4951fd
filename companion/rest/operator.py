"""The routes of the hospital's staff: `operator/…`. Personal data is masked without a purpose."""

from dataclasses import replace
from datetime import date, datetime, time, timedelta
from enum import StrEnum
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from pydantic import Field, StringConstraints

from care.accounts import STAFF, Account, Name, Phone, Role
from care.audit import Entry
from care.consultation import Consultation, Search, State
from care.directory import Practice, Title
from care.effects import DeadLetter
from care.errors import BadRequest
from care.masking import mask_id_card, mask_name, mask_phone
from care.payments import Payment, PaymentState
from care.record import wire_time
from companion.operator import OperatorService
from companion.rest.auth import NewPassword
from companion.rest.kernel import Body, Call, Route
from companion.rest.paging import Listed, PageQuery, Query
from companion.rest.staff_answers import (
    Letter,
    Made,
    MaskedAccount,
    MaskedConsultation,
    MaskedWithPayment,
    RevealedAccount,
    RevealedConsultation,
)

ADMIN = frozenset({Role.ADMIN})
Id = Annotated[str, StringConstraints(min_length=1, max_length=64)]
Day = date
"""`date` is also a query field, and hides this name in its model."""
Place = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=64)]
Why = Annotated[str, StringConstraints(strip_whitespace=True, min_length=2, max_length=200)]


class Reason(Body):
    reason: Why


class Purpose(Body):
    purpose: Why


class StaffRole(StrEnum):
    """Roles that registration never gives to a person."""

    DOCTOR = "doctor"
    PHARMACIST = "pharmacist"
    OPERATOR = "operator"
    ADMIN = "admin"


class NewStaff(Body):
    """`title`, `hospital` and `department` are a doctor's, who needs the last two."""

    role: StaffRole
    phone: Phone
    name: Name
    password: NewPassword
    title: Title = Title.RESIDENT
    hospital: Place | None = None
    department: Place | None = None

    def practice(self) -> Practice | None:
        """Give where a doctor stands in the directory. Raises BadRequest."""
        if self.role is not StaffRole.DOCTOR:
            return None
        if self.hospital is None or self.department is None:
            places = {"hospital": self.hospital, "department": self.department}
            missing = [name for name, place in places.items() if place is None]
            raise BadRequest(fields=dict.fromkeys(missing, "医生账号须填写"))
        return Practice(title=self.title, hospital=self.hospital, department=self.department)


class ConsultationQuery(PageQuery):
    """`date` is the day of creation in the hospital's zone."""

    state: State | None = None
    doctor: Id | None = None
    patient: Id | None = None
    order_no: Id | None = None
    date: Day | None = None


class PaymentQuery(PageQuery):
    state: PaymentState | None = None


class SoonestQuery(Query):
    limit: int = Field(default=20, ge=1, le=100)


class TrailQuery(PageQuery):
    subject: Id


class OperatorRoutes:
    def __init__(self, operator: OperatorService, zone: ZoneInfo) -> None:
        self._operator = operator
        self._zone = zone

    def routes(self) -> list[Route]:
        rows = [*self._consultations(), *self._money_and_letters(), *self._accounts()]
        return [replace(row, tag="operator", roles=row.roles or STAFF) for row in rows]

    def _consultations(self) -> list[Route]:
        every, one = "/operator/consultations", "/operator/consultations/{id}"
        return [
            Route("GET", every, self.search, query=ConsultationQuery,
                  answer=Listed[MaskedConsultation],
                  summary="Find consultations, newest first"),
            Route("GET", one, self.look_up,
                  answer=MaskedWithPayment, summary="Show one and its payment, masked"),
            Route("POST", f"{one}/reveal", self.reveal, body=Purpose, answer=RevealedConsultation,
                  summary="Show one in full, for a stated purpose"),
            Route("POST", f"{one}/cancel", self.cancel, body=Reason, answer=MaskedConsultation,
                  summary="Close an open one in the hospital's name; what was paid goes back"),
            Route("GET", "/operator/deadlines", self.deadlines, query=SoonestQuery,
                  answer=Listed[MaskedConsultation],
                  summary="List the running clocks, the soonest first"),
        ]  # fmt: skip

    def _money_and_letters(self) -> list[Route]:
        letters = "/operator/dead-letters"
        return [
            Route("GET", "/operator/payments", self.payments, query=PaymentQuery,
                  answer=Listed[Payment],
                  summary="List payments, newest first"),
            Route("POST", "/operator/payments/{id}/refund", self.refund, body=Reason,
                  answer=Payment,
                  summary="Give back what was paid for a consultation that is over"),
            Route("GET", "/operator/refunds", self.refunds, query=PageQuery, answer=Listed[Payment],
                  summary="List refunds, the newest payments first"),
            Route("GET", letters, self.dead_letters, query=PageQuery, answer=Listed[Letter],
                  summary="List what was given up"),
            Route("POST", f"{letters}/{{id}}/retry", self.revive, status=204,
                  summary="Have one tried again"),
        ]  # fmt: skip

    def _accounts(self) -> list[Route]:
        every, one = "/operator/accounts", "/operator/accounts/{id}"
        return [
            Route("POST", every, self.create_staff, body=NewStaff, status=201, answer=Made,
                  summary="Make an account of the staff"),
            Route("GET", one, self.account, answer=MaskedAccount, summary="Show one, masked"),
            Route("POST", f"{one}/reveal", self.reveal_account, body=Purpose,
                  answer=RevealedAccount,
                  summary="Show one's numbers in full, for a stated purpose"),
            Route("GET", "/operator/audit", self.trail, query=TrailQuery, roles=ADMIN,
                  answer=Listed[Entry],
                  summary="List who touched a subject's data"),
        ]  # fmt: skip

    async def search(self, call: Call) -> Any:
        query: ConsultationQuery = call.query
        begins, ends = self._day(query.date)
        wanted = Search(
            state=query.state, doctor=query.doctor, patient=query.patient,
            order_no=query.order_no, begins=begins, ends=ends,
        )  # fmt: skip
        found = await self._operator.search(call.caller, wanted, query.cursor, query.limit + 1)
        return _page(found, query.limit, masked)

    async def look_up(self, call: Call) -> Any:
        consultation, payment = await self._operator.look_up(call.caller, call.path["id"])
        return masked(consultation) | {"payment": payment and money(payment)}

    async def reveal(self, call: Call) -> Any:
        consultation, payment = await self._operator.look_up(
            call.caller, call.path["id"], call.body.purpose
        )
        return full(consultation) | {"payment": payment and money(payment)}

    async def cancel(self, call: Call) -> Any:
        moved = await self._operator.cancel(call.caller, call.path["id"], call.body.reason)
        return masked(moved)

    async def deadlines(self, call: Call) -> Any:
        found = await self._operator.deadlines(call.caller, call.query.limit)
        return {"items": [masked(one) for one in found], "cursor": None}

    async def payments(self, call: Call) -> Any:
        states = [call.query.state] if call.query.state else None
        return await self._money(call, states)

    async def refund(self, call: Call) -> Any:
        return money(await self._operator.refund(call.caller, call.path["id"], call.body.reason))

    async def refunds(self, call: Call) -> Any:
        return await self._money(call, [PaymentState.REFUNDING, PaymentState.REFUNDED])

    async def _money(self, call: Call, states: list[PaymentState] | None) -> Any:
        limit = call.query.limit
        found = await self._operator.payments(call.caller, states, call.query.cursor, limit + 1)
        return _page(found, limit, money)

    async def dead_letters(self, call: Call) -> Any:
        limit = call.query.limit
        found = await self._operator.dead_letters(call.caller, call.query.cursor, limit + 1)
        return _page(found, limit, letter)

    async def revive(self, call: Call) -> None:
        await self._operator.revive(call.caller, call.path["id"])

    async def create_staff(self, call: Call) -> Any:
        body: NewStaff = call.body
        role = Role(body.role)
        return {
            "id": await self._operator.create_staff(
                call.caller, role, body.phone, body.name, body.password, body.practice()
            )
        }

    async def account(self, call: Call) -> Any:
        return person(await self._operator.account(call.caller, call.path["id"]))

    async def reveal_account(self, call: Call) -> Any:
        purpose = call.body.purpose
        account = await self._operator.account(call.caller, call.path["id"], purpose)
        numbers = {"phone": account.phone, "id_card": account.id_card}
        return person(account) | numbers | {"real_name": account.real_name}

    async def trail(self, call: Call) -> Any:
        query: TrailQuery = call.query
        found = await self._operator.trail(
            call.caller, query.subject, query.cursor, query.limit + 1
        )
        return _page(found, query.limit, lambda entry: entry.model_dump())

    def _day(self, day: date | None) -> tuple[datetime | None, datetime | None]:
        """Give the day's bounds in the hospital's zone."""
        if day is None:
            return None, None
        try:
            begins = datetime.combine(day, time(), self._zone)
            return begins, begins + timedelta(days=1)
        except OverflowError:
            raise BadRequest.field("date", "日期超出范围") from None


def _page(found: list[Any], limit: int, show: Any) -> dict[str, Any]:
    """Give a page of what was asked for with one more, which says whether another page follows."""
    shown = found[:limit]
    return {
        "items": [show(one) for one in shown],
        "cursor": shown[-1].id if len(found) > limit else None,
    }


def masked(c: Consultation) -> dict[str, Any]:
    """Show what running the hospital needs: no complaint, no pictures, nobody's whole name."""
    shown = c.model_dump(
        include={
            "id", "order_no", "mode", "state", "room", "patient", "doctor", "price", "created_at",
            "waiting_since", "accepted_at", "ended_at", "closed_reason", "check_at",
        }
    )  # fmt: skip
    return shown | {
        "patient_name": mask_name(c.patient_name),
        "person": c.person.to_wire() | {"name": mask_name(c.person.name)},
    }


def full(c: Consultation) -> dict[str, Any]:
    return c.model_dump(exclude={"request", "version"})


def money(payment: Payment) -> dict[str, Any]:
    return payment.model_dump()


def letter(dead: DeadLetter) -> dict[str, Any]:
    """Show what was given up by the kinds of its effects: their contents may be personal."""
    return {
        "id": dead.id,
        "effects": [effect.type for effect in dead.effects],
        "error": dead.error,
        "failures": dead.failures,
        "died_at": wire_time(dead.died_at),
    }


def person(account: Account) -> dict[str, Any]:
    return {
        "id": account.id,
        "role": account.role,
        "name": mask_name(account.name),
        "phone": mask_phone(account.phone),
        "id_card": account.id_card and mask_id_card(account.id_card),
        "verified": account.verified,
        "has_password": account.password_hash is not None,
        "must_change_password": account.must_change_password,
        "created_at": account.created_at,
    }
