"""What the scenarios of bookings have in common: slots, forms, and the way to a booked time."""

from typing import Any

from care.record import read_time
from tests.scenarios.people import User, add_person, form


async def free_days(user: User, doctor: User, mode: str = "video") -> list[Any]:
    """List the strip's days."""
    return list((await user.get(f"/doctors/{doctor.id}/slots?mode={mode}"))["items"])


async def free_slots(user: User, doctor: User, day: int = 0, mode: str = "video") -> list[Any]:
    """List what is free on a day of the strip, tomorrow by default."""
    date = (await free_days(user, doctor, mode))[day]["date"]
    found = await user.get(f"/doctors/{doctor.id}/slots?mode={mode}&date={date}")
    return [slot for slot in found["items"] if slot["free"]]


async def booking_form(patient: User, doctor: User, slot: str, mode: str = "video") -> Any:
    """Fill the form in, with a new person under care."""
    return form(doctor.id, await add_person(patient), mode=mode, slot=slot)


async def book(
    patient: User, doctor: User, day: int = 0, mode: str = "video", slot: str | None = None
) -> Any:
    """Book the first slot that is free on a day of the strip, or this one."""
    slot = slot or (await free_slots(patient, doctor, day, mode))[0]["id"]
    return await patient.post("/bookings", await booking_form(patient, doctor, slot, mode))


async def until(patient: User, at: str, before_seconds: float = 0) -> None:
    """Move the hospital's time to so long before a time of the wire."""
    clock = (await patient.client.advance_clock(0)).body["now"]
    ahead = (read_time(at) - read_time(clock)).total_seconds() - before_seconds
    moved = await patient.client.advance_clock(ahead)
    assert moved.status == 200, (at, clock, moved.body)
