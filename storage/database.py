"""The one client and database, with the durability every write of the hospital has."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractContextManager, asynccontextmanager
from datetime import UTC, datetime
from typing import Any, TypeVar

import pymongo
from bson.codec_options import CodecOptions
from pymongo import AsyncMongoClient, ReadPreference, WriteConcern
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import ConnectionFailure, ExecutionTimeout, PyMongoError, WTimeoutError
from pymongo.read_concern import ReadConcern

Document = dict[str, Any]
Collection = AsyncCollection[Document]
Session = AsyncClientSession

T = TypeVar("T")

DATABASE_AWAY = (ConnectionFailure, ExecutionTimeout, WTimeoutError)
"""What a request meets while the primary is away or too slow: trying again makes sense."""

DURABLE = WriteConcern(w="majority", j=True, wtimeout=10_000)


class Database:
    """Open collections; run transactions."""

    def __init__(self, uri: str, name: str = "wenzhen") -> None:
        self.client: AsyncMongoClient[Document] = AsyncMongoClient(
            uri,
            tz_aware=True,
            tzinfo=UTC,
            serverSelectionTimeoutMS=5_000,
            # a hung server must not hold requests for ever
            timeoutMS=8_000,
            appname="wenzhen",
        )
        self.db: AsyncDatabase[Document] = self.client.get_database(
            name,
            codec_options=CodecOptions(tz_aware=True, tzinfo=UTC),
            write_concern=DURABLE,
            read_concern=ReadConcern("majority"),
            read_preference=ReadPreference.PRIMARY,
        )

    def __getitem__(self, name: str) -> Collection:
        return self.db[name]

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Session]:
        """Run the block in one durable transaction; any exception aborts it whole.

        A conflict with another transaction is an exception too: see `run` for one that tries again.
        """
        async with (
            self.client.start_session() as session,
            await session.start_transaction(write_concern=DURABLE),
        ):
            yield session

    async def run(self, work: Callable[[Session], Awaitable[T]]) -> T:
        """Run `work` in one durable transaction, again when another one got in its way.

        `work` may run several times and must do nothing outside the transaction.
        """
        async with self.client.start_session() as session:
            return await session.with_transaction(work, write_concern=DURABLE)

    @staticmethod
    def unhurried() -> AbstractContextManager[None]:
        """Lift the time limit inside the block: an index over years of messages takes its time."""
        return pymongo.timeout(None)

    async def takes_writes(self) -> bool:
        """Say whether a primary answers."""
        try:
            return bool((await self.client.admin.command("hello"))["isWritablePrimary"])
        except PyMongoError:
            return False

    async def server_time(self) -> datetime:
        """Tell the time on the server's own clock."""
        # commands, unlike queries, don't take the client's options
        hello = await self.client.admin.command("hello", codec_options=self.db.codec_options)
        answer: datetime = hello["localTime"]
        return answer

    async def close(self) -> None:
        await self.client.close()
