"""Calls in a group consultation's room: who is rung, comes late, leaves, is given up (G4)."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import pytest_asyncio

from tests.scenarios.conftest import Advance, Enter, NewPatient
from tests.scenarios.grouping import Case, open_case, step
from tests.scenarios.people import HUANGFUMI, HUATUO, SHENNONG, XIAOFU, User, begin, say
from tests.scenarios.recorded import running
from tests.scenarios.views import clocked, lines
from tests.server import ServerProcess

__all__ = ["clocked"]

RING_SECONDS, GRACE_SECONDS = 45, 30
NewCase = Callable[[], Awaitable[Case]]


@pytest_asyncio.fixture
async def new_case(new_patient: NewPatient, enter_as: Enter) -> AsyncIterator[NewCase]:
    cases = []

    async def make() -> Case:
        one, two = await enter_as(HUANGFUMI), await enter_as(SHENNONG)
        cases.append(await open_case(await new_patient(), await enter_as(XIAOFU), one, two))
        return cases[-1]

    yield make
    # nobody is in two calls: the next test needs these doctors
    for case in cases:
        for user in (case.opener, case.one, case.two, case.patient):
            for call in await in_calls(user, case):
                for command in ("cancel", "hang_up", "decline"):
                    await user.client.emit(f"call:{command}", {"call": call})


async def in_calls(user: User, case: Case) -> list[str]:
    found = (await user.get(f"/calls?consultation={case.consultation}"))["items"]
    return [call["id"] for call in found if call["state"] != "ended"]


async def all_in(case: Case) -> Any:
    """Bring opener, both doctors and the patient into the group's room."""
    group = await case.active()
    await step(case.two, "accept", group)
    return await step(case.patient, "join", group)


async def ring(user: User, group: Any, media: str = "video") -> str:
    answer = await user.emit("call:start", room=group["room"], media=media)
    return str(answer["call"]["id"])


async def report(call: str, *users: User) -> None:
    for user in users:
        await user.emit("call:stats", call=call, stats={"connection": "connected"})


async def seen(user: User, call: str) -> dict[str, str]:
    """Tell what the call's record says of each side, by name."""
    shown = await user.get(f"/calls/{call}")
    return {party["name"]: party["state"] for party in shown["parties"]}


async def state(user: User, call: str) -> str:
    return str((await user.get(f"/calls/{call}"))["state"])


@pytest.mark.rule("G4", "V1", "V6")
async def test_all_in_the_room_are_rung_and_each_comes_and_goes_by_himself(
    new_case: NewCase,
) -> None:
    case = await new_case()
    group = await all_in(case)
    call = await ring(case.one, group)
    for user in (case.opener, case.two, case.patient):
        incoming = await user.event("call:incoming")
        assert incoming["text"] == "您有新的视频通话，是否接听？"
        assert (incoming["call"]["group"], incoming["call"]["mode"]) == (group["id"], "relay")

    answer = await case.patient.emit("call:accept", call=call)
    assert answer["call"]["state"] == "connecting"
    await case.two.emit("call:decline", call=call)
    await report(call, case.one, case.patient)
    assert await state(case.one, call) == "connected"
    await case.opener.emit("call:accept", call=call)
    patient = case.patient.name
    assert await seen(case.one, call) == {
        "皇甫谧": "in", "小傅": "in", "神农": "declined", patient: "in"
    }  # fmt: skip

    await case.one.emit("call:hang_up", call=call)
    assert await state(case.patient, call) == "connected"
    refused = await case.one.emit_refused(
        "call:stats", call=call, stats={"connection": "connected"}
    )
    assert refused["code"] == "conflict"
    await case.patient.emit("call:hang_up", call=call)

    shown = await case.opener.get(f"/calls/{call}")
    assert (shown["state"], shown["end_reason"]) == ("ended", "hung_up")
    # it is no call of the consultation that was booked: its room says nothing of it
    written = [m["body"].get("call") for m in await case.lines(case.opener)]
    assert call not in written


