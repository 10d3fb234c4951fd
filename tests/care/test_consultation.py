"""The consultation's table and clocks, as pure functions."""

from datetime import UTC, datetime, timedelta
from itertools import product

import pytest

from care.accounts import Caller, Role
from care.consultation import (
    ACTORS,
    TABLE,
    Action,
    Because,
    ClosedReason,
    Consultation,
    Mode,
    PersonSnapshot,
    State,
    move,
    order_number,
    permit,
    refundable,
    turn,
)
from care.deadlines import deadline, follow_up_until, refuse_late
from care.effects import Line, QueueMoved, Settle, Updated, caused_by
from care.errors import Conflict, Forbidden
from care.notices import Notify
from care.policy import ConsultationPolicy, ModePolicy
from care.rooms import Activity
from care.slots import BookedSlot
from care.transfer import DoctorCard

NOW = datetime(2026, 11, 22, 8, 0, tzinfo=UTC)
POLICY = ConsultationPolicy()


def consultation(state: State, *, price: int = 100) -> Consultation:
    paid = state not in {State.AWAITING_PAYMENT}
    begun = state in {State.IN_PROGRESS, State.ENDED}
    return Consultation(
        id="0" * 12 + "1" * 16, request="q1", order_no="20261122000000000001", room="r1",
        mode=Mode.TEXT, state=state, patient="p1", patient_name="问诊小白",
        doctor=DoctorCard(
            id="d1", name="小傅", title="主任医师", department="口腔颌面科", hospital="医院"
        ),
        person=PersonSnapshot(id="x", name="炎帝", sex="男", age=25), seen_before=True,
        description="牙疼三天，晚上更厉害", consent_version="1", price=price, created_at=NOW,
        waiting_since=NOW if paid else None, accepted_at=NOW if begun else None,
        ended_at=NOW if state is State.ENDED else None,
    )  # fmt: skip


def caller(role: Role, user: str) -> Caller:
    return Caller(user=user, role=role, name="n", session="s", expires_at=NOW)


def closing(because: Because = Because.DECLINED) -> ClosedReason:
    return ClosedReason(by="doctor", because=because, text="t", at=NOW)


@pytest.mark.parametrize(("state", "action"), list(product(State, Action)))
def test_only_the_tables_moves_are_possible(state: State, action: Action) -> None:
    before = consultation(state)
    if (state, action) not in TABLE:
        with pytest.raises(Conflict):
            move(before, action, NOW, closing())
        return
    after = move(before, action, NOW, closing())
    assert after.state is TABLE[state, action]
    assert after.version == before.version + 1
    assert (after.closed_reason is not None) is not after.open


def test_a_closed_consultation_never_moves_again() -> None:
    closed = [s for s in State if s not in {k[0] for k in TABLE}]
    assert set(closed) == {
        State.ENDED, State.CANCELLED, State.DECLINED, State.EXPIRED, State.REFUSED_TRANSFER,
    }  # fmt: skip


@pytest.mark.parametrize(("action", "role"), list(product(Action, Role)))
def test_an_action_is_its_actors_alone(action: Action, role: Role) -> None:
    own = {Role.PATIENT: "p1", Role.DOCTOR: "d1"}.get(role, "u9")
    c = consultation(State.IN_PROGRESS)
    if role in ACTORS[action]:
        permit(c, action, caller(role, own))
    else:
        with pytest.raises(Forbidden):
            permit(c, action, caller(role, own))


@pytest.mark.parametrize("role", [Role.PATIENT, Role.DOCTOR])
def test_a_stranger_of_the_right_role_is_refused(role: Role) -> None:
    with pytest.raises(Forbidden):
        permit(consultation(State.IN_PROGRESS), Action.END, caller(role, "stranger"))


def test_a_doctor_sees_it_only_once_it_was_paid() -> None:
    assert not consultation(State.AWAITING_PAYMENT).concerns("d1")
    assert consultation(State.AWAITING_DOCTOR).concerns("d1")
    assert consultation(State.AWAITING_PAYMENT).concerns("p1")


