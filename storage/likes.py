"""The likes collection: one document for each thing a user likes (H3, D5)."""

from collections.abc import Collection
from datetime import datetime

from pymongo import ASCENDING, DESCENDING, IndexModel
from pymongo.errors import DuplicateKeyError

from care.circle import Like, LikeKind
from care.errors import Forbidden
from care.record import new_id
from storage.database import Collection as Things
from storage.database import Database, Document, Session
from storage.turns import Turns


class Likes:
    def __init__(self, database: Database) -> None:
        self._likes = database["likes"]
        self._posts = database["posts"]
        self._comments = database["comments"]
        self._run = database.run
        self._turns = Turns()

    async def ensure_indexes(self) -> None:
        # a user's list, newest first, and how many they are
        await self._likes.create_indexes([IndexModel([("user", ASCENDING), ("mark", DESCENDING)])])

    async def add(self, user: str, kind: LikeKind, subject: str, at: datetime) -> None:
        """Like it; once however often it is said. Raises Forbidden for what nobody sees."""
        things, which = self._counted_on(kind, subject)
        document = {
            "_id": _key(user, subject), "user": user, "kind": kind.value, "subject": subject,
            "mark": new_id(at), "at": at,
        }  # fmt: skip

        async def work(session: Session) -> None:
            await self._likes.insert_one(document, session=session)
            counted = await things.update_one(
                which | {"hidden": False}, {"$inc": {"like_count": 1}}, session=session
            )
            if not counted.matched_count:
                raise Forbidden

        async with self._turns.of(subject):
            try:
                await self._run(work)
            except DuplicateKeyError:
                return

    async def remove(self, user: str, kind: LikeKind, subject: str) -> None:
        """Like it no longer."""
        things, which = self._counted_on(kind, subject)

        async def work(session: Session) -> None:
            gone = await self._likes.delete_one(
                {"_id": _key(user, subject), "kind": kind.value}, session=session
            )
            if gone.deleted_count:
                await things.update_one(which, {"$inc": {"like_count": -1}}, session=session)

        async with self._turns.of(subject):
            await self._run(work)

    def _counted_on(self, kind: LikeKind, subject: str) -> tuple[Things, Document]:
        if kind is LikeKind.COMMENT:
            return self._comments, {"_id": subject}
        return self._posts, {"_id": subject, "kind": kind.value}

    async def among(self, user: str, subjects: Collection[str]) -> set[str]:
        """Give those of these that the user likes."""
        keys = [_key(user, subject) for subject in subjects]
        found = self._likes.find({"_id": {"$in": keys}}, {"subject": 1})
        return {document["subject"] async for document in found}

    async def page(self, user: str, before: str | None, limit: int) -> list[Like]:
        """List what a user likes, newest first, older than the mark `before`."""
        query: Document = {"user": user}
        if before:
            query["mark"] = {"$lt": before}
        found = self._likes.find(query, {"_id": 0, "user": 0}).sort("mark", DESCENDING)
        return [Like(**document) async for document in found.limit(limit)]

    async def count(self, user: str) -> int:
        return await self._likes.count_documents({"user": user})


def _key(user: str, subject: str) -> str:
    return f"{user}:{subject}"
