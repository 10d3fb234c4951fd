"""What passes between the two devices of a call, and coming back to it (V3, V5, V7)."""

import asyncio
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.scenarios.calling import Device, Hall, Pair, candidate, hall, pair, sdp
from tests.scenarios.conftest import Advance
from tests.server import ServerProcess

__all__ = ["hall", "pair"]

GRACE_SECONDS = 30
KILLED_GRACE_SECONDS = 15
"""Real time: a killed server must be up again in it."""


def named(signals: list[tuple[str, Any]]) -> list[str]:
    """Say in short what was passed on: the events, and each candidate's number."""
    return [
        data["candidate"]["candidate"].split()[0] if name == "call:candidate" else name
        for name, data in signals
    ]


@pytest.mark.rule("V3")
async def test_signals_reach_the_other_device_alone_and_in_order(pair: Pair, hall: Hall) -> None:
    tablet = await hall.enter(pair.row["patient_token"], "tablet")
    call = await pair.accepted()
    await pair.doctor.do("call:offer", call=call, sdp=sdp("offer"))
    for number in range(20):
        await pair.doctor.do("call:candidate", call=call, candidate=candidate(number))
    await pair.patient.do("call:answer", call=call, to=pair.doctor.user, sdp=sdp("answer"))
    await pair.patient.do("call:candidate", call=call, candidate=candidate(99))
    await pair.doctor.wire.heard("call:candidate", 1)
    assert named(pair.patient.signals()) == [
        "call:offer", *(f"candidate:{number}" for number in range(20)),
    ]  # fmt: skip
    offered = {"call": call, "from": pair.doctor.user, "sdp": sdp("offer")}
    assert pair.patient.signals()[0][1].items() >= offered.items()
    assert named(pair.doctor.signals()) == ["call:answer", "candidate:99"]
    assert tablet.signals() == []


@pytest.mark.rule("V3")
async def test_candidates_wait_for_their_description(pair: Pair) -> None:
    call = await pair.accepted()
    for number in range(3):
        await pair.doctor.do("call:candidate", call=call, candidate=candidate(number))
    assert pair.patient.signals() == []
    await pair.doctor.do("call:offer", call=call, sdp=sdp("offer"))
    await pair.patient.wire.heard("call:candidate", 3)
    assert named(pair.patient.signals()) == [
        "call:offer", "candidate:0", "candidate:1", "candidate:2",
    ]  # fmt: skip


@pytest.mark.rule("V3")
async def test_when_both_offer_at_once_one_answer_settles_it(pair: Pair) -> None:
    call = await pair.accepted()
    assert (await pair.doctor.state("connecting", id=call))["polite"] is False
    assert (await pair.patient.state("connecting", id=call))["polite"] is True
    await pair.doctor.do("call:offer", call=call, sdp=sdp("doctor"))
    await pair.patient.do("call:offer", call=call, sdp=sdp("patient"))
    # the impolite doctor leaves the other's offer alone; the patient takes his own back
    await pair.patient.do("call:answer", call=call, sdp=sdp("answer"))
    await pair.doctor.wire.heard("call:answer", 1)
    assert await pair.doctor.refused("call:answer", call=call, sdp=sdp("late")) == "conflict"
    # either side negotiates anew, and restarts ICE, whenever it wants
    for asks, answers in [(pair.patient, pair.doctor), (pair.doctor, pair.patient)]:
        await asks.do("call:offer", call=call, sdp=sdp("again"))
        await answers.do("call:answer", call=call, sdp=sdp("again"))


async def every_signal(device: Device, call: str) -> list[str]:
    """Try all that is said between the two; give the refusals."""
    report = {"connection": "connected"}
    return [
        await device.refused("call:offer", call=call, sdp=sdp("forged")),
        await device.refused("call:answer", call=call, sdp=sdp("forged")),
        await device.refused("call:candidate", call=call, candidate=candidate(666)),
        await device.refused("call:media", call=call, mic="off", camera="off"),
        await device.refused("call:stats", call=call, stats=report),
    ]


