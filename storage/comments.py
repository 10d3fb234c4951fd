"""The comments collection: what is said under a post, and replies to it on any level (H3)."""

from collections.abc import Collection

from pymongo import ASCENDING, DESCENDING, IndexModel, ReturnDocument
from pymongo.errors import DuplicateKeyError

from care.circle import Comment
from care.errors import Forbidden
from storage.database import Database, Document, Session
from storage.turns import Turns


class Comments:
    """Keeps comments, and the counts on what is above them in the same transaction."""

    def __init__(self, database: Database) -> None:
        self._comments = database["comments"]
        self._posts = database["posts"]
        self._run = database.run
        self._turns = Turns()

    async def ensure_indexes(self) -> None:
        await self._comments.create_indexes(
            [
                # a post's own comments, newest first; a comment's own replies, oldest first
                IndexModel(
                    [
                        ("post", ASCENDING), ("parent", ASCENDING), ("hidden", ASCENDING),
                        ("mark", DESCENDING),
                    ]
                ),
                # what somebody said, and how often he did
                IndexModel([("by", ASCENDING), ("mark", DESCENDING)]),
                # all that was said lately, and what is hidden
                IndexModel([("hidden", ASCENDING), ("mark", DESCENDING)]),
            ]
        )  # fmt: skip

    async def add(self, comment: Comment) -> Comment:
        """Keep it; one with this id is an earlier try's. Raises Forbidden under what is hidden."""

        async def work(session: Session) -> None:
            await self._comments.insert_one(_to_document(comment), session=session)
            above = {"_id": {"$in": list(comment.ancestors)}, "hidden": False}
            counted = await self._comments.update_many(
                above, {"$inc": {"reply_count": 1}}, session=session
            )
            post = await self._posts.update_one(
                {"_id": comment.post, "hidden": False},
                {"$inc": {"comment_count": 1}},
                session=session,
            )
            if not post.matched_count or counted.matched_count < len(comment.ancestors):
                raise Forbidden

        try:
            async with self._turns.of(comment.post):
                await self._run(work)
        except DuplicateKeyError:
            return await self.get(comment.id)
        return comment

    async def hide(self, comment: Comment, *, hidden: bool) -> None:
        """Hide it with all that is below it, or show it again; doing so twice changes nothing."""

        async def work(session: Session) -> None:
            changed = await self._comments.find_one_and_update(
                {"_id": comment.id, "hidden": not hidden},
                {"$set": {"hidden": hidden}},
                session=session,
            )
            if changed is not None:
                seen = 1 + changed["reply_count"]
                await self._count_above(session, comment, -seen if hidden else seen)

        async with self._turns.of(comment.post):
            await self._run(work)

    async def _count_above(self, session: Session, comment: Comment, more: int) -> None:
        """Count up the line; what is above a hidden comment doesn't count what is below it."""
        for ancestor in reversed(comment.ancestors):
            above = await self._comments.find_one_and_update(
                {"_id": ancestor},
                {"$inc": {"reply_count": more}},
                return_document=ReturnDocument.AFTER,
                session=session,
            )
            if above is None or above["hidden"]:
                return
        await self._posts.update_one(
            {"_id": comment.post}, {"$inc": {"comment_count": more}}, session=session
        )

    async def get(self, comment_id: str) -> Comment:
        """Give a comment, hidden or not. Raises Forbidden where there is none."""
        document = await self._comments.find_one({"_id": comment_id})
        if document is None:
            raise Forbidden
        return _from_document(document)

    async def is_shown(self, comment: Comment) -> bool:
        """Say whether neither it is hidden nor anything above it; the post is another matter."""
        line = [*comment.ancestors, comment.id]
        hidden = {"_id": {"$in": line}, "hidden": True}
        return await self._comments.find_one(hidden, {"_id": 1}) is None

    async def all_of(self, ids: Collection[str]) -> dict[str, Comment]:
        """Give those of these that there are, by id."""
        found = self._comments.find({"_id": {"$in": list(ids)}})
        return {document["_id"]: _from_document(document) async for document in found}

    async def under(
        self, post: str, parent: str | None, beyond: str | None, limit: int
    ) -> list[Comment]:
        """List a post's own comments, newest first, or a comment's own replies, oldest first."""
        way, past = (DESCENDING, "$lt") if parent is None else (ASCENDING, "$gt")
        query: Document = {"post": post, "parent": parent, "hidden": False}
        if beyond:
            query["mark"] = {past: beyond}
        found = self._comments.find(query).sort("mark", way).limit(limit)
        return [_from_document(document) async for document in found]

    async def by(self, user: str, before: str | None, limit: int) -> list[Comment]:
        """List what somebody said, newest first, hidden or not."""
        return await self._newest({"by": user}, before, limit)

    async def lately(self, before: str | None, limit: int, *, hidden: bool) -> list[Comment]:
        """List what anybody said anywhere, newest first."""
        return await self._newest({"hidden": hidden}, before, limit)

    async def _newest(self, query: Document, before: str | None, limit: int) -> list[Comment]:
        older = {"mark": {"$lt": before}} if before else {}
        found = self._comments.find(query | older).sort("mark", DESCENDING).limit(limit)
        return [_from_document(document) async for document in found]

    async def count_by(self, user: str) -> int:
        return await self._comments.count_documents({"by": user})


def _to_document(comment: Comment) -> Document:
    return {"_id": comment.id, "parent": comment.parent, **comment.model_dump(exclude={"id"})}


def _from_document(document: Document) -> Comment:
    fields = {k: v for k, v in document.items() if k not in ("_id", "parent")}
    return Comment(id=document["_id"], **fields)
