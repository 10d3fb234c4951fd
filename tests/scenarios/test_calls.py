"""Calls through the wire: ringing, accepting, ending, and what remains of them (V1, V2, V6, V10).

The media itself is not here: two sockets play the browsers, with descriptions made up.
"""

import pytest

from tests.scenarios.calling import Device, Hall, Pair, hall, pair
from tests.scenarios.conftest import Advance

__all__ = ["hall", "pair"]

RING_SECONDS, TICKET_SECONDS, CONNECT_SECONDS = 45, 60, 60


async def rung(device: Device, call: str) -> str:
    """Wait until it rings; give the question it asks."""
    data = await device.wire.event("call:incoming", lambda data: data["call"]["id"] == call)
    assert data["call"]["state"] == "ringing"
    return str(data["text"])


@pytest.mark.rule("V1")
async def test_every_device_rings_in_the_manuals_words_also_one_that_comes_later(
    pair: Pair, hall: Hall
) -> None:
    tablet = await hall.enter(pair.row["patient_token"], "tablet")
    call = await pair.ring()
    late = await hall.enter(pair.row["patient_token"], "late")
    for device in (pair.patient, tablet, late):
        assert await rung(device, call) == "您有新的视频通话，是否接听？"
    await pair.doctor.do("call:cancel", call=call)
    voice = await pair.ring("audio")
    assert await rung(pair.patient, voice) == "您有新的语音通话，是否接听？"
    assert not [name for name, _ in pair.doctor.wire.events if name == "call:incoming"]


@pytest.mark.rule("V1", "V2")
async def test_the_first_device_wins_and_the_others_stop_ringing(pair: Pair, hall: Hall) -> None:
    tablet = await hall.enter(pair.row["patient_token"], "tablet")
    call = await pair.ring()
    answer = await pair.patient.do("call:accept", call=call)
    assert answer["ice_servers"] == []
    assert answer["call"]["state"] == "connecting"
    for device in (pair.doctor, tablet):
        told = await device.state("connecting", id=call)
        assert told["accepted_by"] == pair.patient.user
    assert (await tablet.state("connecting", id=call))["device_id"] == "phone"
    assert (await pair.doctor.state("connecting", id=call))["device_id"] == "desk"
    assert await tablet.refused("call:accept", call=call) == "conflict"
    assert await pair.patient.refused("call:decline", call=call) == "conflict"


@pytest.mark.rule("V1", "V6")
async def test_declined_and_cancelled_end_it_and_say_so_in_the_room(pair: Pair) -> None:
    for by, command, reason, line in [
        (pair.patient, "call:decline", "declined", "患者拒绝了视频通话"),
        (pair.doctor, "call:cancel", "cancelled", "医生取消了视频通话"),
    ]:
        call = await pair.ring()
        other = pair.doctor if by is pair.patient else pair.patient
        assert await other.refused(command, call=call) == "forbidden"
        await by.do(command, call=call)
        for device in (pair.doctor, pair.patient):
            assert (await device.state("ended", id=call))["end_reason"] == reason
        assert await pair.line(call) == {"text": line, "call": call, "duration_s": 0}


@pytest.mark.rule("V1")
async def test_unanswered_it_is_missed_after_45_s_and_can_be_called_again_at_once(
    pair: Pair, hall: Hall, advance: Advance
) -> None:
    call = await pair.ring()
    await advance(RING_SECONDS - 5)
    assert (await pair.look_up(call))["state"] == "ringing"
    await advance(5)
    for device in (pair.doctor, pair.patient):
        assert (await device.state("ended", id=call))["end_reason"] == "missed"
    assert await pair.patient.refused("call:accept", call=call) == "conflict"
    assert (await pair.line(call))["text"] == "视频通话无人接听"
    _, notices = await hall.rest(pair.row["patient_token"], "GET", "/notices?limit=100")
    assert "missed_call" in [notice["template"] for notice in notices["items"]]
    again = await pair.ring()
    assert again != call
    await rung(pair.patient, again)


@pytest.mark.rule("V1")
async def test_only_the_consultations_doctor_starts_one(pair: Pair, hall: Hall) -> None:
    other = await Pair.make(hall)
    room = pair.row["room"]
    for device in (pair.patient, other.doctor, other.patient):
        assert await device.refused("call:start", room=room, media="video") == "forbidden"
    assert not [name for name, _ in pair.patient.wire.events if name.startswith("call:")]


@pytest.mark.rule("V1")
@pytest.mark.parametrize(
    ("mode", "media", "allowed"),
    [
        ("text", "audio", False), ("text", "video", False),
        ("voice", "video", False), ("voice", "audio", True), ("video", "audio", True),
    ],
)  # fmt: skip
async def test_what_was_booked_says_what_may_be_called(
    hall: Hall, mode: str, media: str, allowed: bool
) -> None:
    pair = await Pair.make(hall, mode)
    if allowed:
        await pair.ring(media)
    else:
        code = await pair.doctor.refused("call:start", room=pair.row["room"], media=media)
        assert code == "conflict"


@pytest.mark.rule("V1")
async def test_a_doctor_calls_once_at_a_time_and_never_in_what_has_ended(pair: Pair) -> None:
    call = await pair.ring()
    wanted = {"room": pair.row["room"], "media": "video"}
    assert await pair.doctor.refused("call:start", **wanted) == "conflict"
    await pair.doctor.do("call:cancel", call=call)
    await pair.doctor.do("consultation:end", consultation=pair.row["consultation"])
    assert await pair.doctor.refused("call:start", **wanted) == "conflict"


