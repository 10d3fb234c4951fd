"""The clocks of consultations as their people see them (C3, C4, C6, C8, C12)."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest

from bot.client import Client
from care.record import read_time
from tests.scenarios.conftest import Advance, Enter, NewPatient
from tests.scenarios.people import HUATUO, User, ask, pay, say
from tests.scenarios.views import (
    CAP_HOURS,
    CLOSED,
    HOUR,
    MINUTE,
    SECONDS,
    clocked,
    closing_of,
    has_template,
    later,
    lines,
    shown,
    templates,
)

__all__ = ["clocked"]

JUST = 20
"""More seconds than making a consultation takes."""


@dataclass(frozen=True)
class Closing:
    """How a clock closes a consultation, and what becomes of what was paid for it."""

    because: str
    state: str
    text: str
    after_seconds: int
    money: str
    notices: tuple[str, ...]


NOT_GIVEN = ("consultation_refused", "refunded")
UNPAID = Closing(
    "unpaid", "cancelled", "超过15分钟未付款，订单已自动取消",
    15 * MINUTE, "closed", ("consultation_closed",),
)  # fmt: skip
NOT_ACCEPTED = Closing(
    "not_accepted", "expired", "超过6小时未接诊，订单自动关闭，问诊费用将原路退回",
    6 * HOUR, "refunded", NOT_GIVEN,
)  # fmt: skip
NO_REPLY = Closing(
    "no_reply", "expired", "医生在24小时内未回复，订单自动关闭，问诊费用将原路退回",
    24 * HOUR, "refunded", NOT_GIVEN,
)  # fmt: skip
IDLE = Closing(
    "idle", "ended", "超过24小时没有新的回复，问诊已自动结束",
    24 * HOUR, "paid", ("consultation_closed",),
)  # fmt: skip
TIME_UP = Closing(
    "time_up", "ended", "问诊时长已满，服务自动结束",
    CAP_HOURS * HOUR, "paid", ("consultation_closed",),
)  # fmt: skip


@dataclass(frozen=True)
class Case:
    """A consultation that costs something, with two devices of its patient."""

    closing: Closing
    patient: User
    devices: tuple[Client, Client]
    before: Any


async def under_way(patient: User, doctor: User, closing: Closing) -> Case:
    """Bring a consultation to where the closing's clock runs, or will once it was long enough."""
    asked = await ask(patient, doctor)
    begun = await patient.post(f"/consultations/{asked['id']}/pay")
    await patient.client.connect()
    if closing is not UNPAID:
        await patient.post(f"/payments/sandbox/{begun['payment']['id']}/succeed")
    if closing in {NO_REPLY, IDLE, TIME_UP}:
        await doctor.emit("consultation:accept", consultation=asked["id"])
    if closing in {IDLE, TIME_UP}:
        await say(doctor, asked["room"], "您好，请讲")
        await say(patient, asked["room"], "还是疼")
    devices = (patient.client, await patient.device())
    return Case(closing, patient, devices, await shown(patient, asked["id"]))


def heard_closings(device: Client, among: set[str]) -> list[str]:
    """List what a device heard close, in the order of arrival, without taking it."""
    updates = [e.data for e in device.events if e.name == "consultation:updated"]
    return [c["id"] for c in updates if c["id"] in among and c["state"] in CLOSED]


@pytest.mark.rule("C2", "C3", "C4", "C6", "C8", "C12", "M2", "N1")
async def test_one_advance_closes_each_consultation_at_its_own_time(
    new_patient: NewPatient, enter_as: Enter, advance: Advance
) -> None:
    doctor = await enter_as(HUATUO)
    await doctor.client.connect()
    desk = (doctor.client, await doctor.device())
    long = await under_way(await new_patient(), doctor, TIME_UP)
    assert long.before["closes_because"] == "idle"
    await advance(20 * HOUR)
    await say(long.patient, long.before["room"], "好多了")
    long = replace(long, before=await shown(long.patient, long.before["id"]))
    # begun in an order that is not the clocks'
    others = [
        await under_way(await new_patient(), doctor, closing)
        for closing in (NO_REPLY, NOT_ACCEPTED, IDLE, UNPAID)
    ]
    cases = sorted([long, *others], key=lambda case: read_time(case.before["closes_at"]))
    for case in cases:
        assert case.before["closes_because"] == case.closing.because
    told = [case for case in cases if case.closing is not UNPAID]

    await advance(25 * HOUR)

    order = [case.before["id"] for case in told]
    for device in desk:
        last = await device.wait_for_event(
            "room:updated",
            SECONDS,
            lambda room: not room["open"] and order[-1] == room["consultation"],
        )
        assert last is not None
        assert heard_closings(device, {case.before["id"] for case in cases}) == order
    for case in cases:
        await closed_as_promised(case)


