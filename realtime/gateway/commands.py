"""The command table: a row is all there is to a socket command. Nothing else can be reached."""

from collections.abc import Mapping
from typing import Any

from care.accounts import Role
from care.errors import BadRequest
from care.rooms import FILE_KINDS, Kind, Message
from realtime.gateway import payloads as p
from realtime.gateway.connections import Connection, Connections
from realtime.gateway.sessions import Refresh, SessionGuard
from realtime.gateway.table import Accepted, Command
from realtime.rooms.consultations import ConsultationService
from realtime.rooms.messages import MessageService
from realtime.rooms.rooms import RoomService

DOCTOR = frozenset({Role.DOCTOR})


class Commands:
    """Join the use cases to their rows."""

    def __init__(
        self,
        rooms: RoomService,
        messages: MessageService,
        consultations: ConsultationService,
        connections: Connections,
        guard: SessionGuard,
    ) -> None:
        self._rooms = rooms
        self._messages = messages
        self._consultations = consultations
        self._connections = connections
        self._guard = guard

    def table(self) -> list[Command[Any]]:
        return [
            Command(
                "session:refresh",
                Refresh,
                self._guard.refresh,
                None,
                "Go on under a new token (A9); answers `expires_at`",
            ),
            Command(
                "presence:set",
                p.SetPresence,
                self.set_presence,
                None,
                "Say whether the app is in front (R8)",
            ),
            Command(
                "room:list",
                p.ListRooms,
                self.list_rooms,
                None,
                "List one's rooms (R3); answers `rooms`, `cursor`",
            ),
            Command(
                "room:join",
                p.JoinRoom,
                self.join,
                None,
                "Enter a room and catch up (R2); answers `room`, `messages`, `has_more`",
            ),
            Command(
                "room:leave",
                p.InRoom,
                self.leave,
                None,
                "Hear no more of a room on this socket, until it is joined again",
            ),
            Command(
                "room:sync",
                p.SyncRoom,
                self.sync,
                None,
                "Read what follows `after_seq` (R2); answers `messages`, `has_more`",
            ),
            Command(
                "room:history",
                p.RoomHistory,
                self.history,
                None,
                "Read what precedes `before_seq`; answers `messages`, `has_more`",
            ),
            Command(
                "message:send",
                p.SendMessage,
                self.send,
                None,
                "Send a message (R1); answers `message` once it is durable",
            ),
            Command(
                "message:recall",
                p.MessageAt,
                self.recall,
                None,
                "Take one's message back within two minutes (撤回, R4)",
            ),
            Command("message:read", p.MessageAt, self.read, None, "Move one's read mark (R3)"),
            Command(
                "message:search",
                p.SearchMessages,
                self.search,
                None,
                "Find text in one's rooms (R5); answers `messages`, `cursor`",
            ),
            Command(
                "typing:set", p.SetTyping, self.typing, None, "Show that one types, or stopped (R3)"
            ),
            Command(
                "consultation:accept",
                p.OneConsultation,
                self.accept,
                DOCTOR,
                "Accept (接诊, C5); answers `consultation`",
            ),
            Command(
                "consultation:decline",
                p.DeclineConsultation,
                self.decline,
                DOCTOR,
                "Decline (退诊, C7); answers `consultation`",
            ),
            Command(
                "consultation:end",
                p.OneConsultation,
                self.end,
                None,
                "End the talk (C8); answers `consultation`",
            ),
        ]

    async def set_presence(self, at: Connection, asked: p.SetPresence) -> Mapping[str, Any]:
        self._connections.set_foreground(at, asked.state == "foreground")
        return {}

    async def list_rooms(self, at: Connection, asked: p.ListRooms) -> Mapping[str, Any]:
        return await self._rooms.list_rooms(at.caller, asked.cursor)

    async def join(self, at: Connection, asked: p.JoinRoom) -> Mapping[str, Any]:
        # heard again before the page is read, so that nothing falls between the two
        at.left.discard(asked.room)
        return await self._rooms.join(asked.room, at.caller, asked.after_seq)

    async def leave(self, at: Connection, asked: p.InRoom) -> Mapping[str, Any]:
        await self._rooms.look_into(asked.room, at.caller)
        at.left.add(asked.room)
        return {}

    async def sync(self, at: Connection, asked: p.SyncRoom) -> Mapping[str, Any]:
        return await self._rooms.sync(asked.room, at.caller, asked.after_seq, asked.limit)

    async def history(self, at: Connection, asked: p.RoomHistory) -> Mapping[str, Any]:
        return await self._rooms.history(asked.room, at.caller, asked.before_seq, asked.limit)

    async def send(self, at: Connection, asked: p.SendMessage) -> Accepted[Message]:
        kind = Kind(asked.kind)
        stored = await self._messages.send(
            at.caller, at.id, asked.room, asked.client_id, kind, _content(kind, asked.body)
        )
        return Accepted(stored, _receipt)

    async def recall(self, at: Connection, asked: p.MessageAt) -> Mapping[str, Any]:
        await self._messages.recall(at.caller, asked.room, asked.seq)
        return {}

    async def read(self, at: Connection, asked: p.MessageAt) -> Mapping[str, Any]:
        await self._messages.read(at.caller, asked.room, asked.seq)
        return {}

    async def search(self, at: Connection, asked: p.SearchMessages) -> Mapping[str, Any]:
        return await self._messages.search(at.caller, asked.text, asked.room, asked.cursor)

    async def typing(self, at: Connection, asked: p.SetTyping) -> Mapping[str, Any]:
        await self._messages.typing(at.caller, at.id, asked.room, on=asked.on)
        return {}

    async def accept(self, at: Connection, asked: p.OneConsultation) -> Mapping[str, Any]:
        moved = await self._consultations.accept(asked.consultation, at.caller)
        return {"consultation": await self._consultations.show(moved, at.caller.user)}

    async def decline(self, at: Connection, asked: p.DeclineConsultation) -> Mapping[str, Any]:
        moved = await self._consultations.decline(asked.consultation, at.caller, asked.reason)
        return {"consultation": await self._consultations.show(moved, at.caller.user)}

    async def end(self, at: Connection, asked: p.OneConsultation) -> Mapping[str, Any]:
        moved = await self._consultations.end(asked.consultation, at.caller)
        return {"consultation": await self._consultations.show(moved, at.caller.user)}


def _content(kind: Kind, body: p.Body) -> dict[str, str]:
    """Take what the kind needs from the body. Raises BadRequest naming the field."""
    wanted, other = ("file", "text") if kind in FILE_KINDS else ("text", "file")
    if getattr(body, wanted) is None:
        raise BadRequest.field(f"body.{wanted}", "必填")
    if getattr(body, other) is not None:
        raise BadRequest.field(f"body.{other}", "不认识的字段")
    return {wanted: getattr(body, wanted)}


def _receipt(message: Message) -> Mapping[str, Any]:
    return {"message": message.receipt()}
