"""A doctor's schedule (出诊时间) and the slots it makes (B1, B2)."""

import re
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated
from zoneinfo import ZoneInfo

from pydantic import Field, StringConstraints

from care.consultation import Mode
from care.errors import BadRequest, Conflict, Forbidden
from care.record import Record
from care.slots import TICK_MINUTES

BOOKED_MODES = frozenset({Mode.VOICE, Mode.VIDEO})
WEEKDAYS = "一二三四五六日"
NOON, EVENING = 12, 18

_SLOT_ID = re.compile(r"([0-9a-f]{1,64})\.([0-9]{8})\.([0-9]{4})")

DayTime = Annotated[str, StringConstraints(pattern=r"^(([01][0-9]|2[0-3]):[0-5][05]|24:00)$")]
"""A time of the day in the hospital's zone, at five minutes' steps; 24:00 is the day's end."""


class Slot(Record):
    """A time of a doctor that one booking may have."""

    id: str
    starts_at: datetime
    ends_at: datetime
    number: int
    modes: tuple[Mode, ...]


class Schedule(Record):
    """A period of a weekday (1 is Monday); what is left behind its last whole slot is not used."""

    id: str
    weekday: Annotated[int, Field(ge=1, le=7)]
    begins: DayTime
    ends: DayTime
    modes: tuple[Mode, ...]
    slot_minutes: Annotated[int, Field(gt=0, multiple_of=TICK_MINUTES)]

    def overlaps(self, other: "Schedule") -> bool:
        same_day = self.weekday == other.weekday
        return same_day and self.begins < other.ends and other.begins < self.ends

    def slots(self, day: date, zone: ZoneInfo) -> Iterator[Slot]:
        """List the slots of a day that is this weekday."""
        begin, end = _minutes(self.begins), _minutes(self.ends)
        starts = range(begin, end - self.slot_minutes + 1, self.slot_minutes)
        for number, start in enumerate(starts, 1):
            yield Slot(
                id=f"{self.id}.{day:%Y%m%d}.{start // 60:02d}{start % 60:02d}",
                starts_at=_at(day, start, zone),
                ends_at=_at(day, start + self.slot_minutes, zone),
                number=number,
                modes=self.modes,
            )


def check_schedule(schedule: Schedule) -> None:
    """Hold a schedule against B1. Raises BadRequest naming the field."""
    if not schedule.modes or not BOOKED_MODES.issuperset(schedule.modes):
        raise BadRequest.field("modes", "请选择语音问诊或视频问诊")
    if _minutes(schedule.ends) - _minutes(schedule.begins) < schedule.slot_minutes:
        raise BadRequest.field("ends", f"时段不能少于{schedule.slot_minutes}分钟")


class Timetable(Record):
    """A doctor's schedules, none of which overlap."""

    doctor: str
    schedules: tuple[Schedule, ...] = ()
    version: int = 0

    def schedule(self, schedule_id: str) -> Schedule:
        """Give one of them. Raises Forbidden for any other."""
        for schedule in self.schedules:
            if schedule.id == schedule_id:
                return schedule
        raise Forbidden

    def has(self, schedule_id: str) -> bool:
        return any(s.id == schedule_id for s in self.schedules)

    def put(self, schedule: Schedule) -> "Timetable":
        """Add it, or put it in the place of the one with its id. Raises BadRequest, Conflict."""
        check_schedule(schedule)
        others = [s for s in self.schedules if s.id != schedule.id]
        if any(schedule.overlaps(other) for other in others):
            raise Conflict("与已有的出诊时间重叠")
        return self._with([*others, schedule])

    def remove(self, schedule_id: str) -> "Timetable":
        self.schedule(schedule_id)
        return self._with(s for s in self.schedules if s.id != schedule_id)

    def _with(self, schedules: Iterable[Schedule]) -> "Timetable":
        in_order = sorted(schedules, key=lambda s: (s.weekday, s.begins))
        return self.changed(schedules=tuple(in_order), version=self.version + 1)

    def slots_on(self, day: date, zone: ZoneInfo, mode: Mode | None = None) -> list[Slot]:
        """List the day's slots in their order, those for a mode or all."""
        return [
            slot
            for schedule in self.schedules
            if schedule.weekday == day.isoweekday() and (mode is None or mode in schedule.modes)
            for slot in schedule.slots(day, zone)
        ]

    def find_slot(self, slot_id: str, mode: Mode, days: list[date], zone: ZoneInfo) -> Slot:
        """Give the slot of this id on one of the days.

        Raises BadRequest for no id at all, Conflict when the schedule has no such slot any more.
        """
        day = slot_day(slot_id)
        found = self.slots_on(day, zone, mode) if day in days else []
        for slot in found:
            if slot.id == slot_id:
                return slot
        raise Conflict("该时段不可预约，请重新选择")


def slot_day(slot_id: str) -> date:
    """Read the day out of a slot's id. Raises BadRequest."""
    read = _SLOT_ID.fullmatch(slot_id)
    try:
        return datetime.strptime(read[2] if read else "", "%Y%m%d").date()  # noqa: DTZ007  a day
    except ValueError:
        raise BadRequest.field("slot", "没有这个预约时段") from None


def bookable_days(now: datetime, zone: ZoneInfo, days: int) -> list[date]:
    """List the days of the strip: so many, from the hospital's tomorrow."""
    today = now.astimezone(zone).date()
    return [today + timedelta(days=n) for n in range(1, days + 1)]


def label(local: datetime) -> str:
    """Name the part of the day, by the hospital's clocks."""
    if local.hour < NOON:
        return "上午"
    return "下午" if local.hour < EVENING else "晚上"


def day_bounds(day: date, zone: ZoneInfo) -> tuple[datetime, datetime]:
    return _at(day, 0, zone), _at(day, 24 * 60, zone)


def _at(day: date, minutes: int, zone: ZoneInfo) -> datetime:
    """Give the moment at which the hospital's clocks show this."""
    wall = datetime.combine(day, time(), zone) + timedelta(minutes=minutes)
    return wall.astimezone(UTC)


def _minutes(day_time: str) -> int:
    hours, minutes = day_time.split(":")
    return int(hours) * 60 + int(minutes)
