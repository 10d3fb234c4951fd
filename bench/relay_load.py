"""One media worker with all the video calls it takes: losses, memory, and the hub's messages.

The hub's messages are measured twice in one run, before the calls and beside them. The bots, which
no hospital has on its server, give way to the worker and the hub.
"""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from bench.hub import Hub, running_hub
from bench.packet_bots import Clip, PacketBot
from bench.processes import cpu_seconds, resident_bytes
from bench.relay import WARM_SECONDS, Case, begun
from bench.relays import our_worker
from bench.report import Figure

CASE = Case(2, ("audio", "video"))
CALLS, QUICK_CALLS = 30, 5
SECONDS, QUICK_SECONDS = 60.0, 10.0
LOOKS = 6
ROOMS = 20
GIVE_WAY = 19

Ask = Callable[[float], Coroutine[Any, Any, dict[str, float]]]


async def measure(quick: bool) -> list[Figure]:
    calls, seconds = (QUICK_CALLS, QUICK_SECONDS) if quick else (CALLS, SECONDS)
    clip, bots = Clip.encode(), list[PacketBot]()
    figures: list[Figure] = []
    async with AsyncExitStack() as stack:
        relay = await stack.enter_async_context(our_worker())
        hub = await stack.enter_async_context(running_hub())
        ask = await stack.enter_async_context(_paced(hub))
        _keep_apart([relay.pid], [hub.pid, hub.mongod])
        before = await ask(seconds)
        os.nice(GIVE_WAY)
        for number in range(calls):
            joined = await relay.call(f"call-{number}", CASE.parties, CASE.kinds, clip, CASE.loss)
            for bot in joined:
                stack.push_async_callback(bot.close)
            bots += joined
        await begun(bots, CASE)
        await asyncio.sleep(WARM_SECONDS)
        received, lost = _received(bots), _lost(bots)
        pids = (relay.pid, os.getpid())
        cpu = [cpu_seconds(pid) for pid in pids]
        figures.append(_memory(relay.pid, 0))
        talk = asyncio.create_task(ask(seconds))
        for look in range(1, LOOKS + 1):
            await asyncio.sleep(seconds / LOOKS)
            figures.append(_memory(relay.pid, look * seconds / LOOKS))
        used = [cpu_seconds(pid) - before for pid, before in zip(pids, cpu, strict=True)]
        received, lost = _received(bots) - received, _lost(bots) - lost
        beside = await talk
    return [
        Figure("calls", calls, "", f"load average {os.getloadavg()[0]:.1f}"),
        Figure("packets received", received / seconds, "/s"),
        Figure("packets lost", lost, "", f"of {received + lost:,}"),
        Figure("CPU of the worker", used[0] / seconds * 100, "% of a core"),
        Figure("CPU of the bots", used[1] / seconds * 100, "% of a core"),
        *figures,
        *(Figure(f"messages alone, {name}", value, "ms") for name, value in before.items()),
        *(Figure(f"messages beside, {name}", value, "ms") for name, value in beside.items()),
    ]


@asynccontextmanager
async def _paced(
    hub: Hub,
) -> AsyncIterator[Ask]:
    """Give what measures the hub's messages for so many seconds."""
    rooms = [{"room": r.room, "token": r.patient_token} for r in await hub.make_rooms(ROOMS)]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.paced",
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    asked, answers = process.stdin, process.stdout
    assert asked is not None
    assert answers is not None
    asked.write(json.dumps({"port": hub.port, "rooms": rooms}).encode() + b"\n")

    async def ask(seconds: float) -> dict[str, float]:
        asked.write(f"{seconds}\n".encode())
        return dict(json.loads(await answers.readline()))

    try:
        yield ask
    finally:
        asked.close()
        await process.wait()


def _keep_apart(media: list[int], hub: list[int]) -> None:
    """Give media a core of its own, as a hospital's server would."""
    first, *rest = sorted(os.sched_getaffinity(0))
    if rest:
        for pids, cores in ((media, {first}), (hub, set(rest))):
            for pid in pids:
                for thread in Path(f"/proc/{pid}/task").iterdir():
                    os.sched_setaffinity(int(thread.name), cores)


def _memory(pid: int, at: float) -> Figure:
    return Figure(f"memory after {at:.0f} s", resident_bytes(pid) / 1e6, "MB")


def _received(bots: list[PacketBot]) -> int:
    return sum(bot.received for bot in bots)


def _lost(bots: list[PacketBot]) -> int:
    return sum(bot.lost for bot in bots)
