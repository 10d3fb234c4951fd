"""The files collection: attachments and who may use them; their bytes are in GridFS (R6)."""

import secrets
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import BinaryIO

from gridfs import NoFile
from gridfs.asynchronous import AsyncGridFSBucket
from pymongo import ASCENDING, IndexModel, ReturnDocument
from pymongo.errors import DuplicateKeyError

from care.attachments import Attachment, FileKind
from care.errors import Forbidden
from storage.database import Database, Document, Session

READ_BYTES = 255 * 1024
"""GridFS' own chunk: one read is one document."""


class Files:
    """Keep attachments.

    A blob is never reachable before it is whole, nor lost track of: `loose_blobs` names each one
    that no record owns, from before its first byte is written, and after its record is gone.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._files = database["files"]
        self._loose = database["loose_blobs"]
        self._bucket = AsyncGridFSBucket(database.db, bucket_name="attachments")

    async def ensure_indexes(self) -> None:
        unused = {"room": None}
        await self._files.create_indexes(
            [
                # how many unused uploads an owner has
                IndexModel([("owner", ASCENDING)], partialFilterExpression=unused),
                # the unused uploads that are old
                IndexModel([("created_at", ASCENDING)], partialFilterExpression=unused),
                # a room's attachments, for its export
                IndexModel([("room", ASCENDING)]),
            ]
        )
        # the blobs left behind, oldest first
        await self._loose.create_indexes([IndexModel([("created_at", ASCENDING)])])

    async def add(
        self, attachment: Attachment, content: BinaryIO, thumbnail: BinaryIO | None
    ) -> Attachment:
        """Store the bytes, then the record that makes them reachable."""
        blob = secrets.token_hex(12)
        await self._loose.insert_one({"_id": blob, "created_at": attachment.created_at})
        await self._bucket.upload_from_stream_with_id(blob, attachment.id, content)
        if thumbnail is not None:
            small = _thumbnail(blob)
            await self._bucket.upload_from_stream_with_id(small, attachment.id, thumbnail)

        async def own(session: Session) -> None:
            await self._files.insert_one(_to_document(attachment, blob), session=session)
            await self._loose.delete_one({"_id": blob}, session=session)

        try:
            await self._database.run(own)
        except DuplicateKeyError:
            await self._delete_blob(blob)
            return await self._existing(attachment)
        return attachment

    async def _existing(self, attachment: Attachment) -> Attachment:
        found = await self.get(attachment.id)
        if found is None or found.owner != attachment.owner:
            raise Forbidden
        return found

    async def get(self, file: str) -> Attachment | None:
        document = await self._files.find_one({"_id": file})
        return _from_document(document) if document else None

    async def claim(
        self, files: Sequence[str], owner: str, room: str, kind: FileKind
    ) -> list[Attachment]:
        """Bind all of them to the room, or none: each by one conditional write."""
        return await self._database.run(lambda s: self.claim_in(s, files, owner, room, kind))

    async def claim_in(
        self, session: Session, files: Sequence[str], owner: str, room: str, kind: FileKind
    ) -> list[Attachment]:
        """Bind all of them to the room, or none, within another change's transaction."""
        return [await self._claim(session, file, owner, room, kind) for file in files]

    async def let_go_in(self, session: Session, file: str, owner: str, room: str) -> None:
        """Unbind a file from the room, within another change's transaction: it will be swept."""
        await self._files.update_one(
            {"_id": file, "owner": owner, "room": room}, {"$set": {"room": None}}, session=session
        )

    async def _claim(
        self, session: Session, file: str, owner: str, room: str, kind: FileKind
    ) -> Attachment:
        document = await self._files.find_one_and_update(
            {"_id": file, "owner": owner, "kind": kind.value, "room": {"$in": [None, room]}},
            {"$set": {"room": room}},
            return_document=ReturnDocument.AFTER,
            session=session,
        )
        if document is None:
            raise Forbidden
        return _from_document(document)

    async def read(
        self, attachment: Attachment, *, thumbnail: bool, start: int, stop: int
    ) -> AsyncIterator[bytes]:
        """Give a part of the content chunk by chunk. Raises Forbidden when it was swept."""
        document = await self._files.find_one({"_id": attachment.id}, {"blob": 1})
        if document is None:
            raise Forbidden
        blob = document["blob"]
        name = _thumbnail(blob) if thumbnail else blob
        async with await self._bucket.open_download_stream(name) as stored:
            await stored.seek(start)
            while start < stop:
                chunk = await stored.read(min(READ_BYTES, stop - start))
                start += len(chunk)
                yield chunk

    async def count_unused(self, owner: str) -> int:
        return await self._files.count_documents({"owner": owner, "room": None})

    async def sweep(self, before: datetime) -> int:
        """Remove the records first, so that nobody finds a file whose bytes are going."""
        swept = 0
        old = {"room": None, "created_at": {"$lt": before}}
        async for document in self._files.find(old, {"blob": 1, "created_at": 1}):
            swept += await self._let_go(document)
        async for loose in self._loose.find({"created_at": {"$lt": before}}):
            await self._delete_blob(loose["_id"])
        return swept

    async def _let_go(self, document: Document) -> int:
        """Remove one unused record, unless a message claimed it this moment."""
        loose = {"_id": document["blob"], "created_at": document["created_at"]}

        async def remove(session: Session) -> int:
            unused = {"_id": document["_id"], "room": None}
            gone = await self._files.delete_one(unused, session=session)
            if gone.deleted_count:
                await self._loose.insert_one(loose, session=session)
            return gone.deleted_count

        return await self._database.run(remove)

    async def _delete_blob(self, blob: str) -> None:
        for name in (blob, _thumbnail(blob)):
            try:
                await self._bucket.delete(name)
            except NoFile:
                # its chunks are gone all the same: the files document comes last when writing
                continue
        await self._loose.delete_one({"_id": blob})


def _thumbnail(blob: str) -> str:
    return f"{blob}:small"


def _to_document(attachment: Attachment, blob: str) -> Document:
    document = attachment.model_dump(exclude={"id"}) | {"kind": attachment.kind.value}
    return {"_id": attachment.id, "blob": blob, **document}


def _from_document(document: Document) -> Attachment:
    fields = {k: v for k, v in document.items() if k not in ("_id", "blob")}
    return Attachment(id=document["_id"], **fields)
