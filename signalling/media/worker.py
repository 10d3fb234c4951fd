"""The process that carries media: rooms, and what hubs on this host ask of them.

It is given its listening socket as stdin, knows no secret and no name of a person, and keeps
nothing: when it dies its calls begin anew with another one.
"""

import asyncio
import contextlib
import secrets
import socket
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import structlog

from care.errors import BadRequest, CareError, Conflict, Internal, Unavailable
from care.media import BUSY, RecordingState
from care.policy import MediaPolicy
from signalling.media import protocol
from signalling.media.adapter import check_version
from signalling.media.recording.recorders import Recorders
from signalling.media.room import Room

MEASURE_SECONDS = 5.0
ABANDONED_SECONDS = 120.0
"""A room that nobody is in for so long was forgotten by a hub that died."""

Asked = Mapping[str, Any]

logger = structlog.get_logger(__name__)


class MediaWorker:
    """Serves the hubs of one host."""

    def __init__(self, policy: MediaPolicy, recordings: Path) -> None:
        """`recordings` is the folder where calls are recorded."""
        check_version()
        self.name = secrets.token_hex(8)
        self._policy = policy
        self._rooms: dict[str, Room] = {}
        self._recorders = Recorders(recordings, self._recorded)
        self._seen: dict[str, float] = {}
        self._hubs: dict[tuple[str, str], asyncio.StreamWriter] = {}
        self._work: set[asyncio.Task[None]] = set()
        self._commands: Mapping[str, Callable[[Asked], Awaitable[Any]]] = {
            "ping": self._ping,
            "answer": self._answer,
            "candidate": self._candidate,
            "leave": self._leave,
            "record": self._record,
            "stop_recording": self._stop_recording,
            "close": self._close,
        }

    async def serve(self, listener: socket.socket) -> None:
        """Serve until cancelled."""
        server = await asyncio.start_unix_server(self._attend, sock=listener)
        try:
            async with server:
                await self._watch()
        finally:
            await self._recorders.close()
            for room in self._rooms.values():
                await room.close()

    async def _attend(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Do what one hub asks, each thing as soon as it can be done."""
        writer.write(protocol.frame({"hello": self.name, **await self._ping({})}))
        with contextlib.suppress(protocol.Broken):
            while (asked := await protocol.read(reader)) is not None:
                task = asyncio.create_task(self._do(asked, writer))
                self._work.add(task)
                task.add_done_callback(self._work.discard)
        writer.close()

    async def _do(self, asked: Asked, hub: asyncio.StreamWriter) -> None:
        try:
            if asked["do"] == "join":
                done = await self._join(asked, hub)
            else:
                done = await self._commands[asked["do"]](asked)
            said = {"id": asked["id"], "done": done}
        except CareError as error:
            said = {"id": asked["id"], "refused": protocol.refusal(error)}
        except Exception:
            logger.exception("media_command_failed", command=asked.get("do"))
            said = {"id": asked.get("id"), "refused": protocol.refusal(Internal())}
        _tell(hub, said)

    async def _ping(self, _: Asked) -> dict[str, int]:
        return {"rooms": len(self._rooms), "rooms_max": self._policy.calls_max}

    async def _join(self, asked: Asked, hub: asyncio.StreamWriter) -> str:
        call, user = asked["call"], asked["user"]
        room = self._rooms.get(call)
        if room is None:
            if len(self._rooms) >= self._policy.calls_max:
                raise Unavailable(BUSY)
            room = self._rooms[call] = Room(call, self._policy, self._offered)
        self._hubs[call, user] = hub
        self._seen[call] = asyncio.get_running_loop().time()
        try:
            return await room.join(user, asked["sdp"])
        finally:
            # the first one was refused
            if not room.users:
                await self._close(asked)

    async def _answer(self, asked: Asked) -> None:
        if (room := self._rooms.get(asked["call"])) is None:
            raise Conflict("尚未加入通话")
        await room.take_answer(asked["user"], asked["sdp"])

    async def _candidate(self, asked: Asked) -> None:
        if room := self._rooms.get(asked["call"]):
            try:
                await room.take_candidate(asked["user"], asked["candidate"])
            except ValueError:
                raise BadRequest.field("candidate", "不是有效的 ICE candidate") from None

    async def _leave(self, asked: Asked) -> None:
        if room := self._rooms.get(asked["call"]):
            await room.leave(asked["user"])
            if not room.users:
                await self._close(asked)

    async def _record(self, asked: Asked) -> None:
        if (room := self._rooms.get(asked["call"])) is None:
            raise Conflict("尚未加入通话")
        now = datetime.fromisoformat(asked["now"])
        await self._recorders.start(room, asked["call"], asked["recording"], now)

    async def _stop_recording(self, asked: Asked) -> None:
        await self._recorders.stop(asked["call"])

    async def _close(self, asked: Asked) -> None:
        call = asked["call"]
        await self._recorders.stop(call)
        room = self._rooms.pop(call, None)
        self._seen.pop(call, None)
        for hub in {self._hubs.pop(key) for key in [k for k in self._hubs if k[0] == call]}:
            _tell(hub, {"event": "closed", "call": call})
        if room:
            await room.close()

    def _offered(self, call: str, user: str, sdp: str) -> None:
        if hub := self._hubs.get((call, user)):
            _tell(hub, {"event": "offered", "call": call, "user": user, "sdp": sdp})

    def _recorded(self, call: str, recording: str, state: RecordingState, problem: str) -> None:
        said = {"call": call, "recording": recording, "state": state.value, "problem": problem}
        for hub in {hub for key, hub in self._hubs.items() if key[0] == call}:
            _tell(hub, {"event": "recording", **said})

    async def _watch(self) -> None:
        """Tell what was measured, and close what was forgotten."""
        while True:
            await asyncio.sleep(MEASURE_SECONDS)
            now = asyncio.get_running_loop().time()
            for call, room in list(self._rooms.items()):
                for stats in room.stats():
                    self._seen[call] = now
                    if hub := self._hubs.get((call, stats.user)):
                        told = stats.model_dump(exclude_none=True)
                        _tell(hub, {"event": "measured", "call": call, "stats": told})
                if now - self._seen[call] > ABANDONED_SECONDS:
                    logger.warning("media_room_abandoned", call=call)
                    await self._close({"call": call})


def _tell(hub: asyncio.StreamWriter, said: Mapping[str, Any]) -> None:
    if not hub.is_closing():
        hub.write(protocol.frame(said))
