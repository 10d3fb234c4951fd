"""The clocks of consultations as their people see them (C3, C4, C6–C9, C12–C14)."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio

from bot.client import Client
from care.record import read_time
from tests.scenarios.conftest import Advance, Enter, NewPatient
from tests.scenarios.people import (
    HUATUO,
    SHENNONG,
    XIAOFU,
    User,
    add_person,
    ask,
    begin,
    form,
    pay,
    say,
)
from tests.server import ServerProcess

MINUTE, HOUR = 60, 3600
CAP_MINUTES = 30
CLOSED = {"ended", "cancelled", "declined", "expired"}
SECONDS = 10.0


@pytest_asyncio.fixture(scope="module")
async def clocked(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ServerProcess]:
    """Serve people whose tokens outlast the clocks, so that their sockets hear of each closing."""
    env = {
        "WENZHEN_ACCOUNTS__ACCESS_TOKEN_SECONDS": str(30 * 24 * HOUR),
        "WENZHEN_CONSULTATIONS__VOICE__MAX_MINUTES": str(CAP_MINUTES),
    }
    folder = tmp_path_factory.mktemp("deadlines") / "data"
    process = ServerProcess(folder, "--virtual-clock", env=env)
    try:
        await process.start()
        yield process
    finally:
        await process.close()


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
CLOSINGS = [
    Closing(
        "unpaid", "cancelled", "超过15分钟未付款，订单已自动取消",
        15 * MINUTE, "closed", ("consultation_closed",),
    ),
    Closing(
        "time_up", "ended", "问诊时长已满，服务自动结束",
        CAP_MINUTES * MINUTE, "paid", ("consultation_closed",),
    ),
    Closing(
        "not_accepted", "expired", "超过6小时未接诊，订单自动关闭，问诊费用将原路退回",
        6 * HOUR, "refunded", NOT_GIVEN,
    ),
    Closing(
        "no_reply", "expired", "医生在24小时内未回复，订单自动关闭，问诊费用将原路退回",
        24 * HOUR, "refunded", NOT_GIVEN,
    ),
    Closing(
        "idle", "ended", "超过24小时没有新的回复，问诊已自动结束",
        24 * HOUR, "paid", ("consultation_closed",),
    ),
]  # fmt: skip


@dataclass(frozen=True)
class Case:
    """A paid consultation under way, with two devices of its patient."""

    closing: Closing
    patient: User
    devices: tuple[Client, Client]
    before: Any


async def under_way(patient: User, doctor: User, closing: Closing) -> Case:
    """Bring a consultation to where the closing's clock is the one that runs."""
    mode = "voice" if closing.because == "time_up" else "text"
    asked = await ask(patient, doctor, mode=mode)
    begun = await patient.post(f"/consultations/{asked['id']}/pay")
    if closing.because != "unpaid":
        await patient.post(f"/payments/sandbox/{begun['payment']['id']}/succeed")
    if closing.because not in {"unpaid", "not_accepted"}:
        await doctor.emit("consultation:accept", consultation=asked["id"])
    await patient.client.connect()
    if closing.because == "idle":
        await say(doctor, asked["room"], "您好，请讲")
        await say(patient, asked["room"], "还是疼")
    devices = (patient.client, await patient.device())
    return Case(closing, patient, devices, await shown(patient, asked["id"]))


async def shown(user: User, consultation: str) -> Any:
    return await user.get(f"/consultations/{consultation}")


async def lines(user: User, room: str) -> list[Any]:
    """Read the whole room."""
    return list((await user.emit("room:join", room=room, after_seq=0))["messages"])


async def closing_of(device: Client, consultation: str) -> Any:
    """Wait until a device hears that the consultation closed."""
    found = await device.wait_for_event(
        "consultation:updated",
        SECONDS,
        lambda c: c["id"] == consultation and c["state"] in CLOSED,
    )
    assert found is not None, "it was not told of the closing"
    return found.data