@pytest.mark.rule("V3")
async def test_nothing_of_anyone_else_is_passed_on(pair: Pair, hall: Hall) -> None:
    tablet = await hall.enter(pair.row["patient_token"], "tablet")
    other = await Pair.make(hall)
    theirs = await other.accepted()
    call = await pair.accepted()
    await pair.doctor.do("call:offer", call=call, sdp=sdp("true"))
    for device in (other.doctor, other.patient, tablet):
        assert set(await every_signal(device, call)) == {"forbidden"}
    # in a call of his own, he may address nobody outside it
    code = await other.doctor.refused(
        "call:offer", call=theirs, to=pair.patient.user, sdp=sdp("forged")
    )
    assert code == "bad_request"
    await pair.patient.do("call:answer", call=call, sdp=sdp("true"))
    await pair.doctor.wire.heard("call:answer", 1)
    assert named(pair.patient.signals()) == ["call:offer"]
    assert named(pair.doctor.signals()) == ["call:answer"]
    for device in (tablet, other.doctor, other.patient):
        assert device.signals() == []


@pytest.mark.rule("V2", "V3")
async def test_nothing_is_passed_on_before_or_after(pair: Pair) -> None:
    call = await pair.ring()
    assert await pair.doctor.refused("call:offer", call=call, sdp=sdp("early")) == "conflict"
    assert set(await every_signal(pair.patient, call)) == {"forbidden"}
    await pair.patient.do("call:accept", call=call)
    await pair.patient.do("call:hang_up", call=call)
    for device in (pair.doctor, pair.patient):
        assert set(await every_signal(device, call)) == {"conflict"}
        assert await device.refused("call:resume", call=call) == "conflict"
        assert device.signals() == []


@pytest.mark.rule("V3")
async def test_what_is_no_sdp_or_too_long_is_not_passed_on(pair: Pair) -> None:
    call = await pair.accepted("audio")
    video = sdp("x").replace("m=audio", "m=video")
    for text, code in [
        ("hello", "bad_request"), (sdp("a\0b"), "bad_request"), (video, "bad_request"),
        (sdp("x").replace("a=fingerprint", "a=print"), "bad_request"),
        (sdp("x" * 40_000), "too_large"),
    ]:  # fmt: skip
        assert await pair.doctor.refused("call:offer", call=call, sdp=text) == code, text[:40]
    spoiled = candidate(1) | {"candidate": "candidate:1 1 udp x 192.0.2.7 1 typ host"}
    assert await pair.doctor.refused("call:candidate", call=call, candidate=spoiled)
    await pair.doctor.do("call:offer", call=call, sdp=sdp("good"))
    await pair.patient.wire.heard("call:offer", 1)
    assert named(pair.patient.signals()) == ["call:offer"]


@pytest.mark.rule("V7")
async def test_the_other_side_is_shown_what_is_muted_off_or_blocked(pair: Pair) -> None:
    call = await pair.accepted()
    await pair.patient.do("call:media", call=call, mic="off", camera="blocked")
    told = await pair.doctor.wire.event("call:media")
    assert told == {"call": call, "user": pair.patient.user, "mic": "off", "camera": "blocked"}
    assert pair.patient.signals() == []
    (side,) = [p for p in (await pair.look_up(call))["parties"] if p["user"] == told["user"]]
    assert (side["mic"], side["camera"]) == ("off", "blocked")


def present(call: Any, user: str) -> bool:
    return bool(next(p["present"] for p in call["parties"] if p["user"] == user))


async def sees(device: Device, call: str, user: str, *, there: bool, generation: int) -> None:
    """Wait until it is told whether this side is there, at this generation of the media."""
    await device.wire.event(
        "call:updated",
        lambda data: (
            data["call"]["id"] == call
            and data["call"]["generation"] == generation
            and present(data["call"], user) is there
        ),
    )


