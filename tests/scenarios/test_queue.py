"""The doctor's queue, told to those who wait and shown on the doctor's desktop (C9)."""

from typing import Any

import pytest

from tests.scenarios.conftest import Advance, Enter, NewPatient
from tests.scenarios.people import HUATUO, SHENNONG, User, ask, pay
from tests.scenarios.views import HOUR, MINUTE, SECONDS, clocked, shown

__all__ = ["clocked"]


async def place(user: User, consultation: str, position: int) -> Any:
    """Wait until a waiting patient is told of this place in the queue; give the place."""
    found = await user.client.wait_for_event(
        "consultation:updated",
        SECONDS,
        lambda c: c["id"] == consultation and (c["queue"] or {}).get("position") == position,
    )
    assert found is not None, f"{user.name} was not told of place {position}"
    return found.data["queue"]


@pytest.mark.rule("C9", "N1")
async def test_the_doctors_desktop_shows_who_waits_at_once_and_not_before_payment(
    new_patient: NewPatient, enter_as: Enter
) -> None:
    patient, doctor = await new_patient(), await enter_as(HUATUO)
    await doctor.client.connect()
    desk = await doctor.device()
    asked = await ask(patient, doctor)
    assert asked["id"] not in {c["id"] for c in (await doctor.get("/consultations"))["items"]}
    await pay(patient, asked["id"])
    for device in (doctor.client, desk):
        first = await device.wait_for_event(
            "consultation:updated", SECONDS, lambda c: c["id"] == asked["id"]
        )
        assert first is not None
        # nothing came of it while it was unpaid: its first event is of its waiting
        assert first.data["state"] == "awaiting_doctor"
        assert first.data["queue"]["position"] == 1
    await doctor.event("notice:new", template="patient_waiting")
    page = await doctor.get("/consultations?state=awaiting_doctor")
    assert asked["id"] in {c["id"] for c in page["items"]}
    await patient.post(f"/consultations/{asked['id']}/cancel")


@pytest.mark.rule("C9", "C4", "C7")
async def test_whoever_leaves_the_queue_moves_those_behind_him(
    new_patient: NewPatient, enter_as: Enter, advance: Advance
) -> None:
    doctor = await enter_as(SHENNONG)
    await doctor.client.connect()
    waiting: list[tuple[User, str]] = []
    for position in range(1, 6):
        patient = await new_patient()
        await patient.client.connect()
        asked = await ask(patient, doctor)
        await place(patient, asked["id"], position)
        waiting.append((patient, asked["id"]))
        await advance(10 * MINUTE)

    async def moved_up(ahead: int) -> None:
        for position, (patient, consultation) in enumerate(waiting[ahead:], 1):
            told = await place(patient, consultation, position)
            waited = (5 - ahead - position + 1) * 10 * MINUTE
            assert waited <= told["waited_s"] < waited + 6 * HOUR
            assert (await shown(patient, consultation))["queue"]["position"] == position

    await doctor.emit("consultation:accept", consultation=waiting[0][1])
    await moved_up(1)
    await waiting[1][0].post(f"/consultations/{waiting[1][1]}/cancel")
    await moved_up(2)
    await doctor.emit("consultation:decline", consultation=waiting[2][1], reason="请到医院面诊")
    await moved_up(3)
    # the fourth waits ten minutes longer than the fifth
    await advance(6 * HOUR - 15 * MINUTE)
    assert (await shown(waiting[3][0], waiting[3][1]))["state"] == "expired"
    told = await place(waiting[4][0], waiting[4][1], 1)
    assert told["waited_s"] >= 5 * HOUR
    accepted = await shown(waiting[0][0], waiting[0][1])
    assert accepted["queue"] is None
