"""A transfer (转诊) of a text consultation to another doctor: its states, and who moves it (T1–T3).

`TABLE` is the whole state machine; a missing key is the refusal. A transfer is kept with its
consultation, so a change of doctor and the transfer's end are one write.
"""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any

from care.errors import Conflict
from care.record import Record, wire_time


class DoctorCard(Record):
    """The doctor as he was when the consultation, or the transfer, was made."""

    id: str
    name: str
    title: str
    department: str
    hospital: str


class TransferState(StrEnum):
    PROPOSED = "proposed"
    """The patient is asked."""
    AGREED = "agreed"
    """The new doctor is asked."""
    ACCEPTED = "accepted"
    REFUSED = "refused"
    DECLINED = "declined"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    """The consultation closed meanwhile."""


LIVE = frozenset({TransferState.PROPOSED, TransferState.AGREED})
GIVEN_BACK = frozenset({TransferState.DECLINED, TransferState.EXPIRED})


class TransferAction(StrEnum):
    AGREE = "agree"
    REFUSE = "refuse"
    ACCEPT = "accept"
    DECLINE = "decline"
    RUN_OUT = "run_out"
    CANCEL = "cancel"


class Side(StrEnum):
    """Who moves it."""

    PATIENT = "patient"
    NEW_DOCTOR = "new_doctor"
    SYSTEM = "system"


TABLE: Mapping[tuple[TransferState, TransferAction], TransferState] = {
    (TransferState.PROPOSED, TransferAction.AGREE): TransferState.AGREED,
    (TransferState.PROPOSED, TransferAction.REFUSE): TransferState.REFUSED,
    (TransferState.PROPOSED, TransferAction.RUN_OUT): TransferState.EXPIRED,
    (TransferState.PROPOSED, TransferAction.CANCEL): TransferState.CANCELLED,
    (TransferState.AGREED, TransferAction.ACCEPT): TransferState.ACCEPTED,
    (TransferState.AGREED, TransferAction.DECLINE): TransferState.DECLINED,
    (TransferState.AGREED, TransferAction.RUN_OUT): TransferState.EXPIRED,
    (TransferState.AGREED, TransferAction.CANCEL): TransferState.CANCELLED,
}

ACTORS: Mapping[TransferAction, Side] = {
    TransferAction.AGREE: Side.PATIENT,
    TransferAction.REFUSE: Side.PATIENT,
    TransferAction.ACCEPT: Side.NEW_DOCTOR,
    TransferAction.DECLINE: Side.NEW_DOCTOR,
    TransferAction.RUN_OUT: Side.SYSTEM,
    TransferAction.CANCEL: Side.SYSTEM,
}


class Transfer(Record):
    id: str
    state: TransferState = TransferState.PROPOSED
    from_doctor: DoctorCard
    to_doctor: DoctorCard
    reason: str
    proposed_at: datetime
    expires_at: datetime
    """When whoever is asked has waited too long."""
    confirmed_at: datetime | None = None
    """When the patient agreed."""
    ended_at: datetime | None = None
    version: int | None = None
    """The consultation's version with the new doctor: the fence behind which the old one left."""

    @property
    def live(self) -> bool:
        return self.state in LIVE

    @property
    def handed_over(self) -> bool:
        return self.state is TransferState.ACCEPTED

    def to_wire(self, consultation: str) -> dict[str, Any]:
        return {
            "id": self.id,
            "consultation": consultation,
            "state": self.state.value,
            "from_doctor": self.from_doctor.model_dump(),
            "to_doctor": self.to_doctor.model_dump(),
            "reason": self.reason,
            "proposed_at": wire_time(self.proposed_at),
            "expires_at": wire_time(self.expires_at),
            "confirmed_at": self.confirmed_at and wire_time(self.confirmed_at),
            "ended_at": self.ended_at and wire_time(self.ended_at),
        }


def move(transfer: Transfer, action: TransferAction, now: datetime) -> Transfer:
    """Return the transfer after the action. Raises Conflict where the table has no such move."""
    state = TABLE.get((transfer.state, action))
    if state is None:
        raise Conflict
    changes: dict[str, Any] = {"state": state}
    if action is TransferAction.AGREE:
        changes["confirmed_at"] = now
    if state not in LIVE:
        changes["ended_at"] = now
    return transfer.changed(**changes)
