"""Who agrees to a call's recording, and what that leaves in the room's record (V8)."""

import pytest

from tests.scenarios.calling import Pair, hall, pair

__all__ = ["hall", "pair"]


async def said(pair: Pair) -> list[str]:
    """List what the room's record says of the recording."""
    history = await pair.doctor.do("room:history", room=pair.row["room"])
    return [m["body"]["text"] for m in history["messages"] if "录制" in m["body"].get("text", "")]


async def consents(pair: Pair) -> list[tuple[str, bool, str]]:
    history = await pair.doctor.do("room:history", room=pair.row["room"])
    kept = [m["body"]["consent"] for m in history["messages"] if "consent" in m["body"]]
    return [(one["user"], one["record"], one["version"]) for one in kept]


@pytest.mark.rule("V8", "V3")
async def test_a_recording_needs_a_doctors_request_and_the_patients_consent(pair: Pair) -> None:
    call = await pair.connected()
    assert await pair.patient.refused("call:consent", call=call, record=True) == "conflict"
    asked = (await pair.doctor.do("call:consent", call=call, record=True))["call"]
    assert (asked["recording_asked_by"], asked["consents"]) == (
        pair.doctor.user,
        [pair.doctor.user],
    )
    assert (asked["mode"], asked["generation"]) == ("p2p", 1)
    await pair.patient.state("connected", recording_asked_by=pair.doctor.user)

    agreed = (await pair.patient.do("call:consent", call=call, record=True))["call"]

    # it goes through the server now; that media are written is told when they are
    assert (agreed["mode"], agreed["generation"], agreed["recording"]) == ("relay", 2, False)
    await pair.doctor.state("connected", mode="relay", generation=2)
    await pair.doctor.do("call:hang_up", call=call)
    await pair.line(call)
    doctor, patient = pair.doctor.user, pair.patient.user
    assert await consents(pair) == [(doctor, True, "1"), (patient, True, "1")]
    assert await said(pair) == ["压测医生请求录制通话", "压测患者同意录制通话"]


@pytest.mark.rule("V8")
async def test_who_refuses_or_withdraws_ends_it_and_may_be_asked_again(pair: Pair) -> None:
    call = await pair.connected()
    await pair.doctor.do("call:consent", call=call, record=True)
    refused = (await pair.patient.do("call:consent", call=call, record=False))["call"]
    assert (refused["recording_asked_by"], refused["consents"]) == (None, [])
    for side in (pair.doctor, pair.patient):
        await side.do("call:consent", call=call, record=True)
    withdrawn = (await pair.patient.do("call:consent", call=call, record=False))["call"]
    assert (withdrawn["consents"], withdrawn["recording"]) == ([], False)
    # nothing was asked: nothing to refuse, and nothing is written
    await pair.patient.do("call:consent", call=call, record=False)
    await pair.doctor.do("call:hang_up", call=call)
    await pair.line(call)
    assert await said(pair) == [
        "压测医生请求录制通话", "压测患者不同意录制通话", "压测医生请求录制通话",
        "压测患者同意录制通话", "压测患者不再同意录制，录制已停止",
    ]  # fmt: skip


@pytest.mark.rule("V8")
async def test_it_may_be_asked_for_with_the_call_and_begins_with_the_consent(pair: Pair) -> None:
    answer = await pair.doctor.do("call:start", room=pair.row["room"], media="video", record=True)
    call = answer["call"]["id"]
    assert answer["call"]["consents"] == [pair.doctor.user]
    accepted = (await pair.patient.do("call:accept", call=call))["call"]
    assert (accepted["recording_asked_by"], accepted["mode"]) == (pair.doctor.user, "p2p")
    agreed = (await pair.patient.do("call:consent", call=call, record=True))["call"]
    assert agreed["mode"] == "relay"
    await pair.patient.do("call:hang_up", call=call)


@pytest.mark.rule("V8")
async def test_only_a_device_in_the_call_agrees(pair: Pair) -> None:
    call = await pair.ring()
    assert await pair.patient.refused("call:consent", call=call, record=True) == "forbidden"
    await pair.patient.do("call:accept", call=call)
    tablet = await pair.hall.enter(pair.row["patient_token"], "tablet")
    assert await tablet.refused("call:consent", call=call, record=True) == "forbidden"
    await pair.doctor.do("call:hang_up", call=call)
    assert await pair.doctor.refused("call:consent", call=call, record=True) == "conflict"
