"""The demo collection: which parts of the demo data this database was given."""

from datetime import datetime

from storage.database import Database


class DemoMarks:
    def __init__(self, database: Database) -> None:
        self._marks = database["demo"]

    async def has(self, part: str) -> bool:
        return await self._marks.find_one({"_id": part}) is not None

    async def add(self, part: str, at: datetime) -> None:
        await self._marks.update_one(
            {"_id": part}, {"$setOnInsert": {"loaded_at": at}}, upsert=True
        )
