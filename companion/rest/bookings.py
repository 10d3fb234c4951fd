"""The routes of bookings (预约): making one, the list, cancelling (B3, B4, B7)."""

from dataclasses import replace
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from pydantic import Field

from care.accounts import Role
from care.bookings import BookingState, booking_state
from care.consultation import Consultation
from care.ports import Clock
from care.record import wire_time
from care.schedules import label
from companion.bookings import BookingService
from companion.rest.answers import BookingView
from companion.rest.consultations import PATIENT, Id, NewConsultation
from companion.rest.kernel import Call, Route
from companion.rest.paging import Listed, PageQuery, several
from realtime.rooms.requests import Form, RequestService
from realtime.rooms.views import slot_view

MEMBERS = frozenset({Role.PATIENT, Role.DOCTOR})


class NewBooking(NewConsultation):
    """The consultation's form, with the slot."""

    slot: Id


class Listing(PageQuery):
    state: str | None = Field(default=None, max_length=200)
    """One state, or several with commas."""


class BookingRoutes:
    def __init__(
        self, requests: RequestService, bookings: BookingService, clock: Clock, zone: ZoneInfo
    ) -> None:
        self._requests = requests
        self._bookings = bookings
        self._clock = clock
        self._zone = zone

    def routes(self) -> list[Route]:
        one = "/bookings/{id}"
        rows = [
            Route("POST", "/bookings", self.create, body=NewBooking, roles=PATIENT, status=201,
                  answer=BookingView,
                  summary="Book a voice or video consultation (预约)"),
            Route("GET", "/bookings", self.list, query=Listing, roles=MEMBERS,
                  answer=Listed[BookingView],
                  summary="The own bookings, newest first"),
            Route("GET", one, self.get, roles=MEMBERS, answer=BookingView, summary="Show one"),
            Route("POST", f"{one}/cancel", self.cancel, roles=PATIENT,
                  answer=BookingView, summary="Cancel it in time"),
        ]  # fmt: skip
        return [replace(row, tag="bookings") for row in rows]

    async def create(self, call: Call) -> Any:
        form = Form(request=call.creation_id(self._clock.now()), **dict(call.body))
        return self._view(await self._requests.submit(call.caller, form))

    async def list(self, call: Call) -> Any:
        query: Listing = call.query
        states = several(query.state, BookingState)
        found = await self._bookings.page(call.caller, states, query.cursor, query.limit + 1)
        shown = found[: query.limit]
        cursor = shown[-1].id if len(found) > query.limit else None
        return {"items": [self._view(c) for c in shown], "cursor": cursor}

    async def get(self, call: Call) -> Any:
        return self._view(await self._bookings.find(call.path["id"], call.caller))

    async def cancel(self, call: Call) -> Any:
        return self._view(await self._bookings.cancel(call.path["id"], call.caller))

    def _view(self, c: Consultation) -> Any:
        return booking_view(c, self._zone)


def booking_view(c: Consultation, zone: ZoneInfo) -> dict[str, Any]:
    """Show a booking as 我的预约 does, numbers masked."""
    slot, reason = c.slot, c.closed_reason
    return {
        "id": c.id,
        "state": booking_state(c).value,
        "order_no": c.order_no,
        "room": c.room,
        "mode": c.mode.value,
        "doctor": c.doctor.model_dump(),
        "account": {"id": c.patient, "name": c.patient_name},
        "person": c.person.model_dump(),
        "slot": slot and slot_view(slot),
        "time": slot and f"{slot.starts_at.astimezone(zone):%Y-%m-%d %H:%M:%S}",
        "label": slot and label(slot.starts_at.astimezone(zone)),
        "price": c.price,
        "closed_reason": reason
        and {"text": reason.text, "detail": reason.detail, "missed_by": reason.missed_by},
        "created_at": wire_time(c.created_at),
    }


def spoken_times(starts_at: datetime, ends_at: datetime, zone: ZoneInfo) -> dict[str, str]:
    """Give a time for machines, and as the hospital's clocks say it."""
    begins, ends = starts_at.astimezone(zone), ends_at.astimezone(zone)
    return {
        "starts_at": wire_time(starts_at),
        "ends_at": wire_time(ends_at),
        "begins": f"{begins:%H:%M}",
        "ends": f"{ends:%H:%M}",
        "label": label(begins),
    }
