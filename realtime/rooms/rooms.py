"""Rooms: who may enter, snapshots, joining, resuming, lists (R2, R3, I6, I8)."""

from typing import Any

from care.accounts import Caller, Role
from care.consultation import Consultation, Mode, State
from care.deadlines import deadline, follow_up_until
from care.errors import Forbidden
from care.policy import Policy
from care.ports import Channel, ConsultationStore, LogReader, OnlineUsers, ReadMarkStore
from care.rooms import Activity, Head, Message
from realtime.rooms.views import MessageViews, optional_time

_MODE_NAME = {Mode.TEXT: "图文问诊", Mode.VOICE: "语音问诊", Mode.VIDEO: "视频问诊"}


class RoomService:
    """Serve rooms to their members; membership is read from the record on every call."""

    def __init__(
        self,
        store: ConsultationStore,
        log: LogReader,
        marks: ReadMarkStore,
        online: OnlineUsers,
        views: MessageViews,
        channel: Channel,
        policy: Policy,
    ) -> None:
        self._store = store
        self._log = log
        self._marks = marks
        self._online = online
        self._views = views
        self._channel = channel
        self._policy = policy

    async def enter(self, room: str, caller: Caller) -> Consultation:
        """Give the room's record to a member. Raises Forbidden to everyone else."""
        consultation = await self.look_into(room, caller)
        if not consultation.has_member(caller.user):
            raise Forbidden
        return consultation

    async def look_into(self, room: str, caller: Caller) -> Consultation:
        """Give the room's record to who may read it: also who had it, or is asked to take it.

        Raises Forbidden to everyone else.
        """
        consultation = await self._store.of_room(room)
        if consultation is None or not consultation.concerns(caller.user):
            raise Forbidden
        return consultation

    async def _end_for(self, c: Consultation, user: str) -> int | None:
        """Tell the last seq a former doctor may read, the line that let him out excluded (T2)."""
        version = c.handover_of(user)
        seq = None if version is None else await self._log.fence_seq(c.room, version)
        return None if seq is None else seq - 1

    async def join(self, room: str, caller: Caller, after_seq: int | None) -> dict[str, Any]:
        """Give the snapshot, and what was missed since `after_seq`, or else the newest page."""
        consultation = await self.look_into(room, caller)
        if after_seq is None:
            page = await self.history(room, caller, None, None)
        else:
            page = await self.sync(room, caller, after_seq, None)
        return {"room": await self.snapshot(consultation, caller.user), **page}

    async def sync(
        self, room: str, caller: Caller, after_seq: int, limit: int | None
    ) -> dict[str, Any]:
        """Give exactly what follows `after_seq`, oldest first."""
        end = await self._end_for(await self.look_into(room, caller), caller.user)
        size = limit or self._policy.messages.page_max
        found = await self._log.after(room, after_seq, size + 1)
        if end is not None:
            found = [message for message in found if message.seq <= end]
        return await self._page(found[:size], caller.user, has_more=len(found) > size)

    async def history(
        self, room: str, caller: Caller, before_seq: int | None, limit: int | None
    ) -> dict[str, Any]:
        """Give the page that precedes `before_seq`, oldest first."""
        end = await self._end_for(await self.look_into(room, caller), caller.user)
        if end is not None:
            before_seq = min(before_seq or end + 1, end + 1)
        size = limit or self._policy.messages.page_default
        found = await self._log.before(room, before_seq, size + 1)
        return await self._page(found[-size:], caller.user, has_more=len(found) > size)

    async def _page(
        self, messages: list[Message], viewer: str, *, has_more: bool
    ) -> dict[str, Any]:
        recalled: set[int] = set()
        if messages:
            room, first, last = messages[0].room, messages[0].seq, messages[-1].seq
            recalled = await self._log.recalled(room, first, last)
        shown = [self._views.show(m, viewer, recalled=m.seq in recalled) for m in messages]
        return {"messages": shown, "has_more": has_more}

    async def list_rooms(self, caller: Caller, cursor: str | None) -> dict[str, Any]:
        """List the caller's rooms, newest first."""
        size = self._policy.messages.page_default
        found = await self._store.page(caller, None, cursor, size + 1)
        rooms = await self.snapshots(found[:size], caller.user)
        return {"rooms": rooms, "cursor": found[size - 1].id if len(found) > size else None}

    async def snapshot(self, consultation: Consultation, viewer: str) -> dict[str, Any]:
        return (await self.snapshots([consultation], viewer))[0]

    async def snapshots(self, found: list[Consultation], viewer: str) -> list[dict[str, Any]]:
        """Show rooms to a member, in a fixed number of reads however many there are."""
        if not found:
            return []
        rooms = [c.room for c in found]
        activity = await self._log.activity(rooms)
        marks = await self._marks.of_rooms(rooms)
        unread = await self._log.unread(viewer, {r: marks[r].get(viewer, 0) for r in rooms})
        ended = [c.room for c in found if c.state is State.ENDED]
        heads = await self._log.heads(ended) if ended else {}
        online = await self._online.online({user for c in found for user in c.members})
        return [
            self._show(c, viewer, activity[c.room], marks[c.room], online)
            | {"unread": unread.get(c.room, 0)}
            | self._asking(c, heads.get(c.room))
            | await self._as_a_record(c, viewer)
            for c in found
        ]

    async def _as_a_record(self, c: Consultation, viewer: str) -> dict[str, Any]:
        """Say what is otherwise for who reads the room without being in it."""
        if c.has_member(viewer):
            return {}
        end = await self._end_for(c, viewer)
        return {"open": False, "unread": 0} | ({} if end is None else {"last_seq": end})

    def _show(
        self,
        c: Consultation,
        viewer: str,
        activity: Activity,
        marks: dict[str, int],
        online: set[str],
    ) -> dict[str, Any]:
        due = deadline(c, activity, self._policy.consultations)
        members = [
            (c.patient, Role.PATIENT, f"患者-{c.patient_name}"),
            (c.doctor.id, Role.DOCTOR, f"医生-{c.doctor.name}"),
        ]
        return {
            "id": c.room,
            "kind": "consultation",
            "title": f"{_MODE_NAME[c.mode]} {c.doctor.name}",
            "members": [
                {
                    "user": user,
                    "role": role.value,
                    "label": label,
                    "online": user in online,
                    "read_seq": marks.get(user, 0),
                }
                for user, role, label in members
            ],
            "last_seq": activity.last_seq,
            "read_seq": marks.get(viewer, 0),
            "open": c.state in {State.AWAITING_DOCTOR, State.IN_PROGRESS},
            "consultation": c.id,
            "closes_at": optional_time(due.at if due else None),
            "closes_because": due.because.value if due else None,
        }

    def _asking(self, c: Consultation, head: Head | None) -> dict[str, Any]:
        """Show a room that a late prescription opened for questions (C13): the log's fence says."""
        until = follow_up_until(c, self._policy.consultations)
        if head is None or until is None or not head.fence.writers:
            return {}
        return {"open": True, "closes_at": optional_time(until), "closes_because": "asked"}

    async def announce(self, consultation: Consultation) -> None:
        """Send every member the room's new snapshot."""
        for user in consultation.members:
            self._channel.push([user], "room:updated", await self.snapshot(consultation, user))
