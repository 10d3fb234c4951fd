"""The use cases of bookings: what is free, a doctor's day, calling it off, the lists (B1–B8)."""

from dataclasses import dataclass
from datetime import date, datetime
from zoneinfo import ZoneInfo

from care.accounts import Caller
from care.bookings import BookingState, booking_state, named
from care.consultation import Consultation, Mode, State
from care.errors import BadRequest, Conflict, Forbidden, Unavailable
from care.policy import BookingPolicy
from care.ports import Clock
from care.schedules import Slot, bookable_days, day_bounds
from care.slots import Taking
from realtime.rooms.consultations import ConsultationService
from storage.consultations import Consultations
from storage.doctors import Doctors
from storage.schedules import Schedules
from storage.slots import Slots

ATTEMPTS = 10
"""How often a time is blocked again after a booking left or took it; each is somebody's move."""
DAYS_AWAY_MAX = 366
NO_SLOT = "当天没有这个时段"


@dataclass(frozen=True, slots=True)
class Offer:
    """A slot as a patient sees it."""

    slot: Slot
    free: bool


@dataclass(frozen=True, slots=True)
class Entry:
    """A time of a doctor's day: of his schedule, or taken, or both."""

    starts_at: datetime
    ends_at: datetime
    slot: Slot | None
    taking: Taking | None = None
    booking: Consultation | None = None

    @property
    def slot_id(self) -> str | None:
        booked = self.booking and self.booking.slot
        known = booked or self.slot
        return known.id if known else None

    @property
    def state(self) -> str:
        if self.booking:
            return booking_state(self.booking).value
        return "blocked" if self.taking else "free"


class BookingService:
    def __init__(
        self,
        schedules: Schedules,
        slots: Slots,
        doctors: Doctors,
        found: Consultations,
        moves: ConsultationService,
        clock: Clock,
        policy: BookingPolicy,
        zone: ZoneInfo,
    ) -> None:
        self._schedules = schedules
        self._slots = slots
        self._doctors = doctors
        self._found = found
        self._moves = moves
        self._clock = clock
        self._policy = policy
        self._zone = zone

    async def offers(self, doctor_id: str, mode: Mode) -> dict[date, list[Offer]]:
        """List the strip's days with their slots; none where the doctor doesn't offer the mode.

        Raises Forbidden for an unknown doctor.
        """
        doctor = await self._doctors.find(doctor_id)
        if doctor is None:
            raise Forbidden
        days = bookable_days(self._clock.now(), self._zone, self._policy.days)
        if doctor.prices.of(mode) is None:
            return {day: [] for day in days}
        timetable = await self._schedules.of(doctor_id)
        begins, ends = day_bounds(days[0], self._zone)[0], day_bounds(days[-1], self._zone)[1]
        taken = await self._slots.taken(doctor_id, begins, ends)
        return {
            day: [
                Offer(slot, not any(t.overlaps(slot.starts_at, slot.ends_at) for t in taken))
                for slot in timetable.slots_on(day, self._zone, mode)
            ]
            for day in days
        }

    async def day(self, doctor: str, day: date) -> list[Entry]:
        """List a doctor's day in its order: what is free, booked and blocked (B7)."""
        today = self._clock.now().astimezone(self._zone).date()
        if abs((day - today).days) > DAYS_AWAY_MAX:
            raise BadRequest.field("date", f"应在{DAYS_AWAY_MAX}天之内")
        slots = (await self._schedules.of(doctor)).slots_on(day, self._zone)
        takings = await self._slots.taken(doctor, *day_bounds(day, self._zone))
        booked = await self._found.among([t.consultation for t in takings if t.consultation])
        at = {slot.starts_at: slot for slot in slots}
        entries = [
            Entry(
                taking.starts_at, taking.ends_at, at.get(taking.starts_at), taking,
                booked.get(taking.consultation or ""),
            )
            for taking in takings
        ] + [
            Entry(slot.starts_at, slot.ends_at, slot)
            for slot in slots
            if not any(t.overlaps(slot.starts_at, slot.ends_at) for t in takings)
        ]  # fmt: skip
        return sorted(entries, key=lambda entry: entry.starts_at)

    async def call_off(
        self, doctor: Caller, day: date, slot_id: str | None, reason: str
    ) -> list[Entry]:
        """Let a doctor cancel a slot or the day; give the day as it is then (B8).

        What is free is blocked, what is booked is cancelled, what has begun stays. Raises Conflict
        when the day has no such slot.
        """
        entries = await self.day(doctor.user, day)
        wanted = [e for e in entries if slot_id is None or e.slot_id == slot_id]
        if slot_id is not None and not wanted:
            raise Conflict(NO_SLOT)
        for entry in wanted:
            if entry.booking or entry.starts_at > self._clock.now():
                await self._clear(doctor, entry, reason)
        return await self.day(doctor.user, day)

    async def reopen(self, doctor: Caller, day: date, slot_id: str | None) -> list[Entry]:
        """Let a doctor take what he blocked back, a slot or the day; give the day as it is then.

        Raises Conflict when the day has no such slot.
        """
        entries = await self.day(doctor.user, day)
        wanted = [e for e in entries if slot_id is None or e.slot_id == slot_id]
        if slot_id is not None and not wanted:
            raise Conflict(NO_SLOT)
        for entry in wanted:
            if entry.state == "blocked" and entry.starts_at > self._clock.now():
                await self._slots.unblock(doctor.user, entry.starts_at)
        return await self.day(doctor.user, day)

    async def _clear(self, doctor: Caller, entry: Entry, reason: str) -> None:
        """Keep a time from being booked, and call off whatever has it."""
        for _ in range(ATTEMPTS):
            now = self._clock.now()
            ids = await self._slots.block(doctor.user, entry.starts_at, entry.ends_at, now)
            left = [await self._moves.call_off(known, doctor, reason) for known in ids]
            # one that its patient cancelled meanwhile left its time free
            if not any(c.state is State.CANCELLED for c in left):
                return
        raise Unavailable

    async def page(
        self, caller: Caller, states: list[BookingState] | None, before: str | None, limit: int
    ) -> list[Consultation]:
        """List the caller's bookings, newest first, older than the id `before` (B7)."""
        names = None if states is None else [n for state in states for n in named(state)]
        return await self._found.bookings(caller, names, before, limit)

    async def find(self, booking_id: str, caller: Caller) -> Consultation:
        """Give the booking to one of its own. Raises Forbidden to all others."""
        found = await self._moves.find(booking_id, caller)
        if found.slot is None:
            raise Forbidden
        return found

    async def cancel(self, booking_id: str, caller: Caller) -> Consultation:
        """Let its patient cancel it. Raises Forbidden, and Conflict by the rules of B4."""
        await self.find(booking_id, caller)
        return await self._moves.cancel(booking_id, caller)
