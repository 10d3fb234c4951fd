"""How long the server takes to be ready, and to end, with and without data from before."""

import asyncio
from collections.abc import Awaitable, Callable

from bench.hub import running_hub
from bench.report import Figure

ROOMS = 200
QUICK_ROOMS = 20


async def measure(quick: bool) -> list[Figure]:
    """Start on an empty folder, then on the same one after an orderly and after a violent end."""
    loop = asyncio.get_running_loop()

    async def timed(what: str, step: Callable[[], Awaitable[object]], note: str = "") -> Figure:
        begun = loop.time()
        await step()
        return Figure(what, loop.time() - begun, "s", note)

    begun = loop.time()
    async with running_hub() as hub:
        fresh = Figure("ready, empty data folder", loop.time() - begun, "s", "with the demo data")
        rooms = QUICK_ROOMS if quick else ROOMS
        await hub.make_rooms(rooms)
        stop = await timed("stopped by SIGTERM", hub.server.stop)
        again = await timed("ready, existing folder", hub.server.start, f"{rooms} rooms")
        await hub.server.kill9()
        crashed = await timed("ready, after kill -9", hub.server.start, "mongod had lived on")
    return [fresh, stop, again, crashed]
