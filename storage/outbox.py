"""The outbox: effects stored with the change that causes them, carried out at least once (N1)."""

from datetime import timedelta

from pymongo import ASCENDING, IndexModel

from care.effects import Outgoing
from care.ports import Clock
from storage.database import Database, Document, Session

LEASE = timedelta(seconds=10)
"""How long the process that holds a row has for it before another may take it."""


class Outbox:
    """Keep what is still to be done; a lease keeps two processes from doing it at once."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._outbox = database["outbox"]
        self._clock = clock

    async def ensure_indexes(self) -> None:
        # what no process holds, oldest first; a done row is removed, so the collection stays small
        await self._outbox.create_indexes([IndexModel([("leased_until", ASCENDING)])])

    async def add(self, session: Session, outgoing: Outgoing) -> None:
        """Store effects inside the transaction of their cause, leased to this process."""
        row = outgoing.model_dump(mode="json", exclude={"id"})
        lease = {"leased_until": self._clock.now() + LEASE, "attempts": 0}
        await self._outbox.insert_one({"_id": outgoing.id, **lease, **row}, session=session)

    async def claim_own(self, outgoing_id: str) -> Outgoing | None:
        """Take the row this process has just stored; None when it was done already."""
        return await self._claim({"_id": outgoing_id, "attempts": 0})

    async def claim_left(self) -> Outgoing | None:
        """Take the oldest row whose holder let its lease run out: it died, or it failed."""
        return await self._claim({"leased_until": {"$lte": self._clock.now()}})

    async def _claim(self, query: Document) -> Outgoing | None:
        row = await self._outbox.find_one_and_update(
            query,
            {"$set": {"leased_until": self._clock.now() + LEASE}, "$inc": {"attempts": 1}},
            sort=[("leased_until", ASCENDING)],
        )
        return _outgoing(row) if row else None

    async def before(self, outgoing_id: str) -> list[Outgoing]:
        """List what earlier changes of the same record left to do, whoever holds it."""
        record, _, _ = outgoing_id.rpartition(":")
        earlier = {"$gt": f"{record}:", "$lt": outgoing_id}
        rows = self._outbox.find({"_id": earlier}).sort("_id", ASCENDING)
        return [_outgoing(row) async for row in rows]

    async def done(self, outgoing_id: str) -> None:
        await self._outbox.delete_one({"_id": outgoing_id})

    async def size(self) -> int:
        return await self._outbox.estimated_document_count()


def _outgoing(row: Document) -> Outgoing:
    return Outgoing(id=row["_id"], effects=row["effects"])
