"""One media worker with all the video calls it takes: what gets lost, and its memory over time."""

import asyncio
import os
from contextlib import AsyncExitStack

from bench.packet_bots import Clip, PacketBot
from bench.processes import cpu_seconds, resident_bytes
from bench.relay import WARM_SECONDS, Case, begun
from bench.relays import our_worker
from bench.report import Figure

CASE = Case(2, ("audio", "video"))
CALLS, QUICK_CALLS = 30, 5
SECONDS, QUICK_SECONDS = 60.0, 10.0
LOOKS = 6


async def measure(quick: bool) -> list[Figure]:
    calls, seconds = (QUICK_CALLS, QUICK_SECONDS) if quick else (CALLS, SECONDS)
    clip, bots = Clip.encode(), list[PacketBot]()
    figures: list[Figure] = []
    async with AsyncExitStack() as stack:
        relay = await stack.enter_async_context(our_worker())
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
        for look in range(1, LOOKS + 1):
            await asyncio.sleep(seconds / LOOKS)
            figures.append(_memory(relay.pid, look * seconds / LOOKS))
        used = [cpu_seconds(pid) - before for pid, before in zip(pids, cpu, strict=True)]
        received, lost = _received(bots) - received, _lost(bots) - lost
    return [
        Figure("calls", calls, "", f"load average {os.getloadavg()[0]:.1f}"),
        Figure("packets received", received / seconds, "/s"),
        Figure("packets lost", lost, "", f"of {received + lost:,}"),
        Figure("CPU of the worker", used[0] / seconds * 100, "% of a core"),
        Figure("CPU of the bots", used[1] / seconds * 100, "% of a core"),
        *figures,
    ]


def _memory(pid: int, at: float) -> Figure:
    return Figure(f"memory after {at:.0f} s", resident_bytes(pid) / 1e6, "MB")


def _received(bots: list[PacketBot]) -> int:
    return sum(bot.received for bot in bots)


def _lost(bots: list[PacketBot]) -> int:
    return sum(bot.lost for bot in bots)
