"""What connections that say nothing cost: memory of the hub, CPU time of the hub and mongod."""

import asyncio
from collections.abc import Sequence

from bench.client import connect
from bench.hub import Hub, running_hub
from bench.processes import cpu_seconds, resident_bytes
from bench.report import Figure

CONNECTIONS = (0, 1000, 2000)
QUICK_CONNECTIONS = (0, 200, 400)
A_USER = 10
AT_ONCE = 20
SECONDS = 5.0


async def measure(quick: bool) -> list[Figure]:
    """Look at the server with ever more connections open."""
    figures = []
    steps = QUICK_CONNECTIONS if quick else CONNECTIONS
    async with running_hub() as hub:
        rooms = await hub.make_rooms(steps[-1] // A_USER // 2)
        tokens = [t for row in rooms for t in (row.patient_token, row.doctor_token)] * A_USER
        opened, empty = 0, 0
        for connections in steps:
            await _open(hub, tokens[opened:connections])
            opened = connections
            figures += await _cpu(hub, connections)
            resident = resident_bytes(hub.pid)
            empty = empty or resident
            note = f"{(resident - empty) / connections / 1024:.1f} KB each" if connections else ""
            figures.append(Figure(f"{connections} idle: memory", resident / 2**20, "MB", note))
    return figures


async def _open(hub: Hub, tokens: Sequence[str]) -> None:
    places = asyncio.Semaphore(AT_ONCE)

    async def one(token: str) -> None:
        async with places:
            await connect(hub.port, token)

    await asyncio.gather(*map(one, tokens))


async def _cpu(hub: Hub, connections: int) -> list[Figure]:
    pids = {"the hub": hub.pid, "mongod": hub.mongod}
    before = {name: cpu_seconds(pid) for name, pid in pids.items()}
    await asyncio.sleep(SECONDS)
    return [
        Figure(
            f"{connections} idle: CPU of {name}",
            (cpu_seconds(pid) - before[name]) / SECONDS * 1000,
            "ms/s",
        )
        for name, pid in pids.items()
    ]