@pytest.mark.parametrize(
    ("state", "activity", "after", "because"),
    [
        (State.AWAITING_PAYMENT, Activity(), timedelta(minutes=15), Because.UNPAID),
        (State.AWAITING_DOCTOR, Activity(), timedelta(hours=6), Because.NOT_ACCEPTED),
        (State.IN_PROGRESS, Activity(), timedelta(hours=24), Because.NO_REPLY),
        # a patient who keeps writing doesn't give the doctor more time to reply
        (
            State.IN_PROGRESS,
            Activity(5, NOW + timedelta(hours=20), "patient"),
            timedelta(hours=24),
            Because.NO_REPLY,
        ),
        (
            State.IN_PROGRESS,
            Activity(5, NOW + timedelta(hours=20), "patient", last_doctor="d1"),
            timedelta(hours=44),
            Because.IDLE,
        ),
    ],
)
def test_each_state_has_its_clock(
    state: State, activity: Activity, after: timedelta, because: Because
) -> None:
    due = deadline(consultation(state), activity, POLICY)
    assert due is not None
    assert (due.at, due.because) == (NOW + after, because)


def test_a_modes_cap_comes_before_a_later_clock() -> None:
    capped = ConsultationPolicy(text=ModePolicy(max_minutes=30))
    due = deadline(consultation(State.IN_PROGRESS), Activity(), capped)
    assert due is not None
    assert (due.at, due.because) == (NOW + timedelta(minutes=30), Because.TIME_UP)


@pytest.mark.parametrize("state", [s for s in State if not consultation(s).open])
def test_a_closed_consultation_has_no_clock(state: State) -> None:
    assert deadline(consultation(state), Activity(), POLICY) is None


@pytest.mark.parametrize("state", [s for s in State if consultation(s).open])
def test_at_its_deadline_only_the_clock_moves_it(state: State) -> None:
    c = consultation(state)
    due = deadline(c, Activity(), POLICY)
    assert due is not None
    refuse_late(c, Activity(), due.at - timedelta(milliseconds=1), POLICY)
    with pytest.raises(Conflict):
        refuse_late(c, Activity(), due.at, POLICY)


def test_a_message_gives_more_time_to_end_it() -> None:
    c, late = consultation(State.IN_PROGRESS), NOW + timedelta(hours=25)
    spoke = Activity(5, NOW + timedelta(hours=20), "patient", last_doctor="d1")
    with pytest.raises(Conflict):
        refuse_late(c, Activity(), late, POLICY)
    refuse_late(c, spoke, late, POLICY)


def test_without_a_reply_the_end_is_an_expiry() -> None:
    after = move(consultation(State.IN_PROGRESS), Action.RUN_OUT, NOW, closing(Because.NO_REPLY))
    assert after.state is State.EXPIRED
    assert refundable(after)


def test_a_regular_end_is_not_refunded() -> None:
    after = move(consultation(State.IN_PROGRESS), Action.END, NOW, closing(Because.ENDED_BY_DOCTOR))
    assert not refundable(after)


@pytest.mark.parametrize(
    ("state", "role", "whose"),
    [
        (State.AWAITING_DOCTOR, None, "doctor"),
        (State.IN_PROGRESS, None, "doctor"),
        (State.IN_PROGRESS, "patient", "doctor"),
        (State.IN_PROGRESS, "doctor", "patient"),
        (State.ENDED, "doctor", None),
        (State.AWAITING_PAYMENT, None, None),
    ],
)
def test_whose_turn_it_is(state: State, role: str | None, whose: str | None) -> None:
    assert turn(consultation(state), Activity(last_role=role)) == whose


def test_follow_up_lasts_24_hours_after_a_regular_end() -> None:
    assert follow_up_until(consultation(State.ENDED), POLICY) == NOW + timedelta(hours=24)
    assert follow_up_until(consultation(State.DECLINED), POLICY) is None


