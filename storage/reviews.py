"""The reviews collection: what patients said of a doctor (D3)."""

from pymongo import ASCENDING, DESCENDING, IndexModel

from care.directory import Review
from storage.database import Database, Document


class Reviews:
    def __init__(self, database: Database) -> None:
        self._reviews = database["reviews"]

    async def ensure_indexes(self) -> None:
        # a doctor's list, newest first
        await self._reviews.create_indexes(
            [IndexModel([("doctor", ASCENDING), ("_id", DESCENDING)])]
        )

    async def of(self, doctor: str, before: str | None, limit: int) -> list[Review]:
        """List a doctor's reviews, newest first, older than the id `before`."""
        query: Document = {"doctor": doctor}
        if before:
            query["_id"] = {"$lt": before}
        found = self._reviews.find(query).sort("_id", DESCENDING).limit(limit)
        return [_to_review(d) async for d in found]


def _to_review(document: Document) -> Review:
    return Review(id=document["_id"], **{k: v for k, v in document.items() if k != "_id"})
