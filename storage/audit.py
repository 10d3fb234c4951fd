"""The audit collection: who read or changed whose data, and why (S4). Entries are never edited."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from pymongo import ASCENDING, DESCENDING, IndexModel

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
        now = self._clock.now()
        entry = {
            "_id": new_id(now),
            "at": now,
            "actor": actor,
            "action": action,
            "subject": subject,
            "purpose": purpose,
            "details": dict(details),
        }
        await self._entries.insert_one(entry)

    async def of(self, subject: str) -> list[Document]:
        """List what was done with a subject's data, newest first."""
        found = self._entries.find({"subject": subject}, sort=[("at", DESCENDING)])
        return await found.to_list()
