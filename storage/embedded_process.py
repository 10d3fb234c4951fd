"""What the embedded servers share: one owner a folder, a free port, a child that ends with us."""

import asyncio
import fcntl
import os
import signal
import socket
import sys
from pathlib import Path

LOOPBACK = "127.0.0.1"

# Linux asks the kernel to end the child with its owner, also when the owner is killed. The request
# is made by the child itself, then exec'd away: a preexec_fn could deadlock beside other threads.
DIE_WITH_OWNER = """
import ctypes, os, sys
ctypes.CDLL(None).prctl(1, int(sys.argv[2]))
if os.getppid() != int(sys.argv[1]):
    sys.exit("the owner is gone")
os.execv(sys.argv[3], sys.argv[3:])
"""


class EmbeddedError(Exception):
    """An embedded server can't run: one sentence for the operator, with the way out."""


class FolderLock:
    """Hold a folder for one process; the kernel lets go when it ends, however it ends."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: int | None = None

    def acquire(self) -> None:
        """Create the folder and take it. Raises EmbeddedError naming the process that has it."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            file = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise EmbeddedError(
                f"The data folder {self.path.parent} can't be written ({error.strerror}): "
                "give --data a folder this user may write to."
            ) from error
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            owner = os.pread(file, 20, 0).decode().strip() or "unknown"
            os.close(file)
            raise EmbeddedError(
                f"Another server (process {owner}) uses the data folder {self.path.parent}: "
                "stop it, or give --data another folder."
            ) from error
        os.ftruncate(file, 0)
        os.pwrite(file, f"{os.getpid()}\n".encode(), 0)
        self._file = file

    def release(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None


def free_port() -> int:
    """Find a loopback port nobody listens on now."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port


async def spawn(*command: str, log: Path) -> asyncio.subprocess.Process:
    """Start a server in a session of its own, its output in `log`, the last run's kept beside it.

    Its own session: Ctrl-C in the terminal must reach the owner alone, which then stops it in order.
    Call from the thread that lives as long as the owner: Linux ties the child to that thread.
    """
    if log.exists():
        log.replace(log.with_suffix(".previous.log"))
    if sys.platform == "linux":
        owner, end = str(os.getpid()), str(int(signal.SIGTERM))
        command = (sys.executable, "-I", "-S", "-c", DIE_WITH_OWNER, owner, end, *command)
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        return await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=descriptor,
            stderr=descriptor,
            start_new_session=True,
        )
    finally:
        os.close(descriptor)


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


async def listening(process: asyncio.subprocess.Process, port: int, seconds: float) -> bool:
    """Wait until the process accepts connections; False when it ended or the bound passed."""
    try:
        async with asyncio.timeout(seconds):
            # polled: a server has no way to tell that it listens but listening
            while process.returncode is None:
                try:
                    _, writer = await asyncio.open_connection(LOOPBACK, port)
                except OSError:
                    await asyncio.sleep(0.01)
                else:
                    writer.close()
                    await writer.wait_closed()
                    return True
    except TimeoutError:
        pass
    return False