def heard_closings(device: Client, among: set[str]) -> list[str]:
    """List what a device heard close, in the order of arrival, without taking it."""
    updates = [e.data for e in device.events if e.name == "consultation:updated"]
    return [c["id"] for c in updates if c["id"] in among and c["state"] in CLOSED]


def has_template(template: str) -> Callable[[Any], bool]:
    return lambda notice: bool(notice["template"] == template)


async def templates(user: User) -> list[str]:
    """List the notices of a user, the oldest first."""
    return [n["template"] for n in reversed((await user.get("/notices"))["items"])]


def later(wire_time: str, seconds: float) -> datetime:
    return read_time(wire_time) + timedelta(seconds=seconds)


@pytest.mark.rule("C2", "C3", "C4", "C6", "C8", "C12", "M2", "N1")
async def test_one_advance_closes_each_consultation_at_its_own_time(
    new_patient: NewPatient, enter_as: Enter, advance: Advance
) -> None:
    doctor = await enter_as(HUATUO)
    await doctor.client.connect()
    desk = (doctor.client, await doctor.device())
    # the last to close first, so that no order but the clocks' can be theirs
    cases = [await under_way(await new_patient(), doctor, c) for c in reversed(CLOSINGS)]
    cases.sort(key=lambda case: read_time(case.before["closes_at"]))
    for case in cases:
        assert case.before["closes_because"] == case.closing.because
    told = [case for case in cases if case.closing.because != "unpaid"]

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
    assert after["closed_reason"] == {
        "by": "deadline", "because": closing.because, "text": closing.text, "detail": None,
        "at": before["closes_at"],
    }  # fmt: skip
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
    if closing.because != "unpaid":
        texts = [m["body"].get("text") for m in await lines(case.patient, before["room"])]
        assert texts[-1] == closing.text
        assert texts.count(closing.text) == 1


@pytest.mark.rule("C3", "C4")
@pytest.mark.parametrize("closing", CLOSINGS[:1] + CLOSINGS[2:], ids=lambda c: c.because)
async def test_a_second_before_its_time_it_is_still_open(
    new_patient: NewPatient, enter_as: Enter, advance: Advance, closing: Closing
) -> None:
    doctor = await enter_as(HUATUO)
    await doctor.client.connect()
    case = await under_way(await new_patient(), doctor, closing)
    # what passed while it was made must not be what closes it
    await advance(closing.after_seconds - 10)
    assert (await shown(case.patient, case.before["id"]))["closes_at"] == case.before["closes_at"]
    await advance(10)
    assert (await shown(case.patient, case.before["id"]))["state"] == closing.state


@pytest.mark.rule("C7", "M2", "N1")
@pytest.mark.parametrize("accepted", [False, True])
async def test_a_refusal_shows_its_reason_and_gives_the_money_back(
    new_patient: NewPatient, enter_as: Enter, accepted: bool
) -> None:
    patient, doctor = await new_patient(), await enter_as(HUATUO)
    if accepted:
        talk = await begin(patient, doctor)
    else:
        talk = await ask(patient, doctor)
        await pay(patient, talk["id"])
        await patient.client.connect()
        await doctor.client.connect()
    desk = await doctor.device()
    refused = await doctor.emit_refused("consultation:decline", consultation=talk["id"], reason="")
    assert refused["code"] == "bad_request"

    await doctor.emit("consultation:decline", consultation=talk["id"], reason="请到医院面诊")

    for device in (patient.client, desk):
        heard = await closing_of(device, talk["id"])
        assert heard["closed_reason"]["because"] == "declined_by_doctor"
        assert heard["closed_reason"]["detail"] == "请到医院面诊"
    await patient.event("notice:new", template="consultation_refused")
    await patient.event("notice:new", template="refunded")
    assert (await shown(patient, talk["id"]))["payment"]["state"] == "refunded"
    for user in (patient, doctor):
        last = (await lines(user, talk["room"]))[-1]["body"]
        assert last == {"text": "当前问诊被医生手动退诊", "reason": "请到医院面诊"}
    again = await doctor.emit_refused(
        "consultation:decline", consultation=talk["id"], reason="再说一次"
    )
    assert again["code"] == "conflict"


