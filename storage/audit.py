"""The audit collection: who read or changed whose data, and why (S4). Entries are never edited."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from pymongo import ASCENDING, DESCENDING, IndexModel

from care.audit import Entry
from care.ports import Clock
from care.record import new_id
from storage.database import Database, Document

NOTHING: Mapping[str, Any] = MappingProxyType({})


class AuditTrail:
    """Implements `care.ports.Audit`."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._entries = database["audit"]
        self._clock = clock

    async def ensure_indexes(self) -> None:
        await self._entries.create_indexes(
            [
                # who touched this patient's data?
                IndexModel([("subject", ASCENDING), ("at", DESCENDING)]),
                # the same in pages: ids go up with the time
                IndexModel([("subject", ASCENDING), ("_id", DESCENDING)]),
                # what did this member of staff touch?
                IndexModel([("actor", ASCENDING), ("at", DESCENDING)]),
            ]
        )

    async def record(
        self,
        actor: str,
        action: str,
        subject: str,
        purpose: str,
        details: Mapping[str, Any] = NOTHING,
    ) -> None:
        await self._entries.insert_one(self._entry(actor, action, subject, purpose, details))

    async def record_all(
        self, actor: str, action: str, owners: Mapping[str, str], purpose: str
    ) -> None:
        """Note a look at many records: one entry for each, under its owner."""
        entries = [
            self._entry(actor, action, owner, purpose, {"of": record})
            for record, owner in owners.items()
        ]
        if entries:
            await self._entries.insert_many(entries)

    def _entry(
        self, actor: str, action: str, subject: str, purpose: str, details: Mapping[str, Any]
    ) -> Document:
        now = self._clock.now()
        return {
            "_id": new_id(now),
            "at": now,
            "actor": actor,
            "action": action,
            "subject": subject,
            "purpose": purpose,
            "details": dict(details),
        }

    async def page(self, subject: str, before: str | None, limit: int) -> list[Entry]:
        """List a subject's entries older than the id `before`, newest first."""
        query: Document = {"subject": subject}
        if before:
            query["_id"] = {"$lt": before}
        found = self._entries.find(query).sort("_id", DESCENDING).limit(limit)
        return [Entry(id=entry.pop("_id"), **entry) async for entry in found]

    async def of(self, subject: str) -> list[Document]:
        """List what was done with a subject's data, newest first."""
        found = self._entries.find({"subject": subject}, sort=[("at", DESCENDING)])
        return await found.to_list()
