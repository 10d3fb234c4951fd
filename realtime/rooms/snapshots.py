"""What clients see of a room: a consultation's, or a group consultation's (PROTOCOL, C12, G2)."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from care.accounts import Role
from care.consultation import Consultation, Mode, State
from care.deadlines import deadline, follow_up_until
from care.groups import Group
from care.policy import ConsultationPolicy
from care.ports import LogReader, OnlineUsers, ReadMarkStore
from care.rooms import Activity, Head
from realtime.rooms.views import optional_time

RoomRecord = Consultation | Group
"""What a room belongs to: who is in it is read from there alone (I8)."""

Labelled = tuple[str, Role, str]
"""A member: user, role, label."""

_MODE_NAME = {Mode.TEXT: "图文问诊", Mode.VOICE: "语音问诊", Mode.VIDEO: "视频问诊"}


class Snapshots:
    def __init__(
        self, log: LogReader, marks: ReadMarkStore, online: OnlineUsers, policy: ConsultationPolicy
    ) -> None:
        self._log = log
        self._marks = marks
        self._online = online
        self._policy = policy

    async def of(self, found: Sequence[RoomRecord], viewer: str) -> list[dict[str, Any]]:
        """Show rooms to a member, in a fixed number of reads however many there are."""
        if not found:
            return []
        rooms = [record.room for record in found]
        activity = await self._log.activity(rooms)
        marks = await self._marks.of_rooms(rooms)
        unread = await self._log.unread(viewer, {r: marks[r].get(viewer, 0) for r in rooms})
        ended = [r.room for r in found if r.state is State.ENDED]
        heads = await self._log.heads(ended) if ended else {}
        online = await self._online.online({user for r in found for user in r.members})
        shown = []
        for record in found:
            room = record.room
            if isinstance(record, Group):
                about, members = _group(record), _group_members(record)
            else:
                about = self._consultation(record, activity[room], heads.get(room))
                members = _members(record)
            shown.append(
                {
                    "id": room,
                    "members": _shown(members, marks[room], online),
                    "last_seq": activity[room].last_seq,
                    "read_seq": marks[room].get(viewer, 0),
                    "unread": unread.get(room, 0),
                    **about,
                    **await self._as_a_record(record, viewer),
                }
            )
        return shown

    async def _as_a_record(self, record: RoomRecord, viewer: str) -> dict[str, Any]:
        """Say what is otherwise for who reads the room without being in it."""
        if record.has_member(viewer):
            return {}
        end = await self.end_for(record, viewer)
        return {"open": False, "unread": 0} | ({} if end is None else {"last_seq": end})

    async def end_for(self, record: RoomRecord, user: str) -> int | None:
        """Tell the last seq a former doctor may read, the line that let him out excluded (T2)."""
        version = record.handover_of(user)
        seq = None if version is None else await self._log.fence_seq(record.room, version)
        return None if seq is None else seq - 1

    def _consultation(
        self, c: Consultation, activity: Activity, head: Head | None
    ) -> dict[str, Any]:
        due = deadline(c, activity, self._policy)
        return {
            "kind": "consultation",
            "title": f"{_MODE_NAME[c.mode]} {c.doctor.name}",
            "open": c.state in {State.AWAITING_DOCTOR, State.IN_PROGRESS},
            "consultation": c.id,
            "closes_at": optional_time(due.at if due else None),
            "closes_because": due.because.value if due else None,
        } | self._asking(c, head)

    def _asking(self, c: Consultation, head: Head | None) -> dict[str, Any]:
        """Show a room that a late prescription opened for questions (C13): the log's fence says."""
        until = follow_up_until(c, self._policy)
        if head is None or until is None or not head.fence.writers:
            return {}
        return {"open": True, "closes_at": optional_time(until), "closes_because": "asked"}


def _members(c: Consultation) -> list[Labelled]:
    return [
        (c.patient, Role.PATIENT, f"患者-{c.patient_name}"),
        (c.doctor.id, Role.DOCTOR, f"医生-{c.doctor.name}"),
    ]


def _group(group: Group) -> dict[str, Any]:
    return {
        "kind": "group",
        "title": group.title,
        "open": group.live,
        "consultation": group.consultation,
        "group": group.id,
        "closes_at": optional_time(group.ends_at if group.live else None),
        "closes_because": "consultation_over" if group.live and group.ends_at else None,
    }


def _group_members(group: Group) -> list[Labelled]:
    """Label who is in the room now (G2)."""
    seats = [seat for seat in group.seats if group.has_member(seat.user)]
    names = {Role.DOCTOR: "会诊", Role.PATIENT: "患者"}
    return [
        (group.opener.id, Role.DOCTOR, f"主治-{group.opener.name}"),
        *((seat.user, seat.role, f"{names[seat.role]}-{seat.name}") for seat in seats),
    ]


def _shown(
    members: Iterable[Labelled], marks: Mapping[str, int], online: set[str]
) -> list[dict[str, Any]]:
    return [
        {
            "user": user,
            "role": role.value,
            "label": label,
            "online": user in online,
            "read_seq": marks.get(user, 0),
        }
        for user, role, label in members
    ]
