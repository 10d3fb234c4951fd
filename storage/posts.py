"""The posts collection: articles and doctors' topics, with their counts (H1, H2)."""

from collections.abc import Collection

from pymongo import ASCENDING, DESCENDING, IndexModel, ReturnDocument
from pymongo.errors import DuplicateKeyError

from care.attachments import PUBLIC, FileKind
from care.circle import Post, PostKind, Writing
from care.errors import Forbidden
from storage.database import Database, Document, Session
from storage.files import Files

# lists show neither
WITHOUT_TEXT = {"body": 0, "html": 0}


class Posts:
    def __init__(self, database: Database, files: Files) -> None:
        self._posts = database["posts"]
        self._run = database.run
        self._files = files

    async def ensure_indexes(self) -> None:
        listed = [("kind", ASCENDING), ("hidden", ASCENDING)]
        newest = ("mark", DESCENDING)
        await self._posts.create_indexes(
            [
                # all of a kind, newest first
                IndexModel([*listed, newest]),
                # a category's articles
                IndexModel([*listed, ("category", ASCENDING), newest]),
                # a doctor's topics
                IndexModel([*listed, ("by", ASCENDING), newest]),
            ]
        )

    async def add(self, post: Post) -> Post:
        """Publish it; one with this id is an earlier try's. Raises Forbidden for a wrong cover."""

        async def work(session: Session) -> None:
            await self._claim(session, post.cover, post.by)
            await self._posts.insert_one(_to_document(post), session=session)

        try:
            await self._run(work)
        except DuplicateKeyError:
            return await self.get(post.kind, post.id)
        return post

    async def rewrite(self, kind: PostKind, post_id: str, by: str, writing: Writing) -> Post:
        """Write one anew. Raises Forbidden for one that isn't there, or a wrong cover."""

        async def work(session: Session) -> Post:
            document = await self._posts.find_one_and_update(
                {"_id": post_id, "kind": kind.value},
                {"$set": writing.model_dump()},
                projection={"cover": 1},
                return_document=ReturnDocument.BEFORE,
                session=session,
            )
            if document is None:
                raise Forbidden
            if writing.cover != document["cover"]:
                await self._claim(session, writing.cover, by)
            written = await self._posts.find_one({"_id": post_id}, session=session)
            return _from_document(written or document)

        return await self._run(work)

    async def _claim(self, session: Session, cover: str | None, owner: str) -> None:
        if cover is not None:
            await self._files.claim_in(session, [cover], owner, PUBLIC, FileKind.IMAGE)

    async def get(self, kind: PostKind | None, post_id: str) -> Post:
        """Give a post, hidden or not. Raises Forbidden where there is none of this kind."""
        query: Document = {"_id": post_id}
        if kind is not None:
            query["kind"] = kind.value
        document = await self._posts.find_one(query)
        if document is None:
            raise Forbidden
        return _from_document(document)

    async def all_of(self, ids: Collection[str]) -> dict[str, Post]:
        """Give those of these that there are, by id, without their texts."""
        found = self._posts.find({"_id": {"$in": list(ids)}}, WITHOUT_TEXT)
        return {document["_id"]: _from_document(document) async for document in found}

    async def page(
        self,
        kind: PostKind,
        before: str | None,
        limit: int,
        *,
        category: str | None = None,
        by: str | None = None,
        hidden: bool = False,
    ) -> list[Post]:
        """List posts without their texts, newest first, older than the mark `before`."""
        query: Document = {"kind": kind.value, "hidden": hidden}
        if category:
            query["category"] = category
        if by:
            query["by"] = by
        if before:
            query["mark"] = {"$lt": before}
        found = self._posts.find(query, WITHOUT_TEXT).sort("mark", DESCENDING).limit(limit)
        return [_from_document(document) async for document in found]

    async def share(self, kind: PostKind, post_id: str) -> None:
        """Count one more share. Raises Forbidden for a post nobody sees."""
        seen = {"_id": post_id, "kind": kind.value, "hidden": False}
        shared = await self._posts.update_one(seen, {"$inc": {"share_count": 1}})
        if not shared.matched_count:
            raise Forbidden

    async def hide(self, kind: PostKind, post_id: str, *, hidden: bool) -> None:
        """Hide it or show it again; doing so twice changes nothing."""
        await self._posts.update_one(
            {"_id": post_id, "kind": kind.value}, {"$set": {"hidden": hidden}}
        )


def _to_document(post: Post) -> Document:
    return {"_id": post.id, **post.model_dump(exclude={"id"})}


def _from_document(document: Document) -> Post:
    fields = {"body": "", "html": ""} | {k: v for k, v in document.items() if k != "_id"}
    return Post(id=document["_id"], **fields)
