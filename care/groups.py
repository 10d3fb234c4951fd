"""A group consultation (会诊): its states, its seats, and who may move it (G1–G3).

`TABLE` is the group's state machine and `SEATS` that of each one invited; a missing key is the
refusal. Everything here is a pure function of the record, the caller and the time.
"""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any

from care.accounts import Role
from care.consultation import PersonSnapshot
from care.errors import Conflict, Forbidden
from care.record import Record, wire_time
from care.transfer import DoctorCard


class GroupMode(StrEnum):
    WITH_PATIENT = "with_patient"
    DOCTORS_ONLY = "doctors_only"


class GroupState(StrEnum):
    INVITING = "inviting"
    ACTIVE = "active"
    CONCLUDED = "concluded"
    CANCELLED = "cancelled"


LIVE = frozenset({GroupState.INVITING, GroupState.ACTIVE})


class SeatState(StrEnum):
    INVITED = "invited"
    ACCEPTED = "accepted"
    DECLINED = "declined"
    LAPSED = "lapsed"
    LEFT = "left"


class GroupAction(StrEnum):
    ACCEPT = "accept"
    DECLINE = "decline"
    JOIN = "join"
    LEAVE = "leave"
    OPINION = "opinion"
    CLOSE = "close"
    LAPSE = "lapse"
    END = "end"


TABLE: Mapping[tuple[GroupState, GroupAction], GroupState] = {
    (GroupState.INVITING, GroupAction.ACCEPT): GroupState.ACTIVE,
    # the last one to decline, or to let his invitation lapse, cancels it instead
    (GroupState.INVITING, GroupAction.DECLINE): GroupState.INVITING,
    (GroupState.INVITING, GroupAction.LAPSE): GroupState.INVITING,
    (GroupState.INVITING, GroupAction.JOIN): GroupState.INVITING,
    (GroupState.INVITING, GroupAction.LEAVE): GroupState.INVITING,
    # nobody came together: there is nothing to conclude
    (GroupState.INVITING, GroupAction.CLOSE): GroupState.CANCELLED,
    (GroupState.INVITING, GroupAction.END): GroupState.CANCELLED,
    (GroupState.ACTIVE, GroupAction.ACCEPT): GroupState.ACTIVE,
    (GroupState.ACTIVE, GroupAction.DECLINE): GroupState.ACTIVE,
    (GroupState.ACTIVE, GroupAction.LAPSE): GroupState.ACTIVE,
    (GroupState.ACTIVE, GroupAction.JOIN): GroupState.ACTIVE,
    (GroupState.ACTIVE, GroupAction.LEAVE): GroupState.ACTIVE,
    (GroupState.ACTIVE, GroupAction.OPINION): GroupState.ACTIVE,
    (GroupState.ACTIVE, GroupAction.CLOSE): GroupState.CONCLUDED,
    (GroupState.ACTIVE, GroupAction.END): GroupState.CANCELLED,
}

SEATS: Mapping[tuple[Role, SeatState, GroupAction], SeatState] = {
    (Role.DOCTOR, SeatState.INVITED, GroupAction.ACCEPT): SeatState.ACCEPTED,
    (Role.DOCTOR, SeatState.INVITED, GroupAction.DECLINE): SeatState.DECLINED,
    (Role.DOCTOR, SeatState.INVITED, GroupAction.LAPSE): SeatState.LAPSED,
    (Role.DOCTOR, SeatState.ACCEPTED, GroupAction.OPINION): SeatState.ACCEPTED,
    (Role.DOCTOR, SeatState.ACCEPTED, GroupAction.LEAVE): SeatState.LEFT,
    (Role.DOCTOR, SeatState.LEFT, GroupAction.JOIN): SeatState.ACCEPTED,
    # opening the card joins; the patient may come and go as long as it lives
    (Role.PATIENT, SeatState.INVITED, GroupAction.JOIN): SeatState.ACCEPTED,
    (Role.PATIENT, SeatState.ACCEPTED, GroupAction.LEAVE): SeatState.LEFT,
    (Role.PATIENT, SeatState.LEFT, GroupAction.JOIN): SeatState.ACCEPTED,
}

_DOCTORS_ACTIONS = frozenset({GroupAction.ACCEPT, GroupAction.DECLINE, GroupAction.OPINION})
_SEATS_ACTIONS = _DOCTORS_ACTIONS | {GroupAction.JOIN, GroupAction.LEAVE}


class Seat(Record):
    """One who is invited. The patient has one only where he takes part."""

    user: str
    role: Role
    name: str
    doctor: DoctorCard | None = None
    state: SeatState = SeatState.INVITED
    answered_at: datetime | None = None
    opinion: str | None = None
    opinion_at: datetime | None = None