async def closed_as_promised(case: Case) -> None:
    """Check all that the patient has of a closing: the record, the events, the line, the money."""
    closing, before = case.closing, case.before
    after = await shown(case.patient, before["id"])
    assert after["state"] == closing.state
    promised = {
        "by": "deadline", "because": closing.because, "text": closing.text,
        "at": before["closes_at"],
    }  # fmt: skip
    assert after["closed_reason"] | promised == after["closed_reason"]
    assert after["ended_at"] == before["closes_at"]
    assert (after["closes_at"], after["closes_because"]) == (None, None)
    for device in case.devices:
        heard = await closing_of(device, before["id"])
        assert heard["closed_reason"] == after["closed_reason"]
        for template in closing.notices:
            notice = await device.wait_for_event("notice:new", SECONDS, has_template(template))
            assert notice is not None, template
    assert after["payment"]["state"] == closing.money
    kept = await templates(case.patient)
    for template in {"consultation_closed", *NOT_GIVEN}:
        assert kept.count(template) == closing.notices.count(template), kept
    if closing is not UNPAID:
        texts = [m["body"].get("text") for m in await lines(case.patient, before["room"])]
        assert texts[-1] == closing.text
        assert texts.count(closing.text) == 1


@pytest.mark.rule("C3", "C4")
@pytest.mark.parametrize("closing", [UNPAID, NOT_ACCEPTED, NO_REPLY, IDLE], ids=lambda c: c.because)
async def test_just_before_its_time_it_is_still_open(
    new_patient: NewPatient, enter_as: Enter, advance: Advance, closing: Closing
) -> None:
    doctor = await enter_as(HUATUO)
    await doctor.client.connect()
    case = await under_way(await new_patient(), doctor, closing)
    await advance(closing.after_seconds - JUST)
    assert (await shown(case.patient, case.before["id"]))["closes_at"] == case.before["closes_at"]
    await advance(JUST)
    assert (await shown(case.patient, case.before["id"]))["state"] == closing.state


async def every_snapshot(user: User, consultation: Any) -> tuple[Any, Any]:
    """Give the clock that all the user's snapshots tell: REST one and list, and the room's two."""
    of_one = await shown(user, consultation["id"])
    page = (await user.get("/consultations"))["items"]
    (of_page,) = [c for c in page if c["id"] == consultation["id"]]
    found = [of_one, of_page]
    if of_one["state"] != "awaiting_payment":
        found.append((await user.emit("room:join", room=consultation["room"]))["room"])
        rooms = (await user.emit("room:list"))["rooms"]
        found += [room for room in rooms if room["id"] == consultation["room"]]
    clocks = {(snapshot["closes_at"], snapshot["closes_because"]) for snapshot in found}
    assert len(clocks) == 1, clocks
    return clocks.pop()


def clock_of(snapshot: Mapping[str, Any]) -> tuple[Any, Any]:
    return snapshot["closes_at"], snapshot["closes_because"]


@pytest.mark.rule("C12", "C6")
async def test_every_snapshot_carries_the_clock_that_runs(
    new_patient: NewPatient, enter_as: Enter, advance: Advance
) -> None:
    patient, doctor = await new_patient(), await enter_as(HUATUO)
    await patient.client.connect()
    await doctor.client.connect()

    asked = await ask(patient, doctor)
    at, because = await every_snapshot(patient, asked)
    assert (read_time(at), because) == (later(asked["created_at"], 15 * MINUTE), "unpaid")

    await advance(5 * MINUTE)
    await pay(patient, asked["id"])
    waits = await patient.event("consultation:updated", id=asked["id"], state="awaiting_doctor")
    clock = await every_snapshot(patient, asked)
    assert clock == clock_of(waits) == await every_snapshot(doctor, asked)
    assert clock[1] == "not_accepted"
    since_payment = read_time(clock[0]) - later(asked["created_at"], 6 * HOUR)
    assert timedelta(minutes=5) <= since_payment < timedelta(minutes=6)

    await doctor.emit("consultation:accept", consultation=asked["id"])
    talks = await patient.event("consultation:updated", id=asked["id"], state="in_progress")
    expected = later(talks["accepted_at"], 24 * HOUR), "no_reply"
    assert (read_time(talks["closes_at"]), talks["closes_because"]) == expected
    # what the patient writes is no reply
    await advance(HOUR)
    await say(patient, asked["room"], "医生在吗")
    for user in (patient, doctor):
        assert await every_snapshot(user, asked) == clock_of(talks)
    for speaker in (doctor, patient):
        await advance(HOUR)
        said = await say(speaker, asked["room"], "在的")
        for user in (patient, doctor):
            at, because = await every_snapshot(user, asked)
            assert (read_time(at), because) == (later(said["at"], 24 * HOUR), "idle")

    await patient.emit("consultation:end", consultation=asked["id"])
    ended = await closing_of(patient.client, asked["id"])
    for user in (patient, doctor):
        assert await every_snapshot(user, asked) == clock_of(ended) == (None, None)
