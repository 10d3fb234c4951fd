"""A booked consultation begins by a connected call, and by no other (V10, B6)."""

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from tests.scenarios.booking import book, until
from tests.scenarios.conftest import Advance, Enter, NewPatient
from tests.scenarios.people import XIAOFU, User
from tests.server import ServerProcess

DAY = 86_400


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def clocked(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ServerProcess]:
    """Serve people whose tokens outlast the days that a booking takes."""
    env = {"WENZHEN_ACCOUNTS__ACCESS_TOKEN_SECONDS": str(365 * DAY)}
    folder = tmp_path_factory.mktemp("booked") / "data"
    process = ServerProcess(folder, "--virtual-clock", env=env)
    try:
        await process.start()
        yield process
    finally:
        await process.close()


async def connect(user: User, call: str) -> None:
    await user.emit("call:stats", call=call, stats={"connection": "connected"})


async def state(user: User, booking: str) -> Any:
    return (await user.get(f"/bookings/{booking}"))["state"]


@pytest.mark.rule("V10", "B6")
async def test_a_booking_begins_by_a_call_that_lasts_three_seconds(
    new_patient: NewPatient, enter_as: Enter, advance: Advance, http: aiohttp.ClientSession
) -> None:
    patient, doctor = await new_patient(), await enter_as(XIAOFU)
    booked = await book(patient, doctor, day=1)
    room = booked["room"]
    for user in (patient, doctor):
        await user.client.connect()
    await until(patient, booked["slot"]["starts_at"], 3600)
    wanted = {"room": room, "media": "video"}
    assert (await doctor.emit_refused("call:start", **wanted))["code"] == "conflict"
    await until(patient, booked["slot"]["starts_at"])

    call = (await doctor.emit("call:start", **wanted))["call"]["id"]
    await patient.emit("call:decline", call=call)
    assert await state(patient, booked["id"]) == "booked"

    call = (await doctor.emit("call:start", **wanted))["call"]["id"]
    await patient.emit("call:accept", call=call)
    for user in (patient, doctor):
        await connect(user, call)
    await doctor.emit("call:hang_up", call=call)
    assert await state(patient, booked["id"]) == "booked"

    call = (await doctor.emit("call:start", **wanted))["call"]["id"]
    await patient.emit("call:accept", call=call)
    for user in (patient, doctor):
        await connect(user, call)
    await advance(3)
    await patient.event("consultation:updated", id=booked["id"], state="in_progress")
    await doctor.emit("call:hang_up", call=call)
    # the line is written after the acknowledgement
    assert await doctor.client.wait_for_event(
        "message:new", 5, lambda data: data["body"].get("duration_s", 0) >= 3
    )
    written = (await doctor.emit("room:join", room=room, after_seq=0))["messages"]
    texts = [m["body"].get("text", "") for m in written if m["kind"] == "system"]
    assert "患者拒绝了视频通话" in texts
    assert "视频通话未能接通" in texts
    assert texts[-1].startswith("视频问诊时长 00:00:0")