class Group(Record):
    id: str
    consultation: str
    source_room: str
    """The consultation's room."""
    room: str
    title: str
    reason: str
    mode: GroupMode
    state: GroupState = GroupState.INVITING
    opener: DoctorCard
    patient: str
    person: PersonSnapshot
    seats: tuple[Seat, ...]
    opened_at: datetime
    lapses_at: datetime
    """When invitations that nobody answered lapse."""
    ends_at: datetime | None = None
    """When it closes by itself, known once its consultation is over."""
    conclusion: str | None = None
    ended_at: datetime | None = None
    check_at: datetime | None = None
    version: int = 1

    @property
    def live(self) -> bool:
        return self.state in LIVE

    @property
    def members(self) -> tuple[str, ...]:
        """Give who is in its room now: the opener, and whoever accepted (I8)."""
        return (self.opener.id, *(s.user for s in self.seats if s.state is SeatState.ACCEPTED))

    @property
    def users(self) -> tuple[str, ...]:
        """Give whom it concerns; never a patient who doesn't take part."""
        return (self.opener.id, *(seat.user for seat in self.seats))

    @property
    def doctors(self) -> tuple[Seat, ...]:
        return tuple(seat for seat in self.seats if seat.role is Role.DOCTOR)

    def has_member(self, user: str) -> bool:
        return user in self.members

    def concerns(self, user: str) -> bool:
        """Say whether the user may read its room: exactly who is in it."""
        return self.has_member(user)

    def handover_of(self, _user: str) -> int | None:
        return None

    def seat(self, user: str) -> Seat | None:
        return next((seat for seat in self.seats if seat.user == user), None)

    def to_wire(self, viewer: str) -> dict[str, Any]:
        """Show it to one whom it concerns.

        What was said of the patient is for who is in its room; he reads it once it is concluded.
        """
        inside = self.has_member(viewer)
        told = inside and (viewer != self.patient or self.state is GroupState.CONCLUDED)
        own = self.seat(viewer)
        opinions = [
            {"doctor": s.user, "name": s.name, "text": s.opinion, "at": wire_time(s.opinion_at)}
            for s in self.doctors
            if told and s.opinion is not None and s.opinion_at is not None
        ]
        return {
            "id": self.id,
            "version": self.version,
            "consultation": self.consultation,
            "room": self.room,
            "title": self.title,
            "reason": self.reason,
            "mode": self.mode.value,
            "state": self.state.value,
            "opener": self.opener.model_dump(),
            "doctors": [
                {
                    "id": s.user,
                    "name": s.name,
                    "title": s.doctor.title if s.doctor else None,
                    "state": s.state.value,
                }
                for s in self.doctors
            ],
            "my_state": own.state.value if own else None,
            "person": self.person.to_wire(),
            "opinions": opinions,
            "conclusion": self.conclusion if inside else None,
            "opened_at": wire_time(self.opened_at),
            "lapses_at": wire_time(self.lapses_at),
            "ended_at": self.ended_at and wire_time(self.ended_at),
        }


def permit(group: Group, action: GroupAction, user: str) -> None:
    """Refuse a user who may not ask for the action. Raises Forbidden."""
    seat = group.seat(user)
    if action is GroupAction.CLOSE and user == group.opener.id:
        return
    if seat is None or action not in _SEATS_ACTIONS:
        raise Forbidden
    if seat.role is Role.PATIENT and action in _DOCTORS_ACTIONS:
        raise Forbidden


def move(
    group: Group, action: GroupAction, now: datetime, user: str | None = None, text: str = ""
) -> Group:
    """Return the group after the action. Raises Conflict where a table has no such move.

    `text` is the opinion, or the conclusion.
    """
    state = TABLE.get((group.state, action))
    if state is None:
        raise Conflict
    seats = tuple(
        _seated(seat, action, now, text) if seat.user == user else seat for seat in group.seats
    )
    if action is GroupAction.LAPSE:
        seats = tuple(_lapsed(seat, now) for seat in group.seats)
    waiting = any(
        s.state in {SeatState.INVITED, SeatState.ACCEPTED} for s in seats if s.role is Role.DOCTOR
    )
    if state is GroupState.INVITING and not waiting:
        state = GroupState.CANCELLED
    changes: dict[str, Any] = {"state": state, "seats": seats, "version": group.version + 1}
    if state not in LIVE:
        changes["ended_at"] = now
    if action is GroupAction.CLOSE:
        changes["conclusion"] = text
    return scheduled(group.changed(**changes))


def scheduled(group: Group) -> Group:
    """Return the group with the time at which the clock looks at it next."""
    if not group.live:
        return group.changed(check_at=None)
    asked = any(s.state is SeatState.INVITED for s in group.doctors)
    looks = [group.lapses_at if asked else None, group.ends_at]
    return group.changed(check_at=min(filter(None, looks), default=None))


def due(group: Group, now: datetime) -> GroupAction | None:
    """Tell what the clock asks for."""
    if group.ends_at is not None and group.ends_at <= now:
        return GroupAction.END
    asked = any(s.state is SeatState.INVITED for s in group.doctors)
    return GroupAction.LAPSE if asked and group.lapses_at <= now else None


def _seated(seat: Seat, action: GroupAction, now: datetime, text: str) -> Seat:
    state = SEATS.get((seat.role, seat.state, action))
    if state is None:
        raise Conflict
    changes: dict[str, Any] = {"state": state}
    if action is GroupAction.OPINION:
        changes |= {"opinion": text, "opinion_at": now}
    elif seat.answered_at is None:
        changes["answered_at"] = now
    return seat.changed(**changes)


def _lapsed(seat: Seat, now: datetime) -> Seat:
    after = SEATS.get((seat.role, seat.state, GroupAction.LAPSE))
    return seat if after is None else seat.changed(state=after, answered_at=now)
