"""The notices collection: what each user was told, once for each key (N1, N2)."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from pymongo import DESCENDING, IndexModel
from pymongo.errors import DuplicateKeyError

from storage.database import Database, Document


class Notices:
    def __init__(self, database: Database) -> None:
        self._notices = database["notices"]

    async def ensure_indexes(self) -> None:
        # a user's list, newest first
        await self._notices.create_indexes(
            [IndexModel([("user", DESCENDING), ("at", DESCENDING), ("_id", DESCENDING)])]
        )

    async def add(
        self, key: str, user: str, template: str, values: Mapping[str, str], now: datetime
    ) -> bool:
        """Keep a notice; say whether its key is new."""
        notice: Document = {"_id": key, "user": user, "template": template, "values": dict(values)}
        try:
            await self._notices.insert_one(notice | {"at": now, "read_at": None})
        except DuplicateKeyError:
            return False
        return True

    async def newest(self, user: str, limit: int) -> list[Mapping[str, Any]]:
        found = self._notices.find({"user": user}).sort([("at", DESCENDING), ("_id", DESCENDING)])
        return [d async for d in found.limit(limit)]
