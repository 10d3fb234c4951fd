"""What the embedded servers share: one owner a folder, and children that end with their owner."""

import asyncio
import fcntl
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any

import structlog

RESTART_SECONDS_MAX = 30.0

logger = structlog.get_logger(__name__)

# Linux ends the child with its owner, also when the owner is killed. The child asks for it itself
# and then becomes the server: a preexec_fn could deadlock beside other threads.
DIE_WITH_OWNER = """
import ctypes, os, sys
PR_SET_PDEATHSIG = 1
ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(sys.argv[2]))
if os.getppid() != int(sys.argv[1]):
    sys.exit("The owner is gone.")
os.execv(sys.argv[3], sys.argv[3:])
"""


class EmbeddedError(Exception):
    """An embedded server can't run: one sentence for the operator, with the way out."""


class FolderLock:
    """Hold a data folder for one process; the kernel lets go when it ends, however it ends."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Create the folder and take it. Raises EmbeddedError that names who has it."""
        descriptor = self._open()
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            owner = os.pread(descriptor, 20, 0).decode().strip()
            os.close(descriptor)
            raise EmbeddedError(
                f"Another server (process {owner or 'unknown'}) uses the data folder "
                f"{self.path.parent}: stop it, or give --data another folder."
            ) from error
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        self._descriptor = descriptor

    def held(self) -> bool:
        """Tell whether another process, or another lock of this one, has the folder."""
        try:
            descriptor = os.open(self.path, os.O_RDONLY)
        except OSError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        else:
            return False
        finally:
            os.close(descriptor)

    def release(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _open(self) -> int:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            return os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise unwritable(self.path.parent, error) from error


def unwritable(folder: Path, error: OSError) -> EmbeddedError:
    return EmbeddedError(
        f"The data folder {folder} can't be written ({error.strerror}): "
        "give --data a folder this user may write to."
    )


def keep_previous(log: Path) -> None:
    """Put the last run's log aside, so that a log never grows over many runs."""
    if log.exists():
        log.replace(log.with_suffix(".previous.log"))


async def spawn(
    *command: str,
    log: Path | None = None,
    environment: Mapping[str, str] | None = None,
    stdin: int = asyncio.subprocess.DEVNULL,
) -> asyncio.subprocess.Process:
    """Start a process in a session of its own, its output in `log` or where ours goes.

    Ctrl-C in the terminal must reach the owner alone, which ends its processes in order. Call from
    the thread that lives as long as the owner: Linux ties the child's life to that thread.
    """
    if sys.platform == "linux":
        bond = (str(os.getpid()), str(int(signal.SIGTERM)))
        command = (sys.executable, "-I", "-S", "-c", DIE_WITH_OWNER, *bond, *command)
    output = None
    if log is not None:
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        return await asyncio.create_subprocess_exec(
            *command,
            stdin=stdin,
            stdout=output,
            stderr=output,
            env=environment,
            start_new_session=True,
        )
    finally:
        if output is not None:
            os.close(output)


async def stop(process: asyncio.subprocess.Process, patience: float) -> None:
    """Ask the process to end; after `patience` seconds make it."""
    if process.returncode is not None:
        return
    process.terminate()
    try:
        async with asyncio.timeout(patience):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


async def finish(work: Coroutine[Any, Any, None]) -> None:
    """Do work that puts things in order: to its end, though cancelled meanwhile."""
    task = asyncio.create_task(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await task
        raise


async def keep_alive(
    process: asyncio.subprocess.Process, launch: Callable[[], Awaitable[asyncio.subprocess.Process]]
) -> None:
    """Start the server again at its old address whenever it dies; its clients reconnect to it."""
    while True:
        code = await process.wait()
        logger.error("embedded_server_died", pid=process.pid, exit_code=code)
        process = await launch_until_it_runs(launch)
        logger.info("embedded_server_restarted", pid=process.pid)


async def launch_until_it_runs(
    launch: Callable[[], Awaitable[asyncio.subprocess.Process]],
) -> asyncio.subprocess.Process:
    pause = 1.0
    while True:
        try:
            return await launch()
        except EmbeddedError as error:
            logger.error("embedded_server_not_restarted", reason=str(error), retry_s=pause)
        await asyncio.sleep(pause)
        pause = min(2 * pause, RESTART_SECONDS_MAX)