@pytest.mark.rule("V5")
@pytest.mark.parametrize(("fresh", "generation"), [(True, 2), (False, 1)])
async def test_a_side_comes_back_within_30_s(
    pair: Pair, hall: Hall, advance: Advance, fresh: bool, generation: int
) -> None:
    call = await pair.connected()
    await pair.patient.close()
    await sees(pair.doctor, call, pair.patient.user, there=False, generation=1)
    await pair.doctor.report(call)
    await advance(GRACE_SECONDS - 5)
    await pair.doctor.report(call)
    back = await hall.enter(pair.row["patient_token"], "phone")
    answer = await back.do("call:resume", call=call, fresh=fresh)
    assert (answer["call"]["state"], answer["call"]["generation"]) == ("connected", generation)
    assert present(answer["call"], back.user)
    await sees(pair.doctor, call, back.user, there=True, generation=generation)
    await pair.doctor.do("call:offer", call=call, sdp=sdp("anew"))
    await back.wire.heard("call:offer", 1)
    await advance(10)
    assert (await pair.look_up(call))["state"] == "connected"


@pytest.mark.rule("V5", "V6")
async def test_after_30_s_it_ended_by_the_network_and_the_lost_time_is_not_counted(
    pair: Pair, advance: Advance
) -> None:
    call = await pair.connected()
    await pair.talk(call, 20, advance)
    await pair.patient.close()
    await sees(pair.doctor, call, pair.patient.user, there=False, generation=1)
    await advance(20)
    await pair.doctor.report(call)
    await advance(GRACE_SECONDS - 20)
    ended = await pair.doctor.state("ended", id=call)
    assert ended["end_reason"] == "network"
    assert 20 <= ended["duration_s"] < 30


@pytest.mark.rule("V5", "V10")
async def test_lost_at_once_it_was_no_talk(pair: Pair, advance: Advance) -> None:
    call = await pair.connected()
    await pair.patient.close()
    await sees(pair.doctor, call, pair.patient.user, there=False, generation=1)
    await advance(GRACE_SECONDS)
    assert (await pair.doctor.state("ended", id=call))["duration_s"] < 3
    told = await pair.doctor.wire.event("message:new", lambda m: m["body"].get("call") == call)
    assert told["body"]["text"] == "视频通话未能接通"


@pytest.mark.rule("V5")
async def test_another_device_comes_in_for_one_that_is_gone_and_for_no_other(
    pair: Pair, hall: Hall
) -> None:
    tablet = await hall.enter(pair.row["patient_token"], "tablet")
    call = await pair.connected()
    assert await tablet.refused("call:resume", call=call) == "conflict"
    await pair.patient.close()
    await sees(pair.doctor, call, tablet.user, there=False, generation=1)
    await tablet.do("call:resume", call=call)
    await pair.doctor.do("call:offer", call=call, sdp=sdp("anew"))
    await tablet.wire.heard("call:offer", 1)


@pytest.mark.rule("V4", "V5")
async def test_a_killed_hub_leaves_the_call_to_come_back_to_and_its_clock_running(
    tmp_path: Path, http: aiohttp.ClientSession
) -> None:
    settings = {
        "WENZHEN_CALLS__TURN": '["turn:turn.example:3478"]',
        "WENZHEN_SECRET_TURN_SECRET": "north",
        "WENZHEN_CALLS__GRACE_SECONDS": str(KILLED_GRACE_SECONDS),
    }
    server = ServerProcess(tmp_path / "data", env=settings)
    hall = Hall(http, server.url)
    try:
        await server.start()
        pair = await Pair.make(hall)
        call = await pair.connected()
        await server.kill9()
        await server.start()
        doctor = await hall.enter(pair.row["doctor_token"], "desk")
        patient = await hall.enter(pair.row["patient_token"], "phone")
        for side in (doctor, patient):
            answer = await side.do("call:resume", call=call, fresh=False)
            assert answer["call"]["state"] == "connected"
            (turn,) = answer["ice_servers"]
            until, _, of = turn["username"].partition(":")
            assert (of, turn["urls"]) == (f"{call}.{side.user}", ["turn:turn.example:3478"])
            assert until.isdigit()
            assert turn["credential"]
        await doctor.do("call:offer", call=call, sdp=sdp("restart"))
        await patient.wire.heard("call:offer", 1)
        await server.kill9()
        await server.start()
        # nobody comes back to it
        async with asyncio.timeout(2 * KILLED_GRACE_SECONDS):
            while (left := await pair.look_up(call))["state"] != "ended":  # noqa: ASYNC110  another process's clock
                await asyncio.sleep(0.2)
        assert left["end_reason"] == "network"
    finally:
        await hall.close()
        await server.close()
