"""The departments and the hospitals collections: names in the order they are shown in (D1)."""

from collections.abc import Sequence

from pymongo import ASCENDING, IndexModel

from storage.database import Database

SHOWN = [("position", ASCENDING), ("_id", ASCENDING)]


class Names:
    """One of the two collections. A name is its own id: doctors carry it, filters take it."""

    def __init__(self, database: Database, collection: str) -> None:
        self._names = database[collection]

    async def ensure_indexes(self) -> None:
        # all of them, in their order
        await self._names.create_indexes([IndexModel(SHOWN)])

    async def put(self, names: Sequence[str]) -> None:
        """Add those that are missing, in this order."""
        for position, name in enumerate(names):
            await self._names.update_one(
                {"_id": name}, {"$setOnInsert": {"position": position}}, upsert=True
            )

    async def all(self) -> list[str]:
        return [d["_id"] async for d in self._names.find().sort(SHOWN)]
