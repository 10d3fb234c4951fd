"""The call's table, its clocks, and coming back to it."""

from datetime import timedelta

import pytest

from care.call_effects import caused_by, question, rung, summary
from care.call_sides import (
    accept,
    answer,
    hear,
    lose,
    offer,
    resume,
    speaks_for,
)
from care.calls import (
    TABLE,
    Call,
    CallAction,
    CallState,
    EndReason,
    Media,
    Party,
    counts_at,
    deadline,
    move,
    next_check,
    permit,
    scheduled,
)
from care.effects import CallNoted, Line
from care.errors import Conflict, Forbidden
from care.notices import Notify
from care.policy import CallPolicy
from tests.clock import START

POLICY = CallPolicy()
DOCTOR = Party(
    user="doc", role="doctor", name="小傅", connection="c-doc", device_id="desk", seen_at=START
)
PATIENT = Party(user="pat", role="patient", name="问诊小白")


def call(state: CallState = CallState.RINGING, **changes: object) -> Call:
    """Make a call in this state, as the moves lead there."""
    made = scheduled(
        Call(
            id="call", room="room", consultation="cons", media=Media.VIDEO,
            state=CallState.RINGING, parties=(DOCTOR, PATIENT), started_at=START,
        ),
        POLICY,
    )  # fmt: skip
    if state is not CallState.RINGING:
        side = PATIENT.changed(connection="c-pat", device_id="phone")
        made = accept(made, side, START, POLICY)
    if state in {CallState.CONNECTED, CallState.ENDED}:
        made = move(made, CallAction.CONNECT, START, POLICY)
    if state is CallState.ENDED:
        made = move(made, CallAction.HANG_UP, START + timedelta(seconds=60), POLICY, by="doc")
    return made.changed(**changes)


def later(seconds: float) -> timedelta:
    return timedelta(seconds=seconds)


@pytest.mark.parametrize("state", CallState)
@pytest.mark.parametrize("action", CallAction)
def test_only_the_table_moves_a_call(state: CallState, action: CallAction) -> None:
    before = call(state)
    step = TABLE.get((state, action))
    if step is None:
        with pytest.raises(Conflict):
            move(before, action, START, POLICY)
        return
    after = move(before, action, START, POLICY)
    assert (after.state, after.end_reason) == step
    assert after.version == before.version + 1
    assert (after.ended_at is not None) is (after.state is CallState.ENDED)


@pytest.mark.parametrize(
    ("action", "allowed"),
    [
        (CallAction.ACCEPT, {"pat"}),
        (CallAction.DECLINE, {"pat"}),
        (CallAction.CANCEL, {"doc"}),
        (CallAction.HANG_UP, {"doc", "pat"}),
        (CallAction.RUN_OUT, set()),
        (CallAction.COUNT, set()),
    ],
)
def test_each_side_has_its_own_moves(action: CallAction, allowed: set[str]) -> None:
    for user in ("doc", "pat", "stranger"):
        if user in allowed:
            permit(call(), action, user)
        else:
            with pytest.raises(Forbidden):
                permit(call(), action, user)


@pytest.mark.parametrize(
    ("state", "seconds"),
    [(CallState.RINGING, 45), (CallState.CONNECTING, 30), (CallState.CONNECTED, 30)],
)
def test_each_state_ends_by_its_own_clock(state: CallState, seconds: int) -> None:
    assert deadline(call(state), POLICY) == START + later(seconds)


def test_an_ended_call_has_no_clock() -> None:
    assert next_check(call(CallState.ENDED), POLICY) is None
    assert call(CallState.ENDED).check_at is None


def test_a_side_that_reports_moves_the_deadline_and_one_that_does_not_holds_it() -> None:
    heard = hear(call(CallState.CONNECTED), "doc", START + later(20), POLICY, "connected")
    assert deadline(heard, POLICY) == START + later(30)
    both = hear(heard, "pat", START + later(20), POLICY, "connected")
    assert deadline(both, POLICY) == START + later(50)


