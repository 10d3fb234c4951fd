"""The hub's end of the media workers: a MediaRelay that never touches media itself."""

import asyncio
import contextlib
import itertools
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import structlog

from care.errors import Unavailable
from care.media import BUSY, RecordingState, RelayEvents, SideStats
from signalling.media import protocol

CONNECT_SECONDS = 8.0
"""A worker that was not needed before starts meanwhile."""
ANSWER_SECONDS = 5.0
PING_SECONDS = 2.0

logger = structlog.get_logger(__name__)


class Worker:
    """The connection to one worker's socket, over the lives of the processes behind it."""

    def __init__(self, path: Path, events: RelayEvents) -> None:
        self.name: str | None = None
        """That of the process that lives now."""
        self.rooms = self.rooms_max = 0
        self._path, self._events = path, events
        self._calls: set[str] = set()
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._numbers = itertools.count()
        self._writer: asyncio.StreamWriter | None = None
        self._connecting = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()

    async def connect(self) -> None:
        """Connect where it isn't; the process starts when first asked for. Raises Unavailable."""
        async with self._connecting:
            if self.name is not None:
                return
            try:
                async with asyncio.timeout(CONNECT_SECONDS):
                    reader, writer = await asyncio.open_unix_connection(self._path)
                    hello = await protocol.read(reader)
            except (OSError, TimeoutError, protocol.Broken):
                hello = None
            if hello is None:
                raise Unavailable(BUSY)
            self._learn(hello)
            self._writer, self.name = writer, hello["hello"]
        for work in (self._listen(reader, writer), self._ping(writer)):
            task = asyncio.create_task(work)
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def ask(self, do: str, call: str, **data: Any) -> Any:
        """Have something done for a call. Raises what the worker refuses with, or Unavailable."""
        if self._writer is None or self.name is None:
            raise Unavailable
        self._calls.add(call)
        try:
            return await self._ask(self._writer, {"do": do, "call": call, **data})
        finally:
            if do == "close":
                self._calls.discard(call)

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._writer is not None:
            self._writer.close()

    async def _ask(self, writer: asyncio.StreamWriter, said: Mapping[str, Any]) -> Any:
        number = next(self._numbers)
        answer = self._waiting[number] = asyncio.get_running_loop().create_future()
        try:
            writer.write(protocol.frame({"id": number, **said}))
            async with asyncio.timeout(ANSWER_SECONDS):
                return await answer
        except TimeoutError:
            raise Unavailable from None
        finally:
            del self._waiting[number]

    async def _listen(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Hear the worker until it goes; its calls are lost then."""
        with contextlib.suppress(protocol.Broken):
            while (said := await protocol.read(reader)) is not None:
                self._hear(said)
        writer.close()
        name, self.name = self.name or "", None
        calls, self._calls = self._calls, set()
        logger.error("media_worker_lost", worker=name, calls=len(calls))
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(Unavailable())
        for call in calls:
            self._events.lost(call, name)

    def _hear(self, said: Mapping[str, Any]) -> None:
        if said.get("event") == "offered":
            self._events.offered(said["call"], said["user"], said["sdp"])
        elif said.get("event") == "measured":
            self._events.measured(said["call"], SideStats(**said["stats"]))
        elif said.get("event") == "recording":
            state = RecordingState(said["state"])
            self._events.recording(said["call"], said["recording"], state, said["problem"])
        elif said.get("event") == "closed":
            self._calls.discard(said["call"])
        elif (answer := self._waiting.get(said["id"])) and not answer.done():
            if "refused" in said:
                answer.set_exception(protocol.raised(said["refused"]))
            else:
                answer.set_result(said["done"])

    async def _ping(self, writer: asyncio.StreamWriter) -> None:
        """Find out how much it has to do, and whether it still does anything."""
        while not writer.is_closing():
            await asyncio.sleep(PING_SECONDS)
            try:
                self._learn(await self._ask(writer, {"do": "ping"}))
            except Unavailable:
                logger.error("media_worker_silent", worker=self.name)
                writer.transport.abort()

    def _learn(self, load: Mapping[str, Any]) -> None:
        self.rooms, self.rooms_max = load["rooms"], load["rooms_max"]


class MediaWorkers:
    """Relays calls over the workers of this host."""

    def __init__(self, paths: list[Path], events: RelayEvents) -> None:
        self._workers = [Worker(path, events) for path in paths]

    async def place(self) -> str:
        """Name the worker with the least to do. Raises Unavailable where all are full."""
        tried = await asyncio.gather(
            *(worker.connect() for worker in self._workers), return_exceptions=True
        )
        for failure in tried:
            if isinstance(failure, BaseException) and not isinstance(failure, Unavailable):
                raise failure
        free = [w for w in self._workers if w.name is not None and w.rooms < w.rooms_max]
        if not free:
            raise Unavailable(BUSY)
        chosen = min(free, key=lambda worker: worker.rooms)
        chosen.rooms += 1
        return str(chosen.name)

    def runs(self, worker: str) -> bool:
        return any(one.name == worker for one in self._workers)

    async def join(self, worker: str, call: str, user: str, sdp: str) -> str:
        return str(await (await self._find(worker)).ask("join", call, user=user, sdp=sdp))

    async def take_answer(self, worker: str, call: str, user: str, sdp: str) -> None:
        await (await self._find(worker)).ask("answer", call, user=user, sdp=sdp)

    async def take_candidate(
        self, worker: str, call: str, user: str, candidate: Mapping[str, Any]
    ) -> None:
        await (await self._find(worker)).ask("candidate", call, user=user, candidate=candidate)

    async def leave(self, worker: str, call: str, user: str) -> None:
        await (await self._find(worker)).ask("leave", call, user=user)

    async def close(self, worker: str, call: str) -> None:
        with contextlib.suppress(Unavailable):
            await (await self._find(worker)).ask("close", call)

    async def record(self, worker: str, call: str, recording: str, now: datetime) -> None:
        await (await self._find(worker)).ask("record", call, recording=recording, now=now)

    async def stop_recording(self, worker: str, call: str) -> None:
        with contextlib.suppress(Unavailable):
            await (await self._find(worker)).ask("stop_recording", call)

    async def stop(self) -> None:
        for worker in self._workers:
            await worker.close()

    async def _find(self, name: str) -> Worker:
        """Find the worker by its name; another process of the hub may have met it first."""
        if not self.runs(name):
            await asyncio.gather(
                *(worker.connect() for worker in self._workers), return_exceptions=True
            )
        for worker in self._workers:
            if worker.name == name:
                return worker
        raise Unavailable