@pytest.mark.rule("C8", "M2")
@pytest.mark.parametrize(
    ("who", "text"), [("patient", "患者结束了问诊"), ("doctor", "医生结束了问诊")]
)
async def test_an_end_by_either_side_reaches_both_and_keeps_the_money(
    new_patient: NewPatient, enter_as: Enter, who: str, text: str
) -> None:
    patient, doctor = await new_patient(), await enter_as(HUATUO)
    talk = await begin(patient, doctor)
    await say(doctor, talk["room"], "按时吃药")
    user = patient if who == "patient" else doctor
    await user.emit("consultation:end", consultation=talk["id"])
    for device in (patient.client, doctor.client):
        assert (await closing_of(device, talk["id"]))["closed_reason"]["text"] == text
    assert (await lines(patient, talk["room"]))[-1]["body"]["text"] == text
    assert (await shown(patient, talk["id"]))["payment"]["state"] == "paid"
    # who ended it needs no notice of it
    assert await templates(patient) == ["consultation_started"] + (
        ["consultation_closed"] if who == "doctor" else []
    )


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


@pytest.mark.rule("C13")
async def test_an_ended_room_stays_readable_and_closed_beyond_its_follow_up(
    new_patient: NewPatient, enter_as: Enter, advance: Advance
) -> None:
    patient, doctor = await new_patient(), await enter_as(XIAOFU)
    talk = await begin(patient, doctor)
    await say(doctor, talk["room"], "按时吃药")
    assert (await shown(patient, talk["id"]))["follow_up_until"] is None
    await doctor.emit("consultation:end", consultation=talk["id"])
    ended = await closing_of(patient.client, talk["id"])
    assert read_time(ended["follow_up_until"]) == later(ended["ended_at"], 24 * HOUR)
    for passed in (0, 24 * HOUR):
        await advance(passed)
        for user in (patient, doctor):
            error = await user.emit_refused(
                "message:send", room=talk["room"], client_id=f"late{passed}", kind="text",
                body={"text": "喂"},
            )  # fmt: skip
            assert error["code"] == "closed"
            now = await shown(user, talk["id"])
            assert now["follow_up_until"] == ended["follow_up_until"]
            texts = [m["body"].get("text") for m in await lines(user, talk["room"])]
            assert texts[-2:] == ["按时吃药", "医生结束了问诊"]


@pytest.mark.rule("C13")
async def test_what_was_never_given_has_no_follow_up(
    new_patient: NewPatient, enter_as: Enter, advance: Advance
) -> None:
    patient, doctor = await new_patient(), await enter_as(XIAOFU)
    asked = await ask(patient, doctor)
    await advance(6 * HOUR)
    gone = await shown(patient, asked["id"])
    assert (gone["state"], gone["follow_up_until"]) == ("expired", None)


@pytest.mark.rule("C14")
async def test_one_open_consultation_a_mode_until_its_clock_closes_it(
    new_patient: NewPatient, enter_as: Enter, advance: Advance
) -> None:
    patient, doctor = await new_patient(), await enter_as(XIAOFU)
    person = await add_person(patient)
    wanted = form(doctor.id, person)

    async def ask_twice_at_once(mode: str) -> Any:
        asked = [
            patient.client.call("POST", "/consultations", {**wanted, "mode": mode})
            for _ in range(2)
        ]
        answers = sorted(await asyncio.gather(*asked), key=lambda a: a.status)
        assert [a.status for a in answers] == [201, 409]
        assert answers[1].body["code"] == "conflict"
        return answers[0].body

    first = await ask_twice_at_once("text")
    other_mode = await ask_twice_at_once("voice")
    other_doctor = await enter_as(SHENNONG)
    await patient.post("/consultations", form(other_doctor.id, person))
    await advance(6 * HOUR)
    for gone in (first, other_mode):
        assert (await shown(patient, gone["id"]))["state"] == "expired"
    assert (await ask_twice_at_once("text"))["id"] != first["id"]
