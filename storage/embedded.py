"""A real mongod owned by this server: a replica set of one, on a free loopback port.

docs/decisions/0003-embedded-mongod.md tells what happens after a crash of either side.
"""

import asyncio
import contextlib
import socket
from pathlib import Path

from pymongo import AsyncMongoClient
from pymongo.errors import OperationFailure, PyMongoError

from storage.database import Document
from storage.embedded_process import (
    EmbeddedError,
    FolderLock,
    finish,
    keep_alive,
    keep_previous,
    spawn,
    stop,
    unwritable,
)
from storage.mongod import end_orphan, explain_exit, find_mongod, read_version

__all__ = ["EmbeddedError", "EmbeddedMongo", "running_uri"]

LOOPBACK = "127.0.0.1"
REPLICA_SET = "wenzhen"
START_SECONDS = 120.0
"""Generous: a folder left by a crash replays its journal first."""
STOP_SECONDS = 30.0
TRANSACTION_SECONDS = 10
PORT_TRIES = 3
EXIT_PORT_TAKEN = 48
NOT_YET_INITIALIZED = 94
ALREADY_INITIALIZED = 23


class EmbeddedMongo:
    """Own the mongod of one data folder, and bring it back when it dies."""

    def __init__(self, data: Path, *, cache_gb: float = 0.5, mongod: Path | None = None) -> None:
        self.folder = data.resolve() / "mongodb"
        self.port = 0
        self.pid = 0
        self.version = ""
        self._cache_gb = cache_gb
        self._mongod = mongod
        self._log = self.folder.with_suffix(".log")
        self._lock = FolderLock(self.folder.with_suffix(".lock"))
        self._process: asyncio.subprocess.Process | None = None
        self._keeper: asyncio.Task[None] | None = None

    @property
    def uri(self) -> str:
        return uri_of(self.port)

    async def start(self) -> None:
        """Return once the database takes writes. Raises EmbeddedError and leaves nothing behind."""
        self._mongod = self._mongod or find_mongod()
        self.version = await read_version(self._mongod)
        self._lock.acquire()
        try:
            self._make_folder()
            await end_orphan(self.folder, REPLICA_SET, STOP_SECONDS)
            process = await self._launch_on_free_port()
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
        self._lock.release()

    def _make_folder(self) -> None:
        try:
            self.folder.mkdir(mode=0o700, exist_ok=True)
            keep_previous(self._log)
        except OSError as error:
            raise unwritable(self.folder, error) from error

    async def _launch_on_free_port(self) -> asyncio.subprocess.Process:
        # between finding a free port and taking it another program may be quicker
        for _ in range(PORT_TRIES - 1):
            self.port = free_port()
            with contextlib.suppress(PortTakenError):
                return await self._launch()
        self.port = free_port()
        return await self._launch()

    async def _launch(self) -> asyncio.subprocess.Process:
        process = self._process = await spawn(*self._command(), log=self._log)
        ready = asyncio.create_task(make_primary(self.uri, self.port))
        ended = asyncio.create_task(process.wait())
        try:
            await asyncio.wait(
                {ready, ended}, timeout=START_SECONDS, return_when=asyncio.FIRST_COMPLETED
            )
            if ended.done():
                raise self._exit_error(ended.result())
            if not ready.done():
                raise EmbeddedError(
                    f"MongoDB wasn't ready after {START_SECONDS:.0f} s: see {self._log}, "
                    "or set mongodb.uri to a server of your own."
                )
            ready.result()
        except PyMongoError as error:
            raise EmbeddedError(
                f"MongoDB didn't take writes ({error}): see {self._log}."
            ) from error
        finally:
            ready.cancel()
            ended.cancel()
        self.pid = process.pid
        self.folder.with_suffix(".version").write_text(f"{self.version}\n")
        self.folder.with_suffix(".port").write_text(f"{self.port}\n")
        return process

    def _command(self) -> list[str]:
        return [
            str(self._mongod),
            *("--dbpath", str(self.folder), "--replSet", REPLICA_SET),
            *("--bind_ip", LOOPBACK, "--port", str(self.port), "--nounixsocket"),
            *("--wiredTigerCacheSizeGB", str(self._cache_gb), "--oplogSize", "256"),
            # a slow operation would be logged whole, with what patients wrote
            *("--quiet", "--slowms", str(2**31 - 1)),
            # a set of one has no other member to wait for
            *("--setParameter", "shutdownTimeoutMillisForSignaledShutdown=0"),
            *("--setParameter", "diagnosticDataCollectionEnabled=false"),
            # ours take milliseconds; a killed server's would keep others from its records so long
            *("--setParameter", f"transactionLifetimeLimitSeconds={TRANSACTION_SECONDS}"),
        ]

    def _exit_error(self, code: int) -> EmbeddedError:
        if code == EXIT_PORT_TAKEN:
            return PortTakenError(f"Port {self.port} on {LOOPBACK} was taken meanwhile: try again.")
        return explain_exit(code, self.folder, self._log, self.version)


class PortTakenError(EmbeddedError):
    pass


def uri_of(port: int) -> str:
    return f"mongodb://{LOOPBACK}:{port}/?directConnection=true"


def running_uri(data: Path) -> str | None:
    """Find the database of the server that owns the folder now, for a command run beside it."""
    folder = data.resolve() / "mongodb"
    if not FolderLock(folder.with_suffix(".lock")).held():
        return None
    try:
        return uri_of(int(folder.with_suffix(".port").read_text()))
    except (OSError, ValueError):
        return None


def free_port() -> int:
    """Find a loopback port nobody listens on now."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port


async def make_primary(uri: str, port: int) -> None:
    """Wait for the mongod to answer, and have it lead a set whose only member it is."""
    await until_listening(port)
    async with AsyncMongoClient[Document](uri, serverSelectionTimeoutMS=5_000) as client:
        while not (await client.admin.command("hello"))["isWritablePrimary"]:
            await configure(client, f"{LOOPBACK}:{port}")
            await asyncio.sleep(0.01)  # an election of one: mongod tells nobody when it is over


async def until_listening(port: int) -> None:
    while True:
        try:
            _, writer = await asyncio.open_connection(LOOPBACK, port)
        except OSError:
            await asyncio.sleep(0.01)  # nothing tells that a server listens but trying
        else:
            writer.close()
            await writer.wait_closed()
            return


async def configure(client: AsyncMongoClient[Document], host: str) -> None:
    """Write the set's configuration where it is missing or names another host.

    A member that doesn't find its own host and port in the stored configuration stays in state
    REMOVED for ever; the port changes with every start, and a restored folder may name any host.
    """
    members = [{"_id": 0, "host": host}]
    try:
        config = (await client.admin.command("replSetGetConfig"))["config"]
    except OperationFailure as error:
        if error.code != NOT_YET_INITIALIZED:
            raise
        await initiate(client, members)
        return
    if [member["host"] for member in config["members"]] != [host]:
        config |= {"members": members, "version": config["version"] + 1}
        await client.admin.command("replSetReconfig", config, force=True)


async def initiate(client: AsyncMongoClient[Document], members: list[Document]) -> None:
    try:
        await client.admin.command("replSetInitiate", {"_id": REPLICA_SET, "members": members})
    except OperationFailure as error:
        # it was still loading the configuration it has
        if error.code != ALREADY_INITIALIZED:
            raise
