"""The outbox: effects stored with the change that causes them, carried out at least once (N1)."""

from datetime import datetime, timedelta

from pymongo import ASCENDING, IndexModel

from care.effects import Outgoing
from storage.database import Database, Session

LEASE = timedelta(seconds=30)


class Outbox:
    """Keep what is still to be done; a lease keeps two processes from doing it at once."""

    def __init__(self, database: Database) -> None:
        self._outbox = database["outbox"]

    async def ensure_indexes(self) -> None:
        # what no process holds, oldest first; a done row is removed, so the collection stays small
        await self._outbox.create_indexes([IndexModel([("leased_until", ASCENDING)])])

    async def add(self, session: Session, outgoing: Outgoing) -> None:
        """Store effects inside the transaction of their cause.

        It is born leased to nobody: the process that made it claims it right after the commit.
        """
        row = outgoing.model_dump(mode="json", exclude={"id"})
        await self._outbox.insert_one(
            {"_id": outgoing.id, "leased_until": None, "attempts": 0, **row}, session=session
        )

    async def claim(self, now: datetime, outgoing_id: str | None = None) -> Outgoing | None:
        """Take one row, or the named one, for the length of a lease; None when there is none."""
        free = {"$or": [{"leased_until": None}, {"leased_until": {"$lte": now}}]}
        row = await self._outbox.find_one_and_update(
            free | ({"_id": outgoing_id} if outgoing_id else {}),
            {"$set": {"leased_until": now + LEASE}, "$inc": {"attempts": 1}},
            sort=[("leased_until", ASCENDING)],
        )
        return Outgoing(id=row["_id"], effects=row["effects"]) if row else None

    async def done(self, outgoing_id: str) -> None:
        await self._outbox.delete_one({"_id": outgoing_id})

    async def size(self) -> int:
        return await self._outbox.estimated_document_count()
