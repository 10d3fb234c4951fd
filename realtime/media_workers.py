"""The media workers of one host: each starts when it is first asked for, and again when it dies.

We listen on their sockets and pass these on, so that who asks while a worker starts or restarts
waits a moment instead of being refused.
"""

import asyncio
import contextlib
import os
import shutil
import socket
import sys
import tempfile
from pathlib import Path

import structlog

from care.policy import MediaPolicy
from realtime.lifecycle import restart_pause
from realtime.settings import LogSettings
from storage.embedded_process import spawn, stop

STOP_SECONDS = 5.0

logger = structlog.get_logger(__name__)


class MediaWorkerProcesses:
    """Own the workers' sockets and processes."""

    def __init__(self, policy: MediaPolicy, log: LogSettings, recordings: Path) -> None:
        self._policy, self._log, self._recordings = policy, log, recordings
        self._folder: Path | None = None
        self._listeners: list[socket.socket] = []
        self._keepers: list[asyncio.Task[None]] = []

    def start(self) -> Path:
        """Listen for the workers; give the folder of their sockets."""
        # not in the data folder: a socket's path may have 107 characters at most
        self._folder = Path(tempfile.mkdtemp(prefix="wenzhen-"))
        for path in socket_paths(self._folder, self._policy.workers):
            listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            listener.setblocking(False)
            listener.bind(str(path))
            listener.listen()
            self._listeners.append(listener)
            self._keepers.append(asyncio.create_task(self._keep(listener)))
        return self._folder

    async def stop(self) -> None:
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)
        for listener in self._listeners:
            listener.close()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    async def _keep(self, listener: socket.socket) -> None:
        pause = 0.0
        while True:
            await _asked_for(listener)
            born = asyncio.get_running_loop().time()
            process = await self._launch(listener)
            try:
                code = await process.wait()
            except asyncio.CancelledError:
                await stop(process, STOP_SECONDS)
                raise
            lived = asyncio.get_running_loop().time() - born
            pause = restart_pause(pause, lived, 0.1)
            logger.error("media_worker_died", exit_code=code, restart_s=pause)
            await asyncio.sleep(pause)

    async def _launch(self, listener: socket.socket) -> asyncio.subprocess.Process:
        settings = [one.model_dump_json() for one in (self._policy, self._log)]
        return await spawn(
            sys.executable, "-m", "realtime.media_worker", *settings, str(self._recordings),
            # the hub's environment may hold secrets
            environment={"PATH": os.defpath, "PYTHONDONTWRITEBYTECODE": "1"},
            stdin=listener.fileno(),
        )  # fmt: skip


def socket_paths(folder: Path, workers: int) -> list[Path]:
    return [folder / f"media-{number}.sock" for number in range(workers)]


async def _asked_for(listener: socket.socket) -> None:
    """Wait until somebody connects, and leave it to the worker to answer."""
    loop, asked = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(listener, asked.set)
    try:
        await asked.wait()
    finally:
        with contextlib.suppress(ValueError):
            loop.remove_reader(listener)
