"""A consultation (问诊): its states and who may move it (C1–C14); its clocks: care/deadlines.py.

`TABLE` is the whole state machine; a missing key is the refusal. Everything here is a pure
function of the record, the caller and the time.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from typing import Any

from pydantic import Field

from care.accounts import STAFF, Caller, Role
from care.errors import Conflict, Forbidden
from care.record import Record
from care.rooms import Activity
from care.slots import BookedSlot
from care.transfer import DoctorCard, Transfer, TransferAction
from care.transfer import move as move_transfer

FREE_ORDER_LABEL = "免费咨询,无订单号"


class Mode(StrEnum):
    TEXT = "text"
    VOICE = "voice"
    VIDEO = "video"


class State(StrEnum):
    AWAITING_PAYMENT = "awaiting_payment"
    AWAITING_DOCTOR = "awaiting_doctor"
    IN_PROGRESS = "in_progress"
    ENDED = "ended"
    CANCELLED = "cancelled"
    DECLINED = "declined"
    EXPIRED = "expired"
    REFUSED_TRANSFER = "refused_transfer"


OPEN = frozenset({State.AWAITING_PAYMENT, State.AWAITING_DOCTOR, State.IN_PROGRESS})


class Action(StrEnum):
    PAID = "paid"
    CANCEL = "cancel"
    ACCEPT = "accept"
    DECLINE = "decline"
    END = "end"
    RUN_OUT = "run_out"
    WITHDRAW = "withdraw"
    REMIND = "remind"
    CALL = "call"
    CONNECT = "connect"
    TRANSFER = "transfer"
    REFUSE_TRANSFER = "refuse_transfer"


class Because(StrEnum):
    """Why a consultation closes, or will."""

    UNPAID = "unpaid"
    NOT_ACCEPTED = "not_accepted"
    NO_REPLY = "no_reply"
    IDLE = "idle"
    TIME_UP = "time_up"
    NO_SHOW = "no_show"
    CANCELLED = "cancelled_by_patient"
    CANCELLED_BY_STAFF = "cancelled_by_staff"
    DECLINED = "declined_by_doctor"
    ENDED_BY_PATIENT = "ended_by_patient"
    ENDED_BY_DOCTOR = "ended_by_doctor"
    TRANSFER_REFUSED = "transfer_refused"


TABLE: Mapping[tuple[State, Action], State] = {
    (State.AWAITING_PAYMENT, Action.PAID): State.AWAITING_DOCTOR,
    (State.AWAITING_PAYMENT, Action.CANCEL): State.CANCELLED,
    (State.AWAITING_PAYMENT, Action.RUN_OUT): State.CANCELLED,
    (State.AWAITING_DOCTOR, Action.CANCEL): State.CANCELLED,
    (State.AWAITING_DOCTOR, Action.ACCEPT): State.IN_PROGRESS,
    (State.AWAITING_DOCTOR, Action.DECLINE): State.DECLINED,
    (State.AWAITING_DOCTOR, Action.RUN_OUT): State.EXPIRED,
    (State.IN_PROGRESS, Action.DECLINE): State.DECLINED,
    (State.IN_PROGRESS, Action.END): State.ENDED,
    (State.IN_PROGRESS, Action.RUN_OUT): State.ENDED,
    # a booking that is not paid for yet: only its doctor's cancelled time does this (B8)
    (State.AWAITING_PAYMENT, Action.DECLINE): State.DECLINED,
    (State.AWAITING_DOCTOR, Action.REMIND): State.AWAITING_DOCTOR,
    (State.AWAITING_DOCTOR, Action.CALL): State.AWAITING_DOCTOR,
    (State.AWAITING_DOCTOR, Action.CONNECT): State.IN_PROGRESS,
    # begun in text, then called after all
    (State.IN_PROGRESS, Action.CONNECT): State.IN_PROGRESS,
    # every step of a transfer but the patient's refusal: its own table is care/transfer.py
    (State.IN_PROGRESS, Action.TRANSFER): State.IN_PROGRESS,
    (State.IN_PROGRESS, Action.REFUSE_TRANSFER): State.REFUSED_TRANSFER,
    (State.AWAITING_PAYMENT, Action.WITHDRAW): State.CANCELLED,
    (State.AWAITING_DOCTOR, Action.WITHDRAW): State.CANCELLED,
    (State.IN_PROGRESS, Action.WITHDRAW): State.CANCELLED,
}
# In progress, running out ends in EXPIRED instead when the doctor never replied (C6).

ACTORS: Mapping[Action, frozenset[Role]] = {
    Action.CANCEL: frozenset({Role.PATIENT}) | STAFF,
    Action.ACCEPT: frozenset({Role.DOCTOR}),
    Action.DECLINE: frozenset({Role.DOCTOR}),
    Action.END: frozenset({Role.PATIENT, Role.DOCTOR}),
    # the hospital steps in, also when the talk has begun
    Action.WITHDRAW: STAFF,
    # the payment's notification, the clock, and the calls; no caller may ask for these
    Action.PAID: frozenset(),
    Action.RUN_OUT: frozenset(),
    Action.REMIND: frozenset(),
    Action.CALL: frozenset(),
    Action.CONNECT: frozenset(),
    # who may is the transfer's own rule
    Action.TRANSFER: frozenset(),
    Action.REFUSE_TRANSFER: frozenset(),
}

_TIMES: Mapping[Action, str] = {
    Action.PAID: "waiting_since",
    Action.ACCEPT: "accepted_at",
    Action.REMIND: "reminded_at",
    Action.CALL: "called_at",
    Action.CONNECT: "connected_at",
}
"""Where a move's time is kept."""


