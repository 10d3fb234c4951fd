"""The use cases of a doctor's schedule: list, add, change, remove (B1)."""

from collections.abc import Callable, Mapping
from typing import Any

from care.errors import Unavailable
from care.policy import BookingPolicy
from care.schedules import Schedule, Timetable
from storage.schedules import Schedules

ATTEMPTS = 100
"""How often a change is tried again after losing to another; each loss means the other one won."""


class ScheduleService:
    def __init__(self, schedules: Schedules, policy: BookingPolicy) -> None:
        self._schedules = schedules
        self._policy = policy

    async def all_of(self, doctor: str) -> tuple[Schedule, ...]:
        return (await self._schedules.of(doctor)).schedules

    async def add(self, doctor: str, schedule_id: str, details: Mapping[str, Any]) -> Schedule:
        """Add a period; one with this id is an earlier try's. Raises BadRequest, Conflict."""
        schedule = Schedule(id=schedule_id, slot_minutes=self._policy.slot_minutes, **details)

        def step(before: Timetable) -> Timetable:
            return before if before.has(schedule_id) else before.put(schedule)

        return (await self._change(doctor, step)).schedule(schedule_id)

    async def edit(self, doctor: str, schedule_id: str, changes: Mapping[str, Any]) -> Schedule:
        """Change a period; what is booked stays. Raises BadRequest, Conflict, Forbidden."""

        def step(before: Timetable) -> Timetable:
            return before.put(before.schedule(schedule_id).changed(**changes))

        return (await self._change(doctor, step)).schedule(schedule_id)

    async def remove(self, doctor: str, schedule_id: str) -> None:
        """Remove a period; what is booked stays. Raises Forbidden."""
        await self._change(doctor, lambda before: before.remove(schedule_id))

    async def _change(self, doctor: str, step: Callable[[Timetable], Timetable]) -> Timetable:
        for _ in range(ATTEMPTS):
            before = await self._schedules.of(doctor)
            after = step(before)
            if after is before or await self._schedules.replace(before, after):
                return after
        raise Unavailable
