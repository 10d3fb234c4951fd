"""What a change causes, stored in the change's own transaction and carried out after it (N1).

Each effect may be carried out twice (a crash between doing and noting); each is made so that the
second time changes nothing: a line by its key, a push because it is a hint, a refund by its number.
"""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field

from care.booking_notices import told_of
from care.consultation import Action, Consultation, State, refundable
from care.notices import Deliver, Notify
from care.payments import ForSubject
from care.policy import ConsultationPolicy
from care.record import Record
from care.rooms import Kind
from care.transfer import TransferState
from care.transfer_effects import card_of, line_of, told_of_transfer
from care.wording import case_card, started, tips


class Line(Record):
    """Write a line into a room, once for each key; one with a version moves the room's fence."""

    type: Literal["line"] = "line"
    room: str
    key: str
    kind: Kind
    body: dict[str, Any]
    version: int | None = None
    members: tuple[str, ...] = ()
    writers: tuple[str, ...] = ()


class Updated(Record):
    """Tell the members that the consultation changed; `doctor` says whether he may know of it."""

    type: Literal["updated"] = "updated"
    consultation: str
    doctor: bool = True


class QueueMoved(Record):
    """Tell the patients who wait for this doctor their new place."""

    type: Literal["queue_moved"] = "queue_moved"
    doctor: str


class Settle(ForSubject):
    """Bring the subject's payment in line: refund what was paid, close what was not."""

    type: Literal["settle"] = "settle"
    refund: bool


class Paid(ForSubject):
    """Tell the subject that its payment arrived."""

    type: Literal["paid"] = "paid"


class CallNoted(Record):
    """Tell the consultation that its doctor called; a connected call begins the talk (V10)."""

    type: Literal["call_noted"] = "call_noted"
    consultation: str
    connected: bool


class TransferUpdated(Record):
    """Tell those whom it concerns that the transfer changed."""

    type: Literal["transfer_updated"] = "transfer_updated"
    consultation: str
    transfer: str


class GroupInvited(Record):
    """Tell those with a seat in the group consultation that they are invited."""

    type: Literal["group_invited"] = "group_invited"
    group: str


class GroupUpdated(Record):
    """Tell those whom it concerns that the group consultation changed."""

    type: Literal["group_updated"] = "group_updated"
    group: str


class GroupEntered(Record):
    """Tell the call in a group consultation's room that somebody came into the room (G4)."""

    type: Literal["group_entered"] = "group_entered"
    room: str
    user: str


class ConsultationOver(Record):
    """Tell a consultation's group that it is over, for it has its own time left (G1)."""

    type: Literal["consultation_over"] = "consultation_over"
    consultation: str
    at: datetime


class PrescriptionUpdated(Record):
    """Tell those who may see the prescription that it changed."""

    type: Literal["prescription_updated"] = "prescription_updated"
    prescription: str


class DrugOrderUpdated(Record):
    """Tell those who may see the order of drugs that it changed, or its payment did."""

    type: Literal["drug_order_updated"] = "drug_order_updated"
    order: str


Effect = Annotated[
    Line
    | Updated
    | QueueMoved
    | Notify
    | Deliver
    | Settle
    | Paid
    | CallNoted
    | TransferUpdated
    | GroupInvited
    | GroupUpdated
    | GroupEntered
    | ConsultationOver
    | PrescriptionUpdated
    | DrugOrderUpdated,
    Field(discriminator="type"),
]


class Outgoing(Record):
    """The effects of one change, in order, under a key no other change has.

    The key is the record's, then the change's: a record's keys sort in the order of its changes.
    """

    id: str
    effects: tuple[Effect, ...]


class DeadLetter(Record):
    """Effects given up after their last try, for the operator: `error` is the failure's class."""

    id: str
    effects: tuple[Effect, ...]
    error: str
    failures: int
    died_at: datetime


def caused_by(
    action: Action | None, consultation: Consultation, policy: ConsultationPolicy
) -> Outgoing:
    """List what a move causes; `action` is None for the creation."""
    c = consultation
    effects: list[Effect] = [*_lines(c, policy)] if _entered(action, c) else []
    if action is Action.TRANSFER:
        effects += _transfer_lines(c, policy)
    if not c.open and c.price:
        effects.append(Settle(consultation=c.id, refund=refundable(c)))
    effects.append(Updated(consultation=c.id, doctor=c.waiting_since is not None))
    if _moves_queue(action, c):
        effects.append(QueueMoved(doctor=c.doctor.id))
    effects += told_of(action, c)
    if c.groups and c.ended_at:
        effects.append(ConsultationOver(consultation=c.id, at=c.ended_at))
    if action in {Action.TRANSFER, Action.REFUSE_TRANSFER} or _cancelled_now(c):
        transfer = c.transfers[-1]
        effects.append(TransferUpdated(consultation=c.id, transfer=transfer.id))
        effects += told_of_transfer(c, transfer)
    return Outgoing(id=f"consultation:{c.id}:{c.version:06d}", effects=tuple(effects))


def _moves_queue(action: Action | None, c: Consultation) -> bool:
    """Say whether the move brought it into its doctor's queue, or out of it."""
    queued = c.waiting_since is not None and c.slot is None
    return queued and (c.accepted_at is None or action is Action.ACCEPT)


def _entered(action: Action | None, c: Consultation) -> bool:
    """Say whether the move brought it into another state."""
    if action is Action.CONNECT:
        return c.accepted_at == c.connected_at
    return action not in {Action.REMIND, Action.CALL, Action.TRANSFER}


def _cancelled_now(c: Consultation) -> bool:
    """Say whether its closing ended a live transfer along."""
    return not c.open and any(t.state is TransferState.CANCELLED for t in c.transfers[-1:])


def _transfer_lines(c: Consultation, policy: ConsultationPolicy) -> list[Line]:
    """Write the step just made; with the new doctor goes the fence that lets the old one out."""
    transfer = c.transfers[-1]
    text = _line(c, "transfer", Kind.SYSTEM, line_of(c, transfer, policy), c.members)
    if transfer.state is TransferState.PROPOSED:
        return [_line(c, "transfer_card", Kind.CARD, card_of(c, transfer), c.members), text]
    return [text]


def _lines(c: Consultation, policy: ConsultationPolicy) -> list[Line]:
    """Write the system lines of the state just entered, each with the fence that state means."""
    if c.state is State.AWAITING_PAYMENT or c.waiting_since is None:
        return []
    if c.state is State.AWAITING_DOCTOR:
        return [
            _line(c, "case", Kind.CARD, case_card(c), (c.patient,)),
            _line(c, "tips", Kind.SYSTEM, {"text": tips(c.slot, policy)}, (c.patient,)),
        ]
    if c.state is State.IN_PROGRESS:
        return [_line(c, "started", Kind.SYSTEM, {"text": started(policy)}, c.members)]
    body: dict[str, Any] = {}
    if c.closed_reason:
        body["text"] = c.closed_reason.text
        if c.closed_reason.detail:
            body["reason"] = c.closed_reason.detail
    return [_line(c, "closed", Kind.SYSTEM, body, ())]


def _line(
    c: Consultation, key: str, kind: Kind, body: dict[str, Any], writers: tuple[str, ...]
) -> Line:
    return Line(
        room=c.room, key=f"{key}:{c.version}", kind=kind, body=body,
        version=c.version, members=c.members, writers=writers,
    )  # fmt: skip