def test_an_order_number_has_the_hospitals_date() -> None:
    number = order_number(NOW.date(), "000000000000abcdefabcdefabcdef12")
    assert number.startswith("20261122")
    assert len(number) == 20
    assert number.isdigit()


def test_accepting_opens_the_room_to_both_and_tells_everyone() -> None:
    after = move(consultation(State.AWAITING_DOCTOR), Action.ACCEPT, NOW, closing())
    effects = caused_by(Action.ACCEPT, after, POLICY).effects
    assert [type(e) for e in effects] == [Line, Updated, QueueMoved, Notify]
    line = effects[0]
    assert isinstance(line, Line)
    assert line.body == {"text": "问诊已开始，本次问诊有效期为24小时"}
    assert line.writers == ("p1", "d1")


def test_closing_shuts_the_room_and_settles_the_money() -> None:
    after = move(consultation(State.IN_PROGRESS), Action.DECLINE, NOW, closing())
    effects = caused_by(Action.DECLINE, after, POLICY).effects
    assert isinstance(effects[0], Line)
    assert effects[0].writers == ()
    assert Settle(consultation=after.id, refund=True) in effects


@pytest.mark.parametrize(
    ("state", "action", "moved"),
    [
        (State.AWAITING_DOCTOR, Action.CANCEL, True),
        (State.AWAITING_DOCTOR, Action.ACCEPT, True),
        (State.IN_PROGRESS, Action.END, False),
        (State.IN_PROGRESS, Action.DECLINE, False),
    ],
)
def test_only_who_enters_or_leaves_the_queue_moves_it(
    state: State, action: Action, moved: bool
) -> None:
    after = move(consultation(state), action, NOW, closing())
    told = QueueMoved(doctor="d1") in caused_by(action, after, POLICY).effects
    assert told is moved


@pytest.mark.parametrize(
    ("state", "action", "because"),
    [
        (State.AWAITING_DOCTOR, Action.RUN_OUT, Because.NOT_ACCEPTED),
        (State.AWAITING_DOCTOR, Action.DECLINE, Because.DECLINED),
        (State.IN_PROGRESS, Action.RUN_OUT, Because.NO_REPLY),
        (State.IN_PROGRESS, Action.WITHDRAW, Because.CANCELLED_BY_STAFF),
    ],
)
def test_a_notice_tells_only_who_paid_that_the_money_goes_back(
    state: State, action: Action, because: Because
) -> None:
    assert note(consultation(state), action, because).endswith("，费用将原路退回")
    assert "费用" not in note(consultation(state, price=0), action, because)


def test_who_did_not_pay_yet_is_told_of_no_refund() -> None:
    unpaid = consultation(State.AWAITING_PAYMENT)
    assert note(unpaid, Action.WITHDRAW, Because.CANCELLED_BY_STAFF) == "医院取消了问诊"


def note(before: Consultation, action: Action, because: Because) -> str:
    """Give what the patient is told of a closing."""
    after = move(before, action, NOW, closing(because))
    effects = caused_by(action, after, POLICY).effects
    (told,) = [effect for effect in effects if isinstance(effect, Notify)]
    return told.values["note"]


def test_an_unpaid_consultation_leaves_no_line_and_no_word_to_the_doctor() -> None:
    effects = caused_by(None, consultation(State.AWAITING_PAYMENT), POLICY).effects
    assert effects == (Updated(consultation="0" * 12 + "1" * 16, doctor=False),)


def test_until_a_booked_time_it_is_nobodys_turn() -> None:
    slot = BookedSlot(
        id="s", starts_at=NOW, ends_at=NOW + timedelta(minutes=20), number=1,
        notice_at=NOW, cancel_until=NOW, missed_at=NOW + timedelta(minutes=80),
    )  # fmt: skip
    assert turn(consultation(State.AWAITING_DOCTOR).changed(slot=slot), Activity()) is None