class PersonSnapshot(Record):
    """The person under care as he was when the consultation was made (P4)."""

    id: str
    name: str
    sex: str
    age: int
    id_card: str | None = None
    """Masked, as the phone is (B7)."""
    phone: str | None = None

    def to_wire(self) -> dict[str, Any]:
        return self.model_dump(include={"id", "name", "sex", "age"})


class ClosedReason(Record):
    """Who or which deadline closed it, when, and in words (C2)."""

    by: str
    because: Because
    text: str
    at: datetime
    detail: str | None = None
    missed_by: str | None = None
    """Whoever a booked call failed by: `patient` or `doctor` (B6)."""


class Consultation(Record):
    id: str
    request: str
    """The same for every try of one request: the second gives the first one's consultation."""
    order_no: str
    room: str
    mode: Mode
    state: State
    patient: str
    patient_name: str
    doctor: DoctorCard
    person: PersonSnapshot
    seen_before: bool
    prior_diagnosis: str | None = None
    guardian_present: bool = False
    description: str
    images: tuple[str, ...] = ()
    slot: BookedSlot | None = None
    """Voice and video have one (B1)."""
    consent_version: str
    price: int = Field(ge=0)
    created_at: datetime
    waiting_since: datetime | None = None
    reminded_at: datetime | None = None
    called_at: datetime | None = None
    """When the doctor first called, whether or not the patient answered."""
    connected_at: datetime | None = None
    """When a call first connected them."""
    accepted_at: datetime | None = None
    ended_at: datetime | None = None
    closed_reason: ClosedReason | None = None
    check_at: datetime | None = None
    """When the clock looks at it next: never later than its true deadline."""
    transfers: tuple[Transfer, ...] = ()
    """All of them (转诊), the last one may be live (T1)."""
    former_doctors: tuple[str, ...] = ()
    """Who handed it over; each reads what was written until then (T2)."""
    groups: tuple[str, ...] = ()
    """Its group consultations (会诊), first one first; the patient knows of his own only (G1)."""
    version: int = 1

    @property
    def open(self) -> bool:
        return self.state in OPEN

    @property
    def paid(self) -> bool:
        """Say whether money came for it: the doctor's queue takes nobody before that."""
        return self.price > 0 and self.waiting_since is not None

    @property
    def doctors(self) -> frozenset[str]:
        """Give every doctor who has it, had it, or was asked to take it."""
        asked = (t.to_doctor.id for t in self.transfers)
        return frozenset((self.doctor.id, *self.former_doctors, *asked))

    @property
    def members(self) -> tuple[str, str]:
        return (self.patient, self.doctor.id)

    @property
    def transfer(self) -> Transfer | None:
        """Give the live transfer."""
        return self.transfers[-1] if self.transfers and self.transfers[-1].live else None

    def has_member(self, user: str) -> bool:
        """Say whether the user takes part: its patient, and its doctor once paid."""
        return user == self.patient or (user == self.doctor.id and self.waiting_since is not None)

    def concerns(self, user: str) -> bool:
        """Say whether the user may read it: its members, who had it, and who is asked to take it.

        A former doctor reads no further than `handover_of` says.
        """
        asked = self.transfer is not None and self.transfer.confirmed_at is not None
        return (
            self.has_member(user)
            or user in self.former_doctors
            or (asked and self.transfers[-1].to_doctor.id == user)
        )

    def handover_of(self, user: str) -> int | None:
        """Give the version with which a former doctor handed it over; None for all others."""
        if user not in self.former_doctors:
            return None
        given = [t for t in self.transfers if t.handed_over and t.from_doctor.id == user]
        return given[-1].version

    def allows(self, caller: Caller) -> bool:
        """Say whether the caller may see it: its members, and staff."""
        return self.concerns(caller.user) or caller.role in STAFF


