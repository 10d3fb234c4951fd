"""The whole server as a process of its own, for tests that drive it through the wire."""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio

COMMAND = Path(sys.executable).with_name("wenzhen")
START_SECONDS = 90.0
STOP_SECONDS = 45.0
POLL_SECONDS = 0.05


class ServerProcess:
    """A `wenzhen serve` on a port of its own, kept through restarts so that clients can return.

    >>> server = ServerProcess(tmp_path / "data", "--virtual-clock")
    >>> await server.start()
    """

    def __init__(
        self,
        data: Path,
        *args: str,
        env: Mapping[str, str] | None = None,
        demo: bool = True,
        port: int | None = None,
    ) -> None:
        self.data = data
        self.port = port or _free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = data.parent / f"{data.name}-{self.port}.log"
        self._args = (*(("--demo",) if demo else ()), *args)
        # the settings of whoever runs the tests are not the tests' settings
        mine = {k: v for k, v in os.environ.items() if not k.startswith("WENZHEN_")}
        self._env = {**mine, **(env or {})}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None, "the server was not started"
        return self._process.pid

    async def start(self) -> None:
        """Start it and wait until it says it is ready. Raises AssertionError with its log."""
        self.data.parent.mkdir(parents=True, exist_ok=True)
        command = [
            str(COMMAND), "serve", "--host", "127.0.0.1", "--port", str(self.port),
            "--data", str(self.data), *self._args,
        ]  # fmt: skip
        with self.log.open("ab") as log:
            # a session of its own: a Ctrl-C in the terminal ends the tests, which end the server
            self._process = subprocess.Popen(  # noqa: ASYNC220, S603  # returns at once; our own command
                command, stdout=log, stderr=log, env=self._env, start_new_session=True
            )
        await self._wait_until_ready(self._process)

    async def stop(self) -> int:
        """Ask it to drain (SIGTERM) and give its exit code."""
        if self._process is None:
            return 0
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGTERM)
        return await self._exit_code(STOP_SECONDS)

    async def kill9(self) -> None:
        """Kill it as a crash would: no goodbye, nothing flushed."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._process.pid, signal.SIGKILL)
            await self._exit_code(STOP_SECONDS)

    async def restart(self, **settings: str) -> None:
        """Bring it up again on the same data and port; it is stopped first if it still runs."""
        await self.stop()
        self._env |= settings
        await self.start()

    async def close(self) -> None:
        """Stop it if it still runs, and show its log."""
        try:
            await self.stop()
        finally:
            # pytest shows this with the test, and only when the test failed
            print(f"--- {self.log}\n{self.log_text()}")  # noqa: T201

    def log_text(self) -> str:
        """Give what it wrote to stdout and stderr, over all its lives."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    async def _exit_code(self, seconds: float) -> int:
        process, self._process = self._process, None
        assert process is not None
        try:
            return await asyncio.to_thread(process.wait, seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            await asyncio.to_thread(process.wait)
            raise AssertionError(
                f"the server did not stop in {seconds:.0f} s:\n{self.log_text()}"
            ) from None

    async def _wait_until_ready(self, process: subprocess.Popen[bytes]) -> None:
        deadline = asyncio.get_running_loop().time() + START_SECONDS
        timeout = aiohttp.ClientTimeout(total=2)
        async with aiohttp.ClientSession(timeout=timeout) as http:
            while asyncio.get_running_loop().time() < deadline:
                if process.poll() is not None:
                    raise AssertionError(
                        f"the server ended with {process.returncode} while starting:\n"
                        f"{self.log_text()}"
                    )
                if await _says_ready(http, f"{self.url}/readyz"):
                    return
                # another process's readiness has nothing to await: poll, bounded by the deadline
                await asyncio.sleep(POLL_SECONDS)
        await self.kill9()
        raise AssertionError(
            f"the server was not ready in {START_SECONDS:.0f} s:\n{self.log_text()}"
        )


async def _says_ready(http: aiohttp.ClientSession, url: str) -> bool:
    try:
        async with http.get(url) as answer:
            return answer.status == 200
    except (aiohttp.ClientError, TimeoutError):
        return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest_asyncio.fixture(scope="session")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ServerProcess]:
    """Serve the demo data for the tests of one folder, which leave no consultation open."""
    process = ServerProcess(tmp_path_factory.mktemp("server") / "data")
    try:
        await process.start()
        yield process
    finally:
        await process.close()


@pytest_asyncio.fixture(scope="session")
async def clocked(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ServerProcess]:
    """Serve the demo data on a virtual clock for the tests of one folder."""
    process = ServerProcess(tmp_path_factory.mktemp("clocked") / "data", "--virtual-clock")
    try:
        await process.start()
        yield process
    finally:
        await process.close()