def test_connecting_gives_up_though_both_sides_are_there() -> None:
    trying = call(CallState.CONNECTING)
    for seconds in (20, 40, 55):
        for user in ("doc", "pat"):
            trying = hear(trying, user, START + later(seconds), POLICY, "new")
    assert deadline(trying, POLICY) == START + later(60)


def test_it_is_connected_once_both_sides_say_so() -> None:
    one = hear(call(CallState.CONNECTING), "doc", START, POLICY, "connected")
    assert one.state is CallState.CONNECTING
    both = hear(one, "pat", START + later(1), POLICY, "connected")
    assert (both.state, both.connected_at) == (CallState.CONNECTED, START + later(1))
    assert both.check_at == START + later(4)


def test_it_counts_as_a_talk_from_three_seconds_on() -> None:
    connected = call(CallState.CONNECTED)
    assert counts_at(connected, POLICY) == START + later(3)
    short = move(connected, CallAction.HANG_UP, START + later(2.9), POLICY)
    long = move(connected, CallAction.HANG_UP, START + later(3), POLICY)
    assert (short.counted, long.counted) == (False, True)
    assert move(connected, CallAction.COUNT, START + later(3), POLICY).counted


def test_while_a_side_is_gone_it_does_not_become_a_talk_and_the_lost_time_is_not_told() -> None:
    lost = lose(call(CallState.CONNECTED), "pat", START + later(1))
    assert counts_at(lost, POLICY) is None
    ended = move(lost, CallAction.RUN_OUT, START + later(31), POLICY)
    assert not ended.counted
    back = resume(lost, "pat", "c-new", "phone", START + later(2), POLICY, fresh=False)
    assert back.check_at == START + later(3)
    again = lose(back, "pat", START + later(20)).changed(counted=True)
    assert summary(move(again, CallAction.RUN_OUT, START + later(50), POLICY)).endswith("00:00:00")


def test_a_call_is_not_taken_after_it_rang_out() -> None:
    with pytest.raises(Conflict):
        accept(call(), PATIENT, START + later(45), POLICY)


def test_only_the_device_in_the_call_speaks_for_its_side() -> None:
    speaks_for(call(CallState.CONNECTED), "pat", "c-pat")
    for user, connection in [
        ("pat", "c-doc"),
        ("doc", "c-pat"),
        ("pat", "other"),
        ("eve", "c-pat"),
    ]:
        with pytest.raises(Forbidden):
            speaks_for(call(CallState.CONNECTED), user, connection)


def test_nobody_speaks_for_a_side_that_has_not_accepted() -> None:
    with pytest.raises(Forbidden):
        speaks_for(call(), "pat", "c-pat")


def test_an_answer_needs_an_offer_and_uses_it_up() -> None:
    connecting = call(CallState.CONNECTING)
    with pytest.raises(Conflict):
        answer(connecting, "pat")
    offered = offer(connecting, "doc")
    with pytest.raises(Conflict):
        answer(offered, "doc")
    answered = answer(offered, "pat")
    with pytest.raises(Conflict):
        answer(answered, "pat")


def test_offers_that_meet_leave_one_answer() -> None:
    glare = offer(offer(call(CallState.CONNECTING), "doc"), "pat")
    assert set(glare.offers) == {"doc", "pat"}
    assert answer(glare, "pat").offers == ()


@pytest.mark.parametrize("state", [CallState.RINGING, CallState.ENDED])
def test_nothing_is_negotiated_before_or_after(state: CallState) -> None:
    with pytest.raises(Conflict):
        offer(call(state), "doc")


def test_a_side_without_its_media_makes_both_begin_anew() -> None:
    talking = offer(call(CallState.CONNECTED), "doc")
    back = resume(talking, "pat", "c-new", "phone", START, POLICY, fresh=True)
    assert back.generation == talking.generation + 1
    assert back.offers == ()
    assert not any(party.described for party in back.parties)
    assert back.party("pat").connection == "c-new"


