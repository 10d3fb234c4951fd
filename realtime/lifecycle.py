"""Running the server: background work, readiness, and a drain that loses nothing."""

import asyncio
import gc
import signal
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any

import structlog
from aiohttp import web

GC_THRESHOLDS = (50_000, 50, 100)
"""A thousand connections make the collector the largest cost at its defaults."""
CANCEL_SECONDS = 0.5

logger = structlog.get_logger(__name__)


class Background:
    """Tasks that run as long as the server; one that dies takes the server down, loudly."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()
        self.died = asyncio.Event()

    def start(self, works: Iterable[Coroutine[Any, Any, None]]) -> None:
        for work in works:
            task = asyncio.create_task(work)
            self._tasks.add(task)
            task.add_done_callback(self._ended)

    async def stop(self) -> None:
        running = self._tasks
        while running:
            for task in running:
                task.cancel()
            # a database call that ends just then can swallow the cancellation: so ask again
            _, running = await asyncio.wait(running, timeout=CANCEL_SECONDS)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled():
            logger.error("background_died", task=repr(task.get_coro()), exc_info=task.exception())
            self.died.set()


async def listen(app: web.Application, host: str, port: int, *, reuse_port: bool) -> web.AppRunner:
    """Serve the app. Raises OSError when the address can't be had."""
    runner = web.AppRunner(
        app, handle_signals=False, access_log=None, handler_cancellation=False, shutdown_timeout=1
    )
    await runner.setup()
    site = web.TCPSite(runner, host, port, reuse_port=reuse_port or None, backlog=1024)
    try:
        await site.start()
    except OSError:
        await runner.cleanup()
        raise
    return runner


def bound_port(runner: web.AppRunner) -> int:
    """Tell the port that was chosen where port 0 was asked for."""
    addresses = [a for a in runner.addresses if isinstance(a, tuple)]
    return int(addresses[0][1])


async def until_told(died: asyncio.Event) -> bool:
    """Wait for SIGTERM or SIGINT, or for background work to die; say whether it died."""
    loop = asyncio.get_running_loop()
    told = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, told.set)
    waits = [asyncio.create_task(told.wait()), asyncio.create_task(died.wait())]
    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    for wait in waits:
        wait.cancel()
    return died.is_set()


def settle_memory() -> None:
    """Set what start-up made apart from garbage collection, and collect less often."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)


async def last_steps(steps: Iterable[tuple[str, Callable[[], Awaitable[Any]]]]) -> None:
    """Take each step of the shutdown, whatever the ones before it did."""
    for name, step in steps:
        try:
            await step()
        except Exception:
            logger.exception("shutdown_step_failed", step=name)
