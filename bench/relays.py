"""The relays that are compared, each in a process of its own."""

import asyncio
import contextlib
import itertools
import json
import os
import shutil
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp

from bench.packet_bots import Clip, Kind, PacketBot
from bench.processes import children_running
from care.media import RecordingState, SideStats
from care.policy import MediaPolicy
from realtime.media_workers import MediaWorkerProcesses, socket_paths
from realtime.settings import LogSettings
from signalling.media.client import MediaWorkers

START_SECONDS = 10.0
ANSWER_SECONDS = 10.0
NO_SUCH_FEED = 428


class Relay:
    """A relay whose participants send and receive over one peer connection each."""

    def __init__(self, pid: int) -> None:
        self.pid = pid

    async def join(self, call: str, user: str, offer: str) -> str:
        """Let a participant in; give the answer to his offer."""
        raise NotImplementedError

    async def record(self, call: str) -> None:
        """Record everybody in a call."""
        raise NotImplementedError

    async def call(
        self,
        name: str,
        parties: int,
        kinds: Sequence[Kind],
        clip: Clip,
        loss: float,
        *,
        recorded: bool = False,
    ) -> list[PacketBot]:
        """Begin a call; give its peer connections, whose owner closes them."""
        bots = []
        for number in range(parties):
            bot = PacketBot(f"{name}-{number}", clip, loss=loss, seed=number)
            bots.append(bot)
            offer = await bot.offer(kinds, parties - 1)
            await bot.take_answer(await self.join(name, bot.user, offer))
        if recorded:
            await self.record(name)
        return bots

    async def end(self, call: str) -> None:
        """Forget a call; some notice by themselves when everybody went."""


class _NoEvents:
    def offered(self, call: str, user: str, sdp: str) -> None: ...

    def measured(self, call: str, stats: SideStats) -> None: ...

    def lost(self, call: str, worker: str) -> None: ...

    def recording(self, call: str, recording: str, state: RecordingState, problem: str) -> None: ...


class Ours(Relay):
    """A media worker, as the hub runs it."""

    def __init__(self, workers: MediaWorkers, worker: str, pid: int) -> None:
        super().__init__(pid)
        self._workers, self._worker = workers, worker

    async def join(self, call: str, user: str, offer: str) -> str:
        return await self._workers.join(self._worker, call, user, offer)

    async def record(self, call: str) -> None:
        await self._workers.record(self._worker, call, f"recording-{call}", datetime.now(UTC))

    async def end(self, call: str) -> None:
        await self._workers.close(self._worker, call)


@asynccontextmanager
async def our_worker() -> AsyncIterator[Relay]:
    policy = MediaPolicy()
    with tempfile.TemporaryDirectory(prefix="wenzhen-bench-") as recordings:
        processes = MediaWorkerProcesses(policy, LogSettings(level="warning"), Path(recordings))
        workers = MediaWorkers(socket_paths(processes.start(), policy.workers), _NoEvents())
        try:
            worker = await workers.place()
            (pid,) = children_running(os.getpid(), "realtime.media_worker")
            yield Ours(workers, worker, pid)
        finally:
            await workers.stop()
            await processes.stop()


