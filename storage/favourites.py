"""The favourites collection: one document for each doctor a user marked (D3, D5)."""

from datetime import datetime

from pymongo import ASCENDING, DESCENDING, IndexModel
from pymongo.errors import DuplicateKeyError

from care.directory import Favourite
from care.record import new_id
from storage.database import Database, Document


class Favourites:
    def __init__(self, database: Database) -> None:
        self._favourites = database["favourites"]

    async def ensure_indexes(self) -> None:
        # a user's list, newest first
        await self._favourites.create_indexes(
            [IndexModel([("user", ASCENDING), ("mark", DESCENDING)])]
        )

    async def add(self, user: str, doctor: str, at: datetime) -> None:
        """Mark a doctor; one marked before keeps its place."""
        document = {"_id": _key(user, doctor), "user": user, "doctor": doctor, "mark": new_id(at)}
        try:
            await self._favourites.insert_one(document)
        except DuplicateKeyError:
            return

    async def remove(self, user: str, doctor: str) -> None:
        await self._favourites.delete_one({"_id": _key(user, doctor)})

    async def has(self, user: str, doctor: str) -> bool:
        return await self._favourites.find_one({"_id": _key(user, doctor)}) is not None

    async def count(self, user: str) -> int:
        return await self._favourites.count_documents({"user": user})

    async def page(self, user: str, before: str | None, limit: int) -> list[Favourite]:
        """List what a user marked, newest first, older than the mark `before`."""
        query: Document = {"user": user}
        if before:
            query["mark"] = {"$lt": before}
        found = self._favourites.find(query).sort("mark", DESCENDING).limit(limit)
        return [Favourite(doctor=d["doctor"], mark=d["mark"]) async for d in found]


def _key(user: str, doctor: str) -> str:
    return f"{user}:{doctor}"
