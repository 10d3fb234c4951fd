"""A complaint or a suggestion (投诉建议): its one table, and who may move it (K1)."""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any

from care.accounts import STAFF, Caller, Role
from care.effects import Outgoing
from care.errors import Conflict, Forbidden
from care.notices import Notify
from care.record import Record, wire_time


class Reason(StrEnum):
    QUESTION = "问题疑问"
    SUGGESTION = "产品建议"
    LAYOUT = "页面布局"


class ComplaintState(StrEnum):
    OPEN = "open"
    ANSWERED = "answered"
    CLOSED = "closed"


class ComplaintAction(StrEnum):
    ANSWER = "answer"
    CLOSE = "close"


TABLE: Mapping[tuple[ComplaintState, ComplaintAction], ComplaintState] = {
    (ComplaintState.OPEN, ComplaintAction.ANSWER): ComplaintState.ANSWERED,
    (ComplaintState.ANSWERED, ComplaintAction.CLOSE): ComplaintState.CLOSED,
}

ACTORS: Mapping[ComplaintAction, frozenset[Role]] = {
    ComplaintAction.ANSWER: STAFF,
    ComplaintAction.CLOSE: STAFF | {Role.PATIENT},
}


class Complaint(Record):
    id: str
    request: str
    """The same for every try of one request: the second gives the first one's complaint."""
    owner: str
    owner_name: str
    reason: Reason
    text: str
    images: tuple[str, ...] = ()
    contact: str | None = None
    state: ComplaintState = ComplaintState.OPEN
    created_at: datetime
    answer: str | None = None
    answered_by: str | None = None
    """The account of whoever answered; the patient reads an answer of the hospital."""
    answered_at: datetime | None = None
    closed_at: datetime | None = None
    version: int = 1

    @property
    def room(self) -> str:
        """Give what its pictures are bound to."""
        return f"k{self.id}"

    def allows(self, caller: Caller) -> bool:
        return caller.user == self.owner or caller.role in STAFF

    def to_wire(self) -> dict[str, Any]:
        times = {"created_at": self.created_at, "answered_at": self.answered_at}
        times["closed_at"] = self.closed_at
        return {
            "id": self.id,
            "owner": {"id": self.owner, "name": self.owner_name},
            "reason": self.reason.value,
            "text": self.text,
            "has_contact": self.contact is not None,
            "state": self.state.value,
            "answer": self.answer,
        } | {name: at and wire_time(at) for name, at in times.items()}


def move(
    complaint: Complaint, action: ComplaintAction, caller: Caller, now: datetime, text: str = ""
) -> Complaint:
    """Return the complaint after the action. Raises Forbidden, Conflict."""
    if caller.role not in ACTORS[action] or not complaint.allows(caller):
        raise Forbidden
    state = TABLE.get((complaint.state, action))
    if state is None:
        raise Conflict
    changes: dict[str, Any] = {"state": state, "version": complaint.version + 1}
    if action is ComplaintAction.ANSWER:
        changes |= {"answer": text, "answered_by": caller.user, "answered_at": now}
    else:
        changes["closed_at"] = now
    return complaint.changed(**changes)


def caused_by(complaint: Complaint) -> Outgoing:
    """List what entering its state causes: an answer is told."""
    told: tuple[Notify, ...] = ()
    if complaint.state is ComplaintState.ANSWERED and complaint.answered_at:
        values = {
            "service": "投诉建议",
            "reason": complaint.reason.value,
            "answered_at": wire_time(complaint.answered_at),
            "note": "您的投诉建议已有回复",
        }
        key = f"complaint_answered:{complaint.id}"
        told = (
            Notify(user=complaint.owner, key=key, template="complaint_answered", values=values),
        )
    return Outgoing(id=f"complaint:{complaint.id}:{complaint.version:06d}", effects=told)
