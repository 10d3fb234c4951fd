"""A booking (预约): a voice or video consultation seen by its slot (B3–B8)."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import StrEnum

from care.accounts import Caller, Role
from care.consultation import OPEN, Action, Because, Consultation, State
from care.errors import Conflict
from care.policy import BookingPolicy
from care.schedules import Slot
from care.slots import BookedSlot


class BookingState(StrEnum):
    HELD = "held"
    BOOKED = "booked"
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    CANCELLED = "cancelled"
    CANCELLED_BY_DOCTOR = "cancelled_by_doctor"
    NO_SHOW = "no_show"
    EXPIRED = "expired"


STATES: Mapping[State | Because, BookingState] = {
    State.AWAITING_PAYMENT: BookingState.HELD,
    State.AWAITING_DOCTOR: BookingState.BOOKED,
    State.IN_PROGRESS: BookingState.IN_PROGRESS,
    Because.UNPAID: BookingState.EXPIRED,
    Because.NOT_ACCEPTED: BookingState.EXPIRED,
    Because.NO_REPLY: BookingState.EXPIRED,
    Because.NO_SHOW: BookingState.NO_SHOW,
    Because.CANCELLED: BookingState.CANCELLED,
    Because.CANCELLED_BY_STAFF: BookingState.CANCELLED,
    Because.DECLINED: BookingState.CANCELLED_BY_DOCTOR,
    Because.IDLE: BookingState.COMPLETED,
    Because.TIME_UP: BookingState.COMPLETED,
    Because.ENDED_BY_PATIENT: BookingState.COMPLETED,
    Because.ENDED_BY_DOCTOR: BookingState.COMPLETED,
}
"""An open one's name by its state, a closed one's by why it closed."""


def named(state: BookingState) -> list[State | Because]:
    """List what goes by this name."""
    return [known for known, name in STATES.items() if name is state]


class Fate(StrEnum):
    """What becomes of the slot of a consultation that closed; else its time is over."""

    FREE = "free"
    BLOCKED = "blocked"


FATES: Mapping[State, Fate] = {State.CANCELLED: Fate.FREE, State.DECLINED: Fate.BLOCKED}


def booking_state(c: Consultation) -> BookingState:
    return STATES[c.closed_reason.because if c.closed_reason else c.state]


def booked(slot: Slot, policy: BookingPolicy) -> BookedSlot:
    """Give the slot with the terms in force now."""
    return BookedSlot(
        id=slot.id,
        starts_at=slot.starts_at,
        ends_at=slot.ends_at,
        number=slot.number,
        notice_at=slot.starts_at - timedelta(seconds=policy.reminder_seconds),
        cancel_until=slot.starts_at - timedelta(seconds=policy.cancel_before_seconds),
        missed_at=slot.ends_at + timedelta(seconds=policy.no_show_seconds),
    )


def refuse_untimely(c: Consultation, action: Action, caller: Caller, now: datetime) -> None:
    """Refuse what a booking's time doesn't allow. Raises Conflict (B4, B6)."""
    if c.slot is None or c.state is not State.AWAITING_DOCTOR:
        return
    if action is Action.ACCEPT and now < c.slot.notice_at:
        raise Conflict("还没有到预约时间")
    if action is Action.CANCEL and caller.role is Role.PATIENT and now > c.slot.cancel_until:
        raise Conflict("已超过可取消的时间，不能取消预约")


def reminder_at(c: Consultation) -> datetime | None:
    """Tell when to remind of it; a booking made later than that needs none (B5)."""
    if c.state is not State.AWAITING_DOCTOR or c.slot is None or c.reminded_at is not None:
        return None
    late = c.waiting_since is not None and c.waiting_since >= c.slot.notice_at
    return None if late else c.slot.notice_at


def missed_by(c: Consultation) -> str:
    """Say who missed a booked call: the patient whom the doctor called, or else the doctor."""
    return "patient" if c.called_at else "doctor"


def spends_cancellation(before: Consultation, after: Consultation) -> bool:
    """Say whether the move counts against the patient's cancellations: a hold's end doesn't."""
    reason = after.closed_reason
    if before.slot is None or before.state is not State.AWAITING_DOCTOR or reason is None:
        return False
    return reason.because is Because.CANCELLED


def took_slot(before: Consultation, after: Consultation) -> Fate | None:
    """Tell what a closing means for the slot, if anything."""
    if after.slot is None or before.state not in OPEN:
        return None
    return FATES.get(after.state)