class AiortcRelay(Relay):
    """aiortc's MediaRelay, which decodes and encodes."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        super().__init__(process.pid)
        self._process = process

    async def join(self, call: str, user: str, offer: str) -> str:
        return str((await self._ask({"call": call, "user": user, "sdp": offer}))["sdp"])

    async def record(self, call: str) -> None:
        await self._ask({"call": call, "record": True})

    async def _ask(self, said: Mapping[str, Any]) -> dict[str, Any]:
        asked, answers = self._process.stdin, self._process.stdout
        assert asked is not None
        assert answers is not None
        asked.write(json.dumps(said).encode() + b"\n")
        async with asyncio.timeout(ANSWER_SECONDS):
            return dict(json.loads(await answers.readline()))


@asynccontextmanager
async def aiortc_relay() -> AsyncIterator[Relay]:
    with tempfile.TemporaryDirectory(prefix="wenzhen-bench-") as recordings:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "bench.media_relay", recordings,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        try:
            yield AiortcRelay(process)
        finally:
            await _ended(process)


class JanusError(Exception):
    """It refused: the code, and what it said."""


class Janus(Relay):
    """Janus' VideoRoom. One sends over one peer connection, and receives over another."""

    def __init__(self, pid: int, socket: aiohttp.ClientWebSocketResponse, folder: str) -> None:
        super().__init__(pid)
        self._socket, self._folder = socket, folder
        self._session: int | None = None
        self._rooms = itertools.count(1)
        self._asked = itertools.count(1)
        self._waiting: dict[str, tuple[asyncio.Future[dict[str, Any]], bool]] = {}

    async def begin(self) -> None:
        self._session = (await self._ask({"janus": "create"}))["data"]["id"]

    async def listen(self) -> None:
        async for message in self._socket:
            said = json.loads(message.data)
            answer, whole = self._waiting.get(said.get("transaction", ""), (None, False))
            # what takes time is acknowledged first
            if answer is not None and not (whole and said["janus"] == "ack") and not answer.done():
                answer.set_result(said)

    async def keep_alive(self) -> None:
        while True:
            await asyncio.sleep(20)
            await self._ask({"janus": "keepalive"}, whole=False)

    async def call(
        self,
        name: str,
        parties: int,
        kinds: Sequence[Kind],
        clip: Clip,
        loss: float,
        *,
        recorded: bool = False,
    ) -> list[PacketBot]:
        room, bots, feeds = next(self._rooms), [], []
        handle = await self._attach()
        wanted = {
            "request": "create", "room": room, "publishers": parties, "bitrate": 2_000_000,
            "record": recorded, "rec_dir": self._folder,
        }  # fmt: skip
        await self._say(handle, wanted)
        for number in range(parties):
            bot = PacketBot(f"{name}-{number}", clip, loss=loss, seed=number)
            bots.append(bot)
            handle = await self._attach()
            joined = await self._say(
                handle, {"request": "join", "ptype": "publisher", "room": room}
            )
            feeds.append(joined["plugindata"]["data"]["id"])
            offer = {"type": "offer", "sdp": await bot.offer(kinds, 1, receiving=False)}
            said = await self._say(handle, {"request": "publish"}, offer)
            await bot.take_answer(said["jsep"]["sdp"])
        for number in range(parties):
            bot = PacketBot(f"{name}-{number}", clip, loss=loss, seed=parties + number)
            bots.append(bot)
            handle = await self._attach()
            others = [{"feed": feed} for n, feed in enumerate(feeds) if n != number]
            wish = {"request": "join", "ptype": "subscriber", "room": room, "streams": others}
            said = await self._when_published(handle, wish)
            answer = {"type": "answer", "sdp": await bot.answer(said["jsep"]["sdp"])}
            await self._say(handle, {"request": "start"}, answer)
        return bots

    async def _when_published(self, handle: int, wish: dict[str, Any]) -> dict[str, Any]:
        """Subscribe; there are no feeds until the publishers' connections stand."""
        async with asyncio.timeout(START_SECONDS):
            while True:
                try:
                    return await self._say(handle, wish)
                except JanusError as error:
                    if error.args[0] != NO_SUCH_FEED:
                        raise
                await asyncio.sleep(0.1)

    async def _attach(self) -> int:
        said = await self._ask({"janus": "attach", "plugin": "janus.plugin.videoroom"})
        return int(said["data"]["id"])

    async def _say(
        self, handle: int, body: dict[str, Any], jsep: dict[str, str] | None = None
    ) -> dict[str, Any]:
        message = {"janus": "message", "handle_id": handle, "body": body}
        return await self._ask(message | ({"jsep": jsep} if jsep else {}))

    async def _ask(self, said: dict[str, Any], *, whole: bool = True) -> dict[str, Any]:
        number = f"{next(self._asked)}"
        answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer, whole
        session = {"session_id": self._session} if self._session else {}
        try:
            await self._socket.send_json({**said, **session, "transaction": number})
            async with asyncio.timeout(ANSWER_SECONDS):
                got = await answer
        finally:
            del self._waiting[number]
        error = got.get("error") or got.get("plugindata", {}).get("data", {})
        if "error_code" in error or "code" in error:
            raise JanusError(error.get("error_code"), error)
        return got


def janus_missing() -> str | None:
    """Tell why Janus can't be measured here; None where it can."""
    if shutil.which("janus") is None:
        return "Janus is not installed: `apt-get install janus`."
    names = [name for _, name in socket.if_nameindex() if name != "lo"]
    return None if names else "Janus takes no part: it uses no loopback, and there is nothing else."


@asynccontextmanager
async def janus() -> AsyncIterator[Relay]:
    with tempfile.TemporaryDirectory(prefix="wenzhen-janus-") as folder, socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        _configure(Path(folder), port)
        process = await asyncio.create_subprocess_exec(
            "janus", "-F", folder, "-d", "2", stdout=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        try:
            async with aiohttp.ClientSession() as http:
                client = Janus(process.pid, await _connected(http, port), folder)
                tasks = [asyncio.create_task(client.listen())]
                await client.begin()
                tasks.append(asyncio.create_task(client.keep_alive()))
                try:
                    yield client
                finally:
                    for task in tasks:
                        task.cancel()
                    await asyncio.gather(*tasks, return_exceptions=True)
        finally:
            await _ended(process)


def _configure(folder: Path, port: int) -> None:
    """Let it do what ours does, and nothing else."""
    interfaces = ",".join(name for _, name in socket.if_nameindex() if name != "lo")
    (folder / "janus.jcfg").write_text(
        f'general: {{ configs_folder = "{folder}" }}\n'
        f'nat: {{ ice_enforce_list = "{interfaces}" }}\n'
        f'plugins: {{ disable = "{_all_but("plugin", "videoroom")}" }}\n'
        f'transports: {{ disable = "{_all_but("transport", "websockets")}" }}\n'
    )
    (folder / "janus.transport.websockets.jcfg").write_text(
        f'general: {{ json = "compact"\n ws = true\n ws_port = {port}\n ws_ip = "127.0.0.1" }}\n'
    )
    (folder / "janus.plugin.videoroom.jcfg").write_text("general: {}\n")


def _all_but(kind: str, wanted: str) -> str:
    """Name what Janus would load else: some of it hangs at the start without a configuration."""
    return ",".join(
        path.name
        for path in Path("/usr/lib").glob(f"*/janus/{kind}s/*.so")
        if wanted not in path.name
    )


async def _connected(http: aiohttp.ClientSession, port: int) -> aiohttp.ClientWebSocketResponse:
    async with asyncio.timeout(START_SECONDS):
        while True:
            with contextlib.suppress(aiohttp.ClientError):
                return await http.ws_connect(
                    f"ws://127.0.0.1:{port}", protocols=("janus-protocol",)
                )
            await asyncio.sleep(0.1)


async def _ended(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    await process.wait()


RELAYS: Mapping[str, Callable[[], AbstractAsyncContextManager[Relay]]] = {
    "Wenzhen": our_worker,
    "MediaRelay": aiortc_relay,
    "Janus": janus,
}