@pytest.mark.rule("G4", "V6")
async def test_its_line_stands_in_the_groups_room(new_case: NewCase, advance: Advance) -> None:
    case = await new_case()
    group = await all_in(case)
    call = await ring(case.opener, group)
    await case.one.emit("call:accept", call=call)
    await report(call, case.opener, case.one)
    for _ in range(3):
        await advance(25)
        await report(call, case.opener, case.one)
    await case.opener.emit("call:hang_up", call=call)
    line = await case.one.event("message:new", kind="system", room=group["room"])
    while line["body"].get("call") != call:
        line = await case.one.event("message:new", kind="system", room=group["room"])
    assert line["body"]["text"].startswith("视频会诊时长 00:01:1")


@pytest.mark.rule("G4", "V1")
async def test_where_nobody_takes_it_it_ends(new_case: NewCase, advance: Advance) -> None:
    case = await new_case()
    group = await all_in(case)
    call = await ring(case.opener, group, "audio")
    await case.one.emit("call:decline", call=call)
    await case.patient.emit("call:decline", call=call)
    assert await state(case.opener, call) == "ringing"
    await case.two.emit("call:decline", call=call)
    assert (await case.opener.get(f"/calls/{call}"))["end_reason"] == "declined"
    again = await ring(case.opener, group, "audio")
    await advance(RING_SECONDS)
    await case.opener.event("call:updated", seconds=10)
    assert (await case.opener.get(f"/calls/{again}"))["end_reason"] == "missed"
    texts = [m["body"].get("text") for m in await lines(case.one, group["room"])]
    assert texts.count("会诊语音通话无人接听") == 2


@pytest.mark.rule("G4")
async def test_who_missed_it_or_left_comes_later_and_who_joined_the_room_is_rung(
    new_case: NewCase, advance: Advance
) -> None:
    case = await new_case()
    group = await case.active()
    await step(case.patient, "join", group)
    call = await ring(case.opener, group)
    await case.patient.event("call:incoming")
    await case.one.emit("call:accept", call=call)
    await report(call, case.opener, case.one)
    await advance(20)
    await report(call, case.opener, case.one)
    await advance(RING_SECONDS - 20)
    await report(call, case.opener, case.one)
    assert (await seen(case.one, call))[case.patient.name] == "missed"

    # the second doctor came after it began: he joins by calling, and rings the patient anew
    await step(case.two, "accept", group)
    assert await ring(case.two, group) == call
    assert (await seen(case.one, call))["神农"] == "in"
    await case.patient.event("call:incoming", seconds=5)
    await case.patient.emit("call:accept", call=call)
    assert set((await seen(case.one, call)).values()) == {"in"}

    await case.patient.emit("call:hang_up", call=call)
    await case.patient.emit("call:accept", call=call)
    assert (await seen(case.one, call))[case.patient.name] == "in"


@pytest.mark.rule("G4", "V5")
async def test_a_side_that_falls_silent_is_given_up_and_the_others_go_on(
    new_case: NewCase, advance: Advance
) -> None:
    case = await new_case()
    group = await all_in(case)
    call = await ring(case.opener, group)
    for user in (case.one, case.two, case.patient):
        await user.emit("call:accept", call=call)
    await report(call, case.opener, case.one, case.two, case.patient)
    await advance(GRACE_SECONDS - 5)
    await report(call, case.opener, case.one, case.two)
    await advance(6)
    await report(call, case.opener, case.one, case.two)
    states = await seen(case.one, call)
    assert (states.pop(case.patient.name), set(states.values())) == ("left", {"in"})
    # he finds his way back
    await case.patient.emit("call:resume", call=call)
    assert (await seen(case.one, call))[case.patient.name] == "in"


@pytest.mark.rule("G4", "G3")
async def test_among_doctors_alone_the_patient_is_neither_rung_nor_let_in(
    new_case: NewCase,
) -> None:
    case = await new_case()
    group = await case.active("doctors_only")
    call = await ring(case.opener, group)
    assert set(await seen(case.opener, call)) == {"小傅", "皇甫谧"}
    await case.one.emit("call:accept", call=call)
    for command in ("accept", "decline", "resume", "hang_up"):
        refused = await case.patient.emit_refused(f"call:{command}", call=call)
        assert refused["code"] == "forbidden"
    told = [event for event in case.patient.client.events if event.name.startswith("call:")]
    assert told == []
    assert await in_calls(case.patient, case) == []