def test_a_side_that_lost_only_its_socket_goes_on() -> None:
    talking = call(CallState.CONNECTED)
    back = resume(talking, "pat", "c-new", "phone", START, POLICY, fresh=False)
    assert back.generation == talking.generation


def test_another_device_takes_the_place_of_one_that_is_gone_and_of_no_other() -> None:
    talking = call(CallState.CONNECTED)
    with pytest.raises(Conflict):
        resume(talking, "pat", "c-new", "tablet", START, POLICY, fresh=True)
    back = resume(lose(talking, "pat", START), "pat", "c-new", "tablet", START, POLICY, fresh=True)
    assert (back.party("pat").device_id, back.party("pat").gone) == ("tablet", False)


def test_nobody_else_comes_back_and_nobody_to_what_ended() -> None:
    with pytest.raises(Forbidden):
        resume(call(CallState.CONNECTED), "eve", "c", "d", START, POLICY, fresh=True)
    with pytest.raises(Conflict):
        resume(call(CallState.ENDED), "pat", "c-new", "phone", START, POLICY, fresh=True)


def test_resuming_what_still_rings_answers_nothing() -> None:
    ringing = call()
    assert resume(ringing, "pat", "c-pat", "phone", START, POLICY, fresh=True) is ringing


def test_the_doctor_is_impolite() -> None:
    shown = call(CallState.CONNECTING)
    assert shown.to_wire("doc")["polite"] is False
    assert shown.to_wire("pat")["polite"] is True


@pytest.mark.parametrize(
    ("media", "seconds", "line"),
    [
        (Media.VIDEO, 3614, "视频问诊时长 01:00:14"),
        (Media.AUDIO, 3, "语音问诊时长 00:00:03"),
        (Media.AUDIO, 36_000.9, "语音问诊时长 10:00:00"),
        (Media.VIDEO, 2, "视频通话未能接通"),
    ],
)
def test_the_line_tells_the_connected_time(media: Media, seconds: float, line: str) -> None:
    talk = call(CallState.CONNECTED, media=media)
    ended = move(talk, CallAction.HANG_UP, START + later(seconds), POLICY)
    assert summary(ended) == line


@pytest.mark.parametrize(
    ("action", "line"),
    [
        (CallAction.DECLINE, "患者拒绝了视频通话"),
        (CallAction.CANCEL, "医生取消了视频通话"),
        (CallAction.RUN_OUT, "视频通话无人接听"),
    ],
)
def test_the_line_tells_why_nobody_talked(action: CallAction, line: str) -> None:
    ended = move(call(), action, START, POLICY)
    outgoing = caused_by(ended, action)
    assert outgoing is not None
    # who was called in vain missed it himself; who was called by mistake did not (B6)
    noted = [e.connected for e in outgoing.effects if isinstance(e, CallNoted)]
    assert noted == ([] if action is CallAction.CANCEL else [False])
    (written,) = [e for e in outgoing.effects if isinstance(e, Line)]
    assert written.body["text"] == line
    assert written.version is None
    missed = [e.template for e in outgoing.effects if isinstance(e, Notify)]
    assert missed == (["missed_call"] if ended.end_reason is EndReason.MISSED else [])


def test_ringing_asks_in_the_manuals_words() -> None:
    assert question(call()) == "您有新的视频通话，是否接听？"
    assert question(call(media=Media.AUDIO)) == "您有新的语音通话，是否接听？"
    (notice,) = rung(call()).effects
    assert isinstance(notice, Notify)
    assert (notice.user, notice.template) == ("pat", "incoming_call")


def test_a_talk_is_noted_once_it_counts_and_again_at_its_end() -> None:
    counted = move(call(CallState.CONNECTED), CallAction.COUNT, START + later(3), POLICY)
    outgoing = caused_by(counted, CallAction.COUNT)
    assert outgoing is not None
    assert outgoing.effects == (CallNoted(consultation="cons", connected=True),)
    assert caused_by(call(CallState.CONNECTING), CallAction.ACCEPT) is None
