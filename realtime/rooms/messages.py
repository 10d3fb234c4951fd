"""Messages: sending, recalling, reading, searching, typing (R1, R3–R5)."""

from collections.abc import Awaitable, Mapping
from datetime import timedelta
from typing import Any, Protocol

from care.accounts import Caller
from care.errors import BadRequest, Conflict, Forbidden
from care.policy import MessagePolicy
from care.ports import (
    AttachmentClaims,
    Channel,
    Clock,
    Log,
    LogReader,
    ReadMarkStore,
)
from care.record import new_id
from care.rooms import FILE_KINDS, MEMBER_KINDS, SYSTEM, Draft, Kind, Message, Sender
from realtime.rooms.rooms import RoomService
from realtime.rooms.views import MessageViews


class Origins(Protocol):
    """Remembers which connection sent a draft, so that it isn't sent its own message."""

    def sent_by(self, draft: str, connection: str) -> None: ...


class MessageService:
    def __init__(
        self,
        rooms: RoomService,
        log: Log,
        reader: LogReader,
        marks: ReadMarkStore,
        files: AttachmentClaims,
        views: MessageViews,
        origins: Origins,
        channel: Channel,
        clock: Clock,
        policy: MessagePolicy,
    ) -> None:
        self._rooms = rooms
        self._log = log
        self._reader = reader
        self._marks = marks
        self._files = files
        self._views = views
        self._origins = origins
        self._channel = channel
        self._clock = clock
        self._policy = policy

    async def send(
        self, caller: Caller, connection: str, room: str, client_id: str, kind: Kind,
        body: Mapping[str, Any],
    ) -> Awaitable[Message]:  # fmt: skip
        """Accept a message in order; await the result for its place in the room.

        Text is accepted before this first suspends. Who may write is the log's own decision.
        Raises BadRequest for a text over the limit.
        """
        if len(body.get("text", "")) > self._policy.text_max:
            raise BadRequest.field("body.text", f"不能超过{self._policy.text_max}个字")
        if kind in FILE_KINDS:
            await self._rooms.enter(room, caller)
            body = await self._files.claim(body["file"], caller.user, room, kind.value)
        draft = Draft(
            id=new_id(self._clock.now()),
            room=room,
            sender=Sender(caller.user, caller.role.value, caller.name),
            client_id=client_id,
            kind=kind,
            body=body,
        )
        stored = self._log.append(draft)
        self._origins.sent_by(draft.id, connection)
        return stored

    async def recall(self, caller: Caller, room: str, seq: int) -> None:
        """Take a message back: a line in the log says so, and its content is shown no more (R4).

        Raises Forbidden for another's message, Conflict after two minutes.
        """
        await self._rooms.enter(room, caller)
        message = await self._reader.one(room, seq)
        if message is None or message.sender.id != caller.user or message.kind not in MEMBER_KINDS:
            raise Forbidden
        now = self._clock.now()
        if now - message.at > timedelta(seconds=self._policy.recall_seconds):
            raise Conflict("消息发送超过时限，不能撤回")
        draft = Draft(
            id=new_id(now),
            room=room,
            sender=SYSTEM,
            client_id=f"recall:{seq}",
            kind=Kind.RECALL,
            body={"seq": seq, "by": caller.user},
        )
        await self._log.append(draft)

    async def read(self, caller: Caller, room: str, seq: int) -> None:
        """Move the caller's read mark, and show it to all members' devices, his own too (R7)."""
        consultation = await self._rooms.enter(room, caller)
        last = (await self._reader.activity([room]))[room].last_seq
        seq = min(seq, last)
        if await self._marks.advance(room, caller.user, seq):
            mark = {"room": room, "user": caller.user, "seq": seq}
            self._channel.push(consultation.members, "message:read", mark)

    async def typing(self, caller: Caller, connection: str, room: str, *, on: bool) -> None:
        consultation = await self._rooms.enter(room, caller)
        event = {"room": room, "user": caller.user, "on": on}
        self._channel.push(consultation.members, "typing", event, skip=connection)

    async def search(
        self, caller: Caller, text: str, room: str | None, cursor: str | None
    ) -> dict[str, Any]:
        """Find text in the caller's rooms, newest first; recalled messages aren't found (R5)."""
        if room is not None:
            rooms = [(await self._rooms.enter(room, caller)).room]
        else:
            rooms = await self._rooms.all_of(caller)
        size = self._policy.page_default
        found = await self._reader.search(rooms, text, cursor, size + 1)
        shown = [
            self._views.show(m, caller.user)
            for m in found[:size]
            if not await self._reader.recalled(m.room, m.seq, m.seq)
        ]
        return {"messages": shown, "cursor": found[size - 1].id if len(found) > size else None}
