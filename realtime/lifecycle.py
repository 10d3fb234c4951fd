"""Running the server: background work, readiness, and a drain that loses nothing."""

import asyncio
import gc
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any, TypeVar

import structlog
from aiohttp import web

from storage.embedded_process import finish

GC_THRESHOLDS = (50_000, 50, 100)
"""A thousand connections make the collector the largest cost at its defaults."""
CANCEL_SECONDS = 0.5
PAUSE_SECONDS_MAX = 30.0
STEADY_SECONDS = 60.0
"""A process that lived so long was well: its next restart is at once again."""

T = TypeVar("T")
Step = tuple[str, Callable[[], Awaitable[Any]]]

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
        await end(self._tasks)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled():
            logger.error("background_died", task=repr(task.get_coro()), exc_info=task.exception())
            self.died.set()


async def end(tasks: set[asyncio.Task[Any]]) -> None:
    """Cancel the tasks until they end: a database call that ends just then can swallow it."""
    running = {task for task in tasks if not task.done()}
    while running:
        for task in running:
            task.cancel()
        _, running = await asyncio.wait(running, timeout=CANCEL_SECONDS)


async def cancellable(work: Coroutine[Any, Any, T]) -> T:
    """Do work that uses the database, to be cancelled at any moment."""
    task = asyncio.create_task(work)
    try:
        await asyncio.wait({task})
    finally:
        await end({task})
    return task.result()


async def listen(app: web.Application, host: str, port: int, *, reuse_port: bool) -> web.AppRunner:
    """Serve the app. Raises OSError when the address can't be had."""
    runner = web.AppRunner(
        app, handle_signals=False, access_log=None, handler_cancellation=False, shutdown_timeout=1
    )
    await runner.setup()
    site = web.TCPSite(runner, host, port, reuse_port=reuse_port or None, backlog=1024)
    try:
        await site.start()
    except BaseException:
        await runner.cleanup()
        raise
    return runner


def bound_port(runner: web.AppRunner) -> int:
    """Tell the port that was chosen where port 0 was asked for."""
    addresses = [a for a in runner.addresses if isinstance(a, tuple)]
    return int(addresses[0][1])


def settle_memory() -> None:
    """Set what start-up made apart from garbage collection, and collect less often."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)


async def last_steps(steps: Iterable[Step]) -> None:
    """Take each step of the shutdown, whatever the ones before it did and whoever cancels."""
    await finish(_take(steps))


async def _take(steps: Iterable[Step]) -> None:
    for name, step in steps:
        try:
            await step()
        except Exception:
            logger.exception("shutdown_step_failed", step=name)


def restart_pause(last: float, lived: float, first: float) -> float:
    """Tell how long to wait before a process that died is started again: ever longer."""
    return 0.0 if lived > STEADY_SECONDS else min(2 * last + first, PAUSE_SECONDS_MAX)
