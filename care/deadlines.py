"""The clocks of a consultation: when it closes by itself, and why (C3–C8, C12, C13, B6)."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from care.consultation import Because, Consultation, State
from care.errors import Conflict
from care.policy import ConsultationPolicy
from care.record import HOUR, MINUTE
from care.rooms import Activity


@dataclass(frozen=True, slots=True)
class Deadline:
    at: datetime
    because: Because


def deadline(
    consultation: Consultation, activity: Activity, policy: ConsultationPolicy
) -> Deadline | None:
    """Tell when the consultation closes by itself, and why (B6, C3–C8); none once closed."""
    c = consultation
    if c.state is State.AWAITING_PAYMENT:
        return _in(c.created_at, policy.payment_seconds, Because.UNPAID)
    if c.state is State.AWAITING_DOCTOR and c.slot:
        return Deadline(c.slot.missed_at, Because.NO_SHOW)
    if c.state is State.AWAITING_DOCTOR and c.waiting_since:
        return _in(c.waiting_since, policy.acceptance_seconds, Because.NOT_ACCEPTED)
    if c.state is State.IN_PROGRESS and c.accepted_at:
        clocks = _clocks(c, c.accepted_at, activity, policy)
        return min(clocks, key=lambda d: d.at, default=None)
    return None


def refuse_late(
    consultation: Consultation, activity: Activity, now: datetime, policy: ConsultationPolicy
) -> None:
    """Refuse to move it once its time is up, whether or not a clock looked yet. Raises Conflict."""
    due = deadline(consultation, activity, policy)
    if due is not None and due.at <= now:
        raise Conflict


def _clocks(
    c: Consultation, accepted_at: datetime, activity: Activity, policy: ConsultationPolicy
) -> list[Deadline]:
    """List the clocks that run while it is in progress."""
    begun = max([accepted_at, *(t.ended_at for t in c.transfers if t.ended_at)])
    if c.transfer:
        # who is asked has his own clock; the talk's begins again with the answer
        clocks = []
    # who was called has been heard
    elif activity.last_doctor == c.doctor.id or c.connected_at:
        since = max(filter(None, [begun, c.connected_at, activity.last_at]))
        clocks = [_in(since, policy.idle_seconds, Because.IDLE)]
    else:
        clocks = [_in(begun, policy.reply_seconds, Because.NO_REPLY)]
    minutes = getattr(policy, c.mode.value).max_minutes
    if minutes is not None:
        clocks.append(_in(accepted_at, minutes * MINUTE, Because.TIME_UP))
    return clocks


def _in(since: datetime, seconds: int, because: Because) -> Deadline:
    return Deadline(since + timedelta(seconds=seconds), because)


def follow_up_until(consultation: Consultation, policy: ConsultationPolicy) -> datetime | None:
    """Tell until when a prescription may still arrive and be asked about (C13)."""
    if consultation.state is not State.ENDED or consultation.ended_at is None:
        return None
    return consultation.ended_at + timedelta(seconds=policy.follow_up_hours * HOUR)
