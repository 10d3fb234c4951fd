"""Schedules, the slots they make, and the rules a booking follows, as pure functions."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from care.accounts import Caller, Role
from care.bookings import (
    STATES,
    Fate,
    booked,
    missed_by,
    refuse_untimely,
    reminder_at,
    spends_cancellation,
    took_slot,
)
from care.consultation import Action, Because, Consultation, Mode, State, move
from care.deadlines import deadline
from care.errors import BadRequest, Conflict, Forbidden
from care.policy import BookingPolicy, ConsultationPolicy
from care.rooms import Activity
from care.schedules import Schedule, Timetable, bookable_days, label
from care.slots import ticks
from tests.care.test_consultation import caller, closing, consultation

ZONE = ZoneInfo("Asia/Shanghai")
WEDNESDAY = date(2020, 9, 2)
BOTH = (Mode.VOICE, Mode.VIDEO)
POLICY = BookingPolicy()
EVENING = Schedule(id="e1", weekday=3, begins="19:00", ends="21:00", modes=BOTH, slot_minutes=20)


def timetable(*schedules: Schedule) -> Timetable:
    made = Timetable(doctor="d1")
    for schedule in schedules:
        made = made.put(schedule)
    return made


@pytest.mark.rule("B1", "B2")
def test_an_evenings_slots_are_numbered_as_in_the_manual() -> None:
    slots = timetable(EVENING).slots_on(WEDNESDAY, ZONE, Mode.VIDEO)
    local = [slot.starts_at.astimezone(ZONE) for slot in slots]
    shown = [(f"{at:%H:%M}", slot.number) for at, slot in zip(local, slots, strict=True)]
    assert shown == [
        ("19:00", 1), ("19:20", 2), ("19:40", 3), ("20:00", 4), ("20:20", 5), ("20:40", 6),
    ]  # fmt: skip
    assert slots[3].starts_at == datetime(2020, 9, 2, 12, 0, tzinfo=UTC)
    assert slots[3].ends_at - slots[3].starts_at == timedelta(minutes=20)


@pytest.mark.rule("B1")
def test_what_is_left_behind_the_last_whole_slot_is_not_used() -> None:
    late = EVENING.changed(begins="23:05", ends="24:00")
    slots = timetable(late).slots_on(WEDNESDAY, ZONE)
    assert [slot.number for slot in slots] == [1, 2]
    assert slots[-1].ends_at == datetime(2020, 9, 2, 15, 45, tzinfo=UTC)


@pytest.mark.rule("B1")
def test_slots_are_of_the_weekday_and_the_mode() -> None:
    voice = timetable(EVENING.changed(modes=(Mode.VOICE,)))
    assert voice.slots_on(WEDNESDAY, ZONE, Mode.VIDEO) == []
    assert voice.slots_on(WEDNESDAY + timedelta(days=1), ZONE, Mode.VOICE) == []
    assert len(voice.slots_on(WEDNESDAY, ZONE, Mode.VOICE)) == 6


@pytest.mark.rule("B1")
@pytest.mark.parametrize(
    ("at", "name"),
    [("00:00", "上午"), ("11:59", "上午"), ("12:00", "下午"), ("17:59", "下午"), ("18:00", "晚上")],
)
def test_the_parts_of_the_day_are_named(at: str, name: str) -> None:
    assert label(datetime.fromisoformat(f"2020-09-02T{at}:00+08:00")) == name


@pytest.mark.rule("B1")
def test_the_strip_is_seven_days_from_the_hospitals_tomorrow() -> None:
    # 23:30 UTC is already the next day in Shanghai
    now = datetime(2020, 9, 1, 23, 30, tzinfo=UTC)
    days = bookable_days(now, ZONE, 7)
    assert (days[0], days[-1], len(days)) == (date(2020, 9, 3), date(2020, 9, 9), 7)


@pytest.mark.rule("B1")
@pytest.mark.parametrize(
    ("begins", "ends", "possible"),
    [
        ("20:55", "21:55", False), ("18:00", "19:05", False), ("18:00", "22:00", False),
        ("19:20", "20:00", False), ("21:00", "22:00", True), ("18:00", "19:00", True),
    ],
)  # fmt: skip
def test_two_periods_of_a_weekday_never_overlap(begins: str, ends: str, possible: bool) -> None:
    other = EVENING.changed(id="e2", begins=begins, ends=ends)
    if possible:
        assert len(timetable(EVENING, other).schedules) == 2
    else:
        with pytest.raises(Conflict):
            timetable(EVENING, other)
    assert len(timetable(EVENING, other.changed(weekday=4)).schedules) == 2


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"modes": ()}, "modes"),
        ({"modes": (Mode.TEXT, Mode.VIDEO)}, "modes"),
        ({"ends": "19:15"}, "ends"),
        ({"ends": "18:00"}, "ends"),
    ],
)
def test_a_period_that_makes_no_slot_is_refused(changes: dict[str, object], field: str) -> None:
    with pytest.raises(BadRequest) as refused:
        timetable(EVENING.changed(**changes))
    assert field in refused.value.fields


def test_a_period_may_be_moved_over_its_own_old_time() -> None:
    moved = timetable(EVENING).put(EVENING.changed(begins="19:30"))
    assert [s.begins for s in moved.schedules] == ["19:30"]
    with pytest.raises(Forbidden):
        moved.remove("another")


@pytest.mark.rule("B2")
def test_a_slots_id_stands_for_its_time_and_dies_with_it() -> None:
    before = timetable(EVENING)
    fourth = before.slots_on(WEDNESDAY, ZONE)[3]
    days = [WEDNESDAY]
    assert before.find_slot(fourth.id, Mode.VIDEO, days, ZONE) == fourth
    for after in (
        before.put(EVENING.changed(begins="19:05")),
        before.put(EVENING.changed(weekday=4)),
        before.put(EVENING.changed(modes=(Mode.VOICE,))),
        before.remove("e1"),
    ):
        with pytest.raises(Conflict):
            after.find_slot(fourth.id, Mode.VIDEO, days, ZONE)
    with pytest.raises(Conflict):
        before.find_slot(fourth.id, Mode.VIDEO, [WEDNESDAY + timedelta(days=7)], ZONE)


@pytest.mark.parametrize("bad", ["", "e1", "e1.20200902", "e1.20200231.1900", "e1.20200902.19001"])
def test_what_is_no_slots_id_is_refused(bad: str) -> None:
    with pytest.raises(BadRequest) as refused:
        timetable(EVENING).find_slot(bad, Mode.VIDEO, [WEDNESDAY], ZONE)
    assert "slot" in refused.value.fields


@pytest.mark.rule("B2")
def test_times_that_overlap_share_a_tick_and_others_do_not() -> None:
    at = datetime(2020, 9, 2, 12, 0, tzinfo=UTC)

    def taken(minute: int) -> set[datetime]:
        begins = at + timedelta(minutes=minute)
        return set(ticks(begins, begins + timedelta(minutes=20)))

    assert len(taken(0)) == 4
    assert all(taken(0) & taken(minute) for minute in range(-15, 20, 5))
    assert not any(taken(0) & taken(minute) for minute in (-20, 20))


def booking(state: State = State.AWAITING_DOCTOR) -> Consultation:
    """Give one whose slot begins four hours after it was booked."""
    plain = consultation(state)
    slot = timetable(EVENING).slots_on(WEDNESDAY, ZONE)[3]
    begins = plain.created_at + timedelta(hours=4)
    moved = slot.changed(starts_at=begins, ends_at=begins + timedelta(minutes=20))
    return plain.changed(mode=Mode.VIDEO, slot=booked(moved, POLICY))


def doctor() -> Caller:
    return caller(Role.DOCTOR, "d1")


def patient() -> Caller:
    return caller(Role.PATIENT, "p1")


@pytest.mark.rule("B6")
def test_a_booking_waits_until_an_hour_after_its_time() -> None:
    c = booking()
    due = deadline(c, Activity(), ConsultationPolicy())
    assert c.slot is not None
    assert due is not None
    assert (due.at, due.because) == (c.slot.ends_at + timedelta(hours=1), Because.NO_SHOW)


@pytest.mark.rule("B6")
def test_a_connected_call_begins_it_and_counts_as_a_reply() -> None:
    c = booking()
    at = c.created_at + timedelta(hours=4)
    begun = move(c, Action.CONNECT, at)
    assert (begun.state, begun.accepted_at, begun.connected_at) == (State.IN_PROGRESS, at, at)
    due = deadline(begun, Activity(), ConsultationPolicy())
    assert due is not None
    assert (due.at, due.because) == (at + timedelta(hours=24), Because.IDLE)


@pytest.mark.rule("B6")
def test_whoever_called_did_not_miss_it() -> None:
    assert missed_by(booking()) == "doctor"
    assert missed_by(move(booking(), Action.CALL, booking().created_at)) == "patient"


@pytest.mark.rule("B4", "B6")
def test_a_bookings_time_decides_what_is_possible() -> None:
    c = booking()
    assert c.slot is not None
    second = timedelta(seconds=1)
    refuse_untimely(c, Action.CANCEL, patient(), c.slot.cancel_until)
    refuse_untimely(c, Action.ACCEPT, doctor(), c.slot.notice_at)
    with pytest.raises(Conflict):
        refuse_untimely(c, Action.CANCEL, patient(), c.slot.cancel_until + second)
    with pytest.raises(Conflict):
        refuse_untimely(c, Action.ACCEPT, doctor(), c.slot.notice_at - second)
    # a hold may be let go at any time, and the hospital may step in
    held = booking(State.AWAITING_PAYMENT)
    refuse_untimely(held, Action.CANCEL, patient(), c.slot.starts_at)
    refuse_untimely(c, Action.CANCEL, caller(Role.OPERATOR, "o1"), c.slot.starts_at)


@pytest.mark.rule("B5")
def test_it_is_reminded_of_once_unless_it_was_made_too_late() -> None:
    c = booking()
    assert c.slot is not None
    assert reminder_at(c) == c.slot.starts_at - timedelta(minutes=20)
    assert reminder_at(move(c, Action.REMIND, c.slot.notice_at)) is None
    assert reminder_at(c.changed(waiting_since=c.slot.notice_at)) is None
    assert reminder_at(booking(State.AWAITING_PAYMENT)) is None
    assert reminder_at(consultation(State.AWAITING_DOCTOR)) is None


@pytest.mark.rule("B2", "B4", "B8")
@pytest.mark.parametrize(
    ("action", "because", "fate", "spent"),
    [
        (Action.CANCEL, Because.CANCELLED, Fate.FREE, True),
        (Action.CANCEL, Because.CANCELLED_BY_STAFF, Fate.FREE, False),
        (Action.DECLINE, Because.DECLINED, Fate.BLOCKED, False),
        (Action.RUN_OUT, Because.NO_SHOW, None, False),
        (Action.REMIND, None, None, False),
    ],
)
def test_what_an_end_means_for_the_slot_and_for_the_patient(
    action: Action, because: Because | None, fate: Fate | None, spent: bool
) -> None:
    before = booking()
    after = move(before, action, before.created_at, closing(because) if because else None)
    assert took_slot(before, after) is fate
    assert spends_cancellation(before, after) is spent


@pytest.mark.rule("B4")
def test_letting_a_hold_go_spends_nothing() -> None:
    held = booking(State.AWAITING_PAYMENT)
    after = move(held, Action.CANCEL, held.created_at, closing(Because.CANCELLED))
    assert took_slot(held, after) is Fate.FREE
    assert not spends_cancellation(held, after)


@pytest.mark.rule("B7")
def test_every_booking_has_a_name_for_its_state() -> None:
    open_states = {s for s in State if consultation(s).open}
    # no booking is transferred
    assert set(STATES) == open_states | set(Because) - {Because.TRANSFER_REFUSED}
