"""The presence collection: until when each user is online, a row for each of his nodes (D6, R8)."""

from collections.abc import Collection as Some
from datetime import datetime

from pymongo import ASCENDING, IndexModel, UpdateOne

from care.ports import Clock
from care.record import HOUR
from storage.database import Database


class Presence:
    def __init__(self, database: Database, node: str, clock: Clock) -> None:
        self._presence = database["presence"]
        self._node = node
        self._clock = clock

    async def ensure_indexes(self) -> None:
        await self._presence.create_indexes(
            [
                # who of these is online, answered from the index alone
                IndexModel([("user", ASCENDING), ("until", ASCENDING)]),
                # the database drops the rows of nodes that are gone
                IndexModel([("until", ASCENDING)], expireAfterSeconds=HOUR),
            ]
        )

    async def keep(self, users: Some[str], until: datetime) -> None:
        """Count these as online on this node until then."""
        rows = [
            UpdateOne(
                {"_id": f"{self._node}:{user}"},
                {"$set": {"user": user, "until": until}},
                upsert=True,
            )
            for user in users
        ]
        await self._presence.bulk_write(rows, ordered=False)

    async def online(self, users: Some[str]) -> set[str]:
        """Tell who of these is online on any node."""
        query = {"user": {"$in": list(users)}, "until": {"$gt": self._clock.now()}}
        return set(await self._presence.distinct("user", query))
