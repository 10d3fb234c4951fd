"""Several processes on one port: start them, bring back one that dies, end them together."""

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import Mapping

import structlog

from realtime.lifecycle import restart_pause
from realtime.servers import Servers, read_secrets, servers
from realtime.settings import NOT_SETTINGS, PREFIX, Settings
from storage.embedded_process import spawn, stop

EXIT_CONFIG = 2
"""A worker that ends so would end so again."""
STOP_SECONDS = 60.0

logger = structlog.get_logger(__name__)


async def serve_together(settings: Settings) -> int:
    """Own the servers and keep the workers; give the exit code."""
    read_secrets(settings)  # made once here, before the workers look for them
    async with servers(settings) as found:
        if found.redis_url is None:
            raise RuntimeError("several workers were started without a fan-out")
        return await Workers(settings, found).run()


class Workers:
    """Supervise the worker processes of one server."""

    def __init__(self, settings: Settings, found: Servers) -> None:
        self._count = settings.server.workers
        self._environment = worker_environment(settings, found, os.environ)
        self._told = asyncio.Event()
        self._running: dict[int, asyncio.subprocess.Process] = {}
        self._exit_code = 0

    async def run(self) -> int:
        """Keep the workers running until cancelled; give the exit code."""
        keepers = [asyncio.create_task(self._keep(index)) for index in range(self._count)]
        with contextlib.suppress(asyncio.CancelledError):
            await self._told.wait()
        self._told.set()
        await asyncio.gather(*(self._end(process) for process in self._running.values()))
        await asyncio.gather(*keepers)
        return self._exit_code

    async def _keep(self, index: int) -> None:
        pause = 0.0
        while not self._told.is_set():
            born = asyncio.get_running_loop().time()
            code = await self._live(index)
            if self._told.is_set():
                return
            if code == EXIT_CONFIG:
                self._exit_code = code
                self._told.set()
                return
            lived = asyncio.get_running_loop().time() - born
            pause = restart_pause(pause, lived, 0.5)
            logger.error("worker_died", worker=index, exit_code=code, restart_s=pause)
            await self._sleep(pause)

    async def _live(self, index: int) -> int:
        """Run one worker to its end."""
        command = (sys.executable, "-m", "realtime.cli", "serve", "--worker", str(index))
        process = await spawn(*command, environment=self._environment)
        self._running[index] = process
        if self._told.is_set():
            await self._end(process)
        return await process.wait()

    async def _end(self, process: asyncio.subprocess.Process) -> None:
        await stop(process, STOP_SECONDS)
        # one that still started had nothing to drain, and no handler for the signal
        if process.returncode not in {0, -signal.SIGTERM}:
            logger.error("worker_did_not_drain", pid=process.pid, exit_code=process.returncode)
            self._exit_code = self._exit_code or 1

    async def _sleep(self, seconds: float) -> None:
        """Sleep, but not past the order to stop."""
        try:
            async with asyncio.timeout(seconds):
                await self._told.wait()
        except TimeoutError:
            pass


def worker_environment(
    settings: Settings, found: Servers, environ: Mapping[str, str]
) -> dict[str, str]:
    """Put all the settings into a worker's environment: neither flags nor file are read again."""
    worker = settings.model_dump(mode="json")
    sockets = found.media_sockets and str(found.media_sockets)
    worker["server"] |= {"workers": 1, "reuse_port": True, "media_sockets": sockets}
    worker["mongodb"]["uri"] = found.mongo_uri
    worker["redis"]["url"] = found.redis_url
    kept = {
        name: value
        for name, value in environ.items()
        if not name.startswith(PREFIX) or name.startswith(NOT_SETTINGS)
    }
    return kept | {
        f"{PREFIX}{name.upper()}": value if isinstance(value, str) else json.dumps(value)
        for name, value in worker.items()
        if value is not None
    }
