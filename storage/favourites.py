"""The favourites collection: one document for each doctor a user marked (D3, D5)."""

from datetime import datetime

from pymongo import ASCENDING, DESCENDING, IndexModel
from pymongo.errors import DuplicateKeyError

from storage.database import Database, Document


class Favourites:
    def __init__(self, database: Database) -> None:
        self._favourites = database["favourites"]

    async def ensure_indexes(self) -> None:
        # a user's list, newest first
        await self._favourites.create_indexes(
            [IndexModel([("user", ASCENDING), ("at", DESCENDING), ("doctor", ASCENDING)])]
        )

    async def add(self, user: str, doctor: str, at: datetime) -> None:
        """Mark a doctor; one marked before keeps its time."""
        try:
            await self._favourites.insert_one(
                {"_id": _key(user, doctor), "user": user, "doctor": doctor, "at": at}
            )
        except DuplicateKeyError:
            return

    async def remove(self, user: str, doctor: str) -> None:
        await self._favourites.delete_one({"_id": _key(user, doctor)})

    async def has(self, user: str, doctor: str) -> bool:
        return await self._favourites.find_one({"_id": _key(user, doctor)}) is not None

    async def count(self, user: str) -> int:
        return await self._favourites.count_documents({"user": user})

    async def page(
        self, user: str, after: tuple[datetime, str] | None, limit: int
    ) -> list[tuple[datetime, str]]:
        """List when which doctor was marked, newest first, beginning behind `after`."""
        query: Document = {"user": user}
        if after:
            at, doctor = after
            query["$or"] = [{"at": {"$lt": at}}, {"at": at, "doctor": {"$gt": doctor}}]
        order = [("at", DESCENDING), ("doctor", ASCENDING)]
        found = self._favourites.find(query).sort(order).limit(limit)
        return [(d["at"], d["doctor"]) async for d in found]


def _key(user: str, doctor: str) -> str:
    return f"{user}:{doctor}"