@dataclass(frozen=True, slots=True)
class Search:
    """What the staff look for; None is any. `begins` and `ends` bound the creation."""

    state: State | None = None
    doctor: str | None = None
    patient: str | None = None
    order_no: str | None = None
    begins: datetime | None = None
    ends: datetime | None = None


def turn(consultation: Consultation, activity: Activity) -> str | None:
    """Tell whose turn it is: 待医生回复 is `doctor`, 待您回复 is `patient` (C9)."""
    if consultation.state is State.AWAITING_DOCTOR:
        # a booked talk begins at its time; until then it is nobody's turn
        return None if consultation.slot else "doctor"
    if consultation.state is not State.IN_PROGRESS:
        return None
    return "patient" if activity.last_role == Role.DOCTOR else "doctor"


def permit(consultation: Consultation, action: Action, caller: Caller) -> None:
    """Refuse a caller who may not ask for the action. Raises Forbidden."""
    c = consultation
    own = caller.user == (c.doctor.id if caller.role is Role.DOCTOR else c.patient)
    if caller.role not in ACTORS[action] or not (own or caller.role in STAFF):
        raise Forbidden


def move(
    consultation: Consultation,
    action: Action,
    now: datetime,
    closing: ClosedReason | None = None,
) -> Consultation:
    """Return the consultation after the action. Raises Conflict where the table has no such move.

    `closing` is kept where the move closes it.
    """
    state = TABLE.get((consultation.state, action))
    if state is None:
        raise Conflict
    if closing and closing.because is Because.NO_REPLY:
        state = State.EXPIRED
    changes: dict[str, Any] = {"state": state, "version": consultation.version + 1}
    if action in _TIMES:
        changes[_TIMES[action]] = now
    if state is State.IN_PROGRESS and consultation.accepted_at is None:
        changes["accepted_at"] = now
    if state not in OPEN:
        changes |= {"ended_at": now, "closed_reason": closing}
        if live := consultation.transfer:
            over = move_transfer(live, TransferAction.CANCEL, now)
            changes["transfers"] = (*consultation.transfers[:-1], over)
    return consultation.changed(**changes)


def refundable(consultation: Consultation) -> bool:
    """Say whether its closing gives the price back: whatever closed it but a regular end."""
    return not consultation.open and consultation.state is not State.ENDED


def order_number(day: date, consultation_id: str) -> str:
    """Make the internal order number: the hospital's date and 12 digits of the id (C11)."""
    return f"{day:%Y%m%d}{int(consultation_id[-16:], 16) % 10**12:012d}"
