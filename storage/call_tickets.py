"""The call_tickets collection: what opens the call page, once, within a minute."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from pymongo import ASCENDING, IndexModel

from care.calls import Ticket
from storage.database import Database


class CallTickets:
    """Keep tickets by their digests: who reads the database opens no call."""

    def __init__(self, database: Database) -> None:
        self._tickets = database["call_tickets"]

    async def ensure_indexes(self) -> None:
        # the database drops those that nobody used
        await self._tickets.create_indexes(
            [IndexModel([("expires_at", ASCENDING)], expireAfterSeconds=0)]
        )

    async def add(self, digest: str, ticket: Ticket) -> None:
        await self._tickets.insert_one({"_id": digest, **ticket.model_dump()})

    async def take(self, digest: str, now: datetime) -> Ticket | None:
        """Give a ticket to the first who asks, while it is good."""
        taken: Mapping[str, Any] | None = await self._tickets.find_one_and_delete(
            {"_id": digest, "expires_at": {"$gt": now}}
        )
        return Ticket(**{k: v for k, v in taken.items() if k != "_id"}) if taken else None
