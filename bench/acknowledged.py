"""How many messages a second one process acknowledges, durably, and how long each takes.

The generator, the hub and its database share the machine's cores.
"""

import asyncio
import os
from dataclasses import dataclass

from bench.hub import Hub, running_hub
from bench.load import gather_crowd
from bench.processes import cpu_seconds
from bench.report import Figure, percentile

LOADS = [(100, 4), (1000, 1)]
WARM_UP_SECONDS = 3.0
SECONDS = 10.0
QUICK_SECONDS = 3.0
ROOMS_CHECKED = 10


@dataclass(frozen=True, slots=True)
class Cpu:
    """CPU seconds used so far."""

    hub: float
    mongod: float
    generator: float

    @classmethod
    def now(cls, hub: Hub) -> "Cpu":
        return cls(*map(cpu_seconds, (hub.pid, hub.mongod, os.getpid())))


async def measure(quick: bool) -> list[Figure]:
    figures = []
    for clients, outstanding in LOADS:
        async with running_hub() as hub:
            figures += await under_load(hub, clients, outstanding, quick)
    return figures


async def under_load(hub: Hub, clients: int, outstanding: int, quick: bool) -> list[Figure]:
    """Let each client keep so many messages outstanding; count and check what comes back."""
    crowd = await gather_crowd(hub, await hub.make_rooms(clients // 2))
    crowd.talk(outstanding)
    await asyncio.sleep(1 if quick else WARM_UP_SECONDS)
    loop = asyncio.get_running_loop()
    before, begun = Cpu.now(hub), loop.time()
    crowd.tally.open = True
    await asyncio.sleep(QUICK_SECONDS if quick else SECONDS)
    crowd.tally.open = False
    after, seconds = Cpu.now(hub), loop.time() - begun
    await crowd.fall_silent()
    compared = await crowd.check_rooms(ROOMS_CHECKED)
    crowd.close()

    tally, name = crowd.tally, f"{clients} × {outstanding}"
    count = len(tally.latencies)
    return [
        Figure(f"{name}: acknowledged", count / seconds, "/s", f"{tally.refused} refused"),
        Figure(f"{name}: latency, median", percentile(tally.latencies, 0.5) * 1000, "ms"),
        Figure(f"{name}: latency, p99", percentile(tally.latencies, 0.99) * 1000, "ms"),
        _cpu(f"{name}: CPU of the hub", after.hub - before.hub, count, seconds),
        _cpu(f"{name}: CPU of mongod", after.mongod - before.mongod, count, seconds),
        _cpu(f"{name}: CPU of the clients", after.generator - before.generator, count, seconds),
        Figure(f"{name}: read back", compared, "messages", "none missing, all heard"),
    ]


def _cpu(what: str, used: float, messages: int, seconds: float) -> Figure:
    note = f"{used / seconds:.0%} of a core"
    return Figure(what, used / messages * 1e6, "µs/message", note)
