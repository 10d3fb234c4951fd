"""The routes of a doctor's schedule, and of what it leaves free (B1, B7, B8)."""

from dataclasses import replace
from datetime import date as Day  # noqa: N812  a field of this name hides the type
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from pydantic import Field

from care.accounts import Role
from care.consultation import Mode
from care.ports import Clock
from care.schedules import WEEKDAYS, DayTime, Schedule
from companion.bookings import BookingService, Entry, Offer
from companion.rest.answers import DayEntry, SlotOffer, StripDay
from companion.rest.bookings import booking_view, spoken_times
from companion.rest.consultations import Decline, Id
from companion.rest.kernel import Body, Call, Route
from companion.rest.paging import Listed, Query, page
from companion.schedules import ScheduleService

DOCTOR = frozenset({Role.DOCTOR})

Weekday = Annotated[int, Field(ge=1, le=7)]
Modes = Annotated[tuple[Mode, ...], Field(min_length=1, max_length=2)]


class NewSchedule(Body):
    weekday: Weekday
    begins: DayTime
    ends: DayTime
    modes: Modes


class ScheduleChange(Body):
    """What is absent, or null, stays as it is."""

    weekday: Weekday | None = None
    begins: DayTime | None = None
    ends: DayTime | None = None
    modes: Modes | None = None


class SlotQuery(Query):
    """Without a date: the days, each with how many slots are free."""

    mode: Literal["voice", "video"]
    date: Day | None = None


class DayQuery(Query):
    date: Day


class Reopen(Body):
    """A slot of the day, or without one the whole day."""

    date: Day
    slot: Id | None = None


class CallOff(Reopen, Decline): ...


class ScheduleRoutes:
    def __init__(
        self,
        schedules: ScheduleService,
        bookings: BookingService,
        clock: Clock,
        zone: ZoneInfo,
    ) -> None:
        self._schedules = schedules
        self._bookings = bookings
        self._clock = clock
        self._zone = zone

    def routes(self) -> list[Route]:
        one = "/schedules/{id}"
        rows = [
            Route("GET", "/schedules", self.list, roles=DOCTOR, answer=Listed[Schedule],
                  summary="The own schedule (出诊时间)"),
            Route("POST", "/schedules", self.add, body=NewSchedule, roles=DOCTOR, status=201,
                  answer=Schedule, summary="Add a period"),
            Route("PATCH", one, self.edit, body=ScheduleChange, roles=DOCTOR, answer=Schedule,
                  summary="Change a period; what is booked stays"),
            Route("DELETE", one, self.remove, roles=DOCTOR, status=204,
                  summary="Remove a period; what is booked stays"),
            Route("GET", "/doctors/{id}/slots", self.offers, query=SlotQuery,
                  answer=Listed[StripDay] | Listed[SlotOffer],
                  summary="What can be booked: the days, or the slots of one"),
            Route("GET", "/slots", self.day, query=DayQuery, roles=DOCTOR, answer=Listed[DayEntry],
                  summary="A doctor's day: what is free, booked and blocked"),
            Route("POST", "/slots/cancel", self.call_off, body=CallOff, roles=DOCTOR,
                  answer=Listed[DayEntry],
                  summary="Cancel a slot or a day"),
            Route("POST", "/slots/reopen", self.reopen, body=Reopen, roles=DOCTOR,
                  answer=Listed[DayEntry],
                  summary="Offer what was blocked again, a slot or a day"),
        ]  # fmt: skip
        return [replace(row, tag="schedules") for row in rows]

    async def list(self, call: Call) -> Any:
        return page(await self._schedules.all_of(call.caller.user))

    async def add(self, call: Call) -> Any:
        schedule_id = call.creation_id(self._clock.now())
        return await self._schedules.add(call.caller.user, schedule_id, dict(call.body))

    async def edit(self, call: Call) -> Any:
        changes = call.body.model_dump(exclude_none=True)
        return await self._schedules.edit(call.caller.user, call.path["id"], changes)

    async def remove(self, call: Call) -> None:
        await self._schedules.remove(call.caller.user, call.path["id"])

    async def offers(self, call: Call) -> Any:
        query: SlotQuery = call.query
        offers = await self._bookings.offers(call.path["id"], Mode(query.mode))
        if query.date is None:
            return page([_strip_day(day, of_day) for day, of_day in offers.items()])
        return page([self._offer(offer) for offer in offers.get(query.date, [])])

    async def day(self, call: Call) -> Any:
        entries = await self._bookings.day(call.caller.user, call.query.date)
        return page([self._entry(entry) for entry in entries])

    async def call_off(self, call: Call) -> Any:
        body: CallOff = call.body
        entries = await self._bookings.call_off(call.caller, body.date, body.slot, body.reason)
        return page([self._entry(entry) for entry in entries])

    async def reopen(self, call: Call) -> Any:
        body: Reopen = call.body
        entries = await self._bookings.reopen(call.caller, body.date, body.slot)
        return page([self._entry(entry) for entry in entries])

    def _offer(self, offer: Offer) -> Any:
        slot = offer.slot
        return {
            "id": slot.id,
            **spoken_times(slot.starts_at, slot.ends_at, self._zone),
            "number": slot.number,
            "free": offer.free,
        }

    def _entry(self, entry: Entry) -> Any:
        slot = (entry.booking and entry.booking.slot) or entry.slot
        return {
            "id": entry.slot_id,
            **spoken_times(entry.starts_at, entry.ends_at, self._zone),
            "number": slot.number if slot else None,
            "modes": entry.slot.modes if entry.slot else [],
            "state": entry.state,
            "booking": booking_view(entry.booking, self._zone) if entry.booking else None,
        }


def _strip_day(day: Day, offers: list[Offer]) -> Any:
    return {
        "date": day,
        "weekday": day.isoweekday(),
        "label": WEEKDAYS[day.isoweekday() - 1],
        "free": sum(offer.free for offer in offers),
    }
