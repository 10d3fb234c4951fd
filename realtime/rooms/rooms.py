"""Rooms: who may enter, joining, resuming, lists (R2, R3, I6, I8)."""

from typing import Any, Protocol

from care.accounts import Caller
from care.errors import Forbidden
from care.groups import Group
from care.policy import Policy
from care.ports import Channel, ConsultationStore, LogReader, OnlineUsers, ReadMarkStore
from care.rooms import Message
from realtime.rooms.snapshots import RoomRecord, Snapshots
from realtime.rooms.views import MessageViews


class GroupRooms(Protocol):
    """Finds group consultations by their rooms and by who is in them."""

    async def of_room(self, room: str) -> Group | None: ...

    async def rooms_of(self, user: str, before: str | None, limit: int) -> list[Group]: ...

    async def all_rooms_of(self, user: str) -> list[str]: ...


class RoomService:
    """Serve rooms to their members; membership is read from the record on every call."""

    def __init__(
        self,
        store: ConsultationStore,
        groups: GroupRooms,
        log: LogReader,
        marks: ReadMarkStore,
        online: OnlineUsers,
        views: MessageViews,
        channel: Channel,
        policy: Policy,
    ) -> None:
        self._store = store
        self._groups = groups
        self._log = log
        self._views = views
        self._channel = channel
        self._policy = policy.messages
        self._snapshots = Snapshots(log, marks, online, policy.consultations)

    async def enter(self, room: str, caller: Caller) -> RoomRecord:
        """Give the room's record to a member. Raises Forbidden to everyone else."""
        record = await self.look_into(room, caller)
        if not record.has_member(caller.user):
            raise Forbidden
        return record

    async def look_into(self, room: str, caller: Caller) -> RoomRecord:
        """Give the room's record to who may read it: also who had it, or is asked to take it.

        Raises Forbidden to everyone else.
        """
        record = await self._store.of_room(room) or await self._groups.of_room(room)
        if record is None or not record.concerns(caller.user):
            raise Forbidden
        return record

    async def join(self, room: str, caller: Caller, after_seq: int | None) -> dict[str, Any]:
        """Give the snapshot, and what was missed since `after_seq`, or else the newest page."""
        record = await self.look_into(room, caller)
        if after_seq is None:
            page = await self.history(room, caller, None, None)
        else:
            page = await self.sync(room, caller, after_seq, None)
        return {"room": await self.snapshot(record, caller.user), **page}

    async def sync(
        self, room: str, caller: Caller, after_seq: int, limit: int | None
    ) -> dict[str, Any]:
        """Give exactly what follows `after_seq`, oldest first."""
        record = await self.look_into(room, caller)
        end = await self._snapshots.end_for(record, caller.user)
        size = limit or self._policy.page_max
        found = await self._log.after(room, after_seq, size + 1)
        if end is not None:
            found = [message for message in found if message.seq <= end]
        return await self._page(found[:size], caller.user, has_more=len(found) > size)

    async def history(
        self, room: str, caller: Caller, before_seq: int | None, limit: int | None
    ) -> dict[str, Any]:
        """Give the page that precedes `before_seq`, oldest first."""
        record = await self.look_into(room, caller)
        end = await self._snapshots.end_for(record, caller.user)
        if end is not None:
            before_seq = min(before_seq or end + 1, end + 1)
        size = limit or self._policy.page_default
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
        size = self._policy.page_default
        found: list[RoomRecord] = [
            *await self._store.page(caller, None, cursor, size + 1),
            *await self._groups.rooms_of(caller.user, cursor, size + 1),
        ]
        # ids of both begin with the time
        found.sort(key=lambda record: record.id, reverse=True)
        rooms = await self._snapshots.of(found[:size], caller.user)
        return {"rooms": rooms, "cursor": found[size - 1].id if len(found) > size else None}

    async def all_of(self, caller: Caller) -> list[str]:
        """List every room the caller is in."""
        own = [c.room for c in await self._store.all_of(caller)]
        return own + await self._groups.all_rooms_of(caller.user)

    async def snapshot(self, record: RoomRecord, viewer: str) -> dict[str, Any]:
        return (await self._snapshots.of([record], viewer))[0]

    async def announce(self, record: RoomRecord) -> None:
        """Send every member the room's new snapshot."""
        for user in record.members:
            self._channel.push([user], "room:updated", await self.snapshot(record, user))