@pytest.mark.rule("G4", "V1")
async def test_only_a_doctor_in_the_room_calls_and_only_somebody(
    new_case: NewCase, enter_as: Enter
) -> None:
    case = await new_case()
    group = await case.open()
    refused = await case.opener.emit_refused("call:start", room=group["room"], media="video")
    assert refused["code"] == "conflict"
    stranger = await enter_as(HUATUO)
    await stranger.client.connect()
    await step(case.patient, "join", group)
    # invited is not in the room
    for user in (case.one, stranger, case.patient):
        refused = await user.emit_refused("call:start", room=group["room"], media="video")
        assert refused["code"] == "forbidden"
    await step(case.one, "accept", group)
    await step(case.opener, "close", group, conclusion="今日完善CT")
    refused = await case.opener.emit_refused("call:start", room=group["room"], media="video")
    assert refused["code"] == "conflict"


@pytest.mark.rule("G4")
async def test_two_doctors_call_at_the_same_moment_and_there_is_one_call(
    new_case: NewCase,
) -> None:
    case = await new_case()
    group = await all_in(case)
    starts = [
        user.client.emit("call:start", {"room": group["room"], "media": "video"})
        for user in (case.opener, case.one, case.two)
    ]
    answers = await asyncio.gather(*starts)
    calls = {answer["call"]["id"] for answer in answers if answer["ok"]}
    assert len(calls) == 1
    assert {a["error"]["code"] for a in answers if not a["ok"]} <= {"conflict"}
    live = await in_calls(case.opener, case) or await in_calls(case.one, case)
    assert live == list(calls)


@pytest.mark.rule("V8", "G4")
async def test_who_declined_is_shown_no_recording_of_it(
    new_case: NewCase, clocked: ServerProcess
) -> None:
    case = await new_case()
    group = await all_in(case)
    call = await ring(case.opener, group)
    await case.one.emit("call:accept", call=call)
    for user in (case.two, case.patient):
        await user.emit("call:decline", call=call)
    recording = await running(clocked, call)
    for user in (case.opener, case.one):
        assert (await user.get(f"/recordings/{recording}"))["state"] == "running"
    for user in (case.two, case.patient):
        assert (await user.refused("GET", f"/recordings/{recording}"))[0] == 403
        assert (await user.get(f"/recordings?consultation={case.consultation}"))["items"] == []


@pytest.mark.rule("G4", "V1")
async def test_who_comes_into_the_room_of_a_running_call_is_rung_at_once(
    new_case: NewCase, advance: Advance
) -> None:
    case = await new_case()
    group = await case.active()
    call = await ring(case.opener, group)
    await case.one.emit("call:accept", call=call)
    await report(call, case.opener, case.one)

    await step(case.patient, "join", group)
    incoming = await case.patient.event("call:incoming")
    assert (incoming["call"]["id"], incoming["text"]) == (call, "您有新的视频通话，是否接听？")
    await case.patient.emit("call:accept", call=call)
    await report(call, case.patient)

    await step(case.two, "accept", group)
    await case.two.event("call:incoming")
    assert (await seen(case.one, call))["神农"] == "rung"
    for _ in range(2):
        await advance(RING_SECONDS / 2)
        await report(call, case.opener, case.one, case.patient)
    assert await seen(case.one, call) == {
        "小傅": "in", "皇甫谧": "in", case.patient.name: "in", "神农": "missed"
    }  # fmt: skip


@pytest.mark.rule("G4")
async def test_who_is_in_another_call_comes_into_the_room_unrung(
    new_case: NewCase, new_patient: NewPatient, enter_as: Enter
) -> None:
    case, patient, doctor = await new_case(), await new_patient(), await enter_as(HUATUO)
    made = await begin(patient, doctor)
    await say(patient, made["room"], "医生您好")
    await say(doctor, made["room"], "您好")
    other = Case(patient, doctor, case.two, case.two, made["id"], made["room"])
    theirs = await ring(doctor, await other.active())
    await case.two.emit("call:accept", call=theirs)
    group = await case.active()
    call = await ring(case.opener, group)

    joined = await step(case.two, "accept", group)

    assert joined["my_state"] == "accepted"
    assert "神农" not in await seen(case.one, call)
    await case.two.emit("call:hang_up", call=theirs)
    for action in ("leave", "join"):
        await step(case.two, action, group)
    incoming = [await case.two.event("call:incoming") for _ in range(2)]
    assert [one["call"]["id"] for one in incoming] == [theirs, call]
