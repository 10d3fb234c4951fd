"""One media worker with all the video calls it takes: losses, memory, and the hub's messages.

The hub's messages are measured three times in one run: before the calls, beside them, and after.
The bots, which no hospital has on its server, share the worker's core and give way to it; the hub,
its database and who measures them have the others.
"""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
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

Ask = Callable[[float], Coroutine[Any, Any, dict[str, float]]]


async def measure(quick: bool) -> list[Figure]:
    calls, seconds = (QUICK_CALLS, QUICK_SECONDS) if quick else (CALLS, SECONDS)
    clip, bots, messages = Clip.encode(), list[PacketBot](), dict[str, Mapping[str, float]]()
    async with AsyncExitStack() as stack, AsyncExitStack() as talks:
        relay = await stack.enter_async_context(our_worker())
        hub = await stack.enter_async_context(running_hub())
        ask, client = await stack.enter_async_context(_paced(hub))
        _keep_apart([relay.pid, os.getpid()], [hub.pid, hub.mongod, client])
        messages["before"] = await ask(seconds)
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
        for number in range(calls):
            joined = await relay.call(f"call-{number}", CASE.parties, CASE.kinds, clip, CASE.loss)
            for bot in joined:
                talks.push_async_callback(bot.close)
            bots += joined
        await begun(bots, CASE)
        await asyncio.sleep(WARM_SECONDS)
        media, messages["beside"] = await asyncio.gather(
            _watch(relay.pid, bots, seconds), ask(seconds)
        )
        await talks.aclose()
        messages["after"] = await ask(seconds)
    return [
        Figure("calls", calls, "", f"load average {os.getloadavg()[0]:.1f}"),
        *media,
        *(
            Figure(f"messages {when}, {name}", value, "ms")
            for when, taken in messages.items()
            for name, value in taken.items()
        ),
    ]


async def _watch(worker: int, bots: list[PacketBot], seconds: float) -> list[Figure]:
    """Count what the calls lose and cost in this time."""
    pids = (worker, os.getpid())
    received, lost = _received(bots), _lost(bots)
    cpu = [cpu_seconds(pid) for pid in pids]
    memory = [_memory(worker, 0)]
    for look in range(1, LOOKS + 1):
        await asyncio.sleep(seconds / LOOKS)
        memory.append(_memory(worker, look * seconds / LOOKS))
    used = [cpu_seconds(pid) - before for pid, before in zip(pids, cpu, strict=True)]
    received, lost = _received(bots) - received, _lost(bots) - lost
    return [
        Figure("packets received", received / seconds, "/s"),
        Figure("packets lost", lost, "", f"of {received + lost:,}"),
        Figure("CPU of the worker", used[0] / seconds * 100, "% of a core"),
        Figure("CPU of the bots", used[1] / seconds * 100, "% of a core"),
        *memory,
    ]


@asynccontextmanager
async def _paced(
    hub: Hub,
) -> AsyncIterator[tuple[Ask, int]]:
    """Give what measures the hub's messages for so many seconds, and its process' number."""
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
        yield ask, process.pid
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