@pytest.mark.rule("V2", "V10")
async def test_it_is_connected_only_once_both_sides_report_it(pair: Pair) -> None:
    call = await pair.accepted()
    await pair.doctor.report(call)
    await pair.patient.report(call, "connecting")
    assert (await pair.look_up(call))["state"] == "connecting"
    await pair.patient.report(call)
    for device in (pair.doctor, pair.patient):
        assert (await device.state("connected", id=call))["connected_at"]


@pytest.mark.rule("V2")
async def test_what_never_connects_fails_after_a_minute(pair: Pair, advance: Advance) -> None:
    call = await pair.accepted()
    for _ in range(2):
        await advance(20)
        await pair.doctor.report(call, "connecting")
        await pair.patient.report(call, "connecting")
    await advance(CONNECT_SECONDS - 40)
    assert (await pair.doctor.state("ended", id=call))["end_reason"] == "failed"
    assert (await pair.line(call))["text"] == "视频通话未能接通"


@pytest.mark.rule("V2", "V6")
@pytest.mark.parametrize(("media", "name"), [("video", "视频"), ("audio", "语音")])
async def test_the_line_tells_the_connected_time(
    pair: Pair, advance: Advance, media: str, name: str
) -> None:
    call = await pair.accepted(media)
    await advance(10)
    await pair.report(call)
    await pair.talk(call, 614, advance)
    await pair.patient.do("call:hang_up", call=call)
    ended = await pair.doctor.state("ended", id=call)
    assert ended["end_reason"] == "hung_up"
    seconds = ended["duration_s"]
    # the hospital's clock runs on while the test works
    assert 614 <= seconds < 624
    line = await pair.line(call)
    assert line["text"] == f"{name}问诊时长 00:10:{seconds - 600:02d}"
    assert line["duration_s"] == seconds


@pytest.mark.rule("V6", "V10")
async def test_under_three_seconds_is_no_talk(pair: Pair) -> None:
    call = await pair.connected()
    await pair.doctor.do("call:hang_up", call=call)
    assert await pair.line(call) == {"text": "视频通话未能接通", "call": call, "duration_s": 0}


@pytest.mark.rule("V9")
async def test_both_ends_reports_are_summed_up_for_the_doctor_alone(pair: Pair) -> None:
    call = await pair.accepted()
    for rtt, bitrate in [(20, 900), (40, 300)]:
        await pair.doctor.report(call, rtt_ms=rtt, bitrate_kbps=bitrate, candidate="relay")
    await pair.patient.report(call, loss=0.5, candidate="host")
    sides = (await pair.look_up(call))["quality"]
    mine, theirs = sides[pair.doctor.user], sides[pair.patient.user]
    assert mine["reports"] == 2
    assert mine["last"]["candidate"] == "relay"
    assert mine["average"] == {"rtt_ms": 30, "bitrate_kbps": 600}
    assert mine["worst"] == {"rtt_ms": 40, "bitrate_kbps": 300}
    assert (theirs["reports"], theirs["average"]) == (1, {"loss": 0.5})
    assert "quality" not in await pair.look_up(call, "patient")


@pytest.mark.rule("V1")
async def test_a_ticket_opens_the_call_once_for_its_user(
    pair: Pair, hall: Hall, advance: Advance
) -> None:
    call = await pair.accepted()
    token = pair.row["patient_token"]
    status, ticket = await hall.rest(token, "POST", f"/calls/{call}/ticket")
    assert (status, ticket["expires_in"]) == (201, TICKET_SECONDS)
    redeem = {"ticket": ticket["ticket"]}
    status, grant = await hall.rest("", "POST", "/call-tickets/redeem", redeem)
    assert (status, grant["call"], grant["device_id"]) == (200, call, "phone")
    _, me = await hall.rest(grant["access_token"], "GET", "/me")
    assert me["id"] == pair.patient.user
    assert (await hall.rest("", "POST", "/call-tickets/redeem", redeem))[0] == 401
    # the page takes the call over under the phone's device id
    page = await hall.enter(grant["access_token"], grant["device_id"])
    assert (await page.do("call:resume", call=call))["call"]["generation"] == 2

    _, second = await hall.rest(token, "POST", f"/calls/{call}/ticket")
    await advance(TICKET_SECONDS)
    redeem = {"ticket": second["ticket"]}
    assert (await hall.rest("", "POST", "/call-tickets/redeem", redeem))[0] == 401


@pytest.mark.rule("V1")
async def test_nobody_is_shown_a_foreign_call_or_given_its_ticket(pair: Pair, hall: Hall) -> None:
    other = await Pair.make(hall)
    call = await pair.ring()
    for token in (other.row["doctor_token"], other.row["patient_token"]):
        for method, path in [("GET", f"/calls/{call}"), ("POST", f"/calls/{call}/ticket")]:
            status, problem = await hall.rest(token, method, path)
            assert (status, problem["code"]) == (403, "forbidden")
        status, found = await hall.rest(
            token, "GET", f"/calls?consultation={pair.row['consultation']}"
        )
        assert not found.get("items")
    await pair.doctor.do("call:cancel", call=call)
    status, problem = await hall.rest(pair.row["patient_token"], "POST", f"/calls/{call}/ticket")
    assert (status, problem["code"]) == (409, "conflict")
