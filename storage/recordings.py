"""The recordings collection: one document a recording; their films are in GridFS (V8).

A film is uploaded under a name of its own by the process that holds the claim, and becomes the
recording's by one write. The document names each upload that was begun, for the next to remove.
"""

import asyncio
import contextlib
import hashlib
import secrets
from collections.abc import AsyncIterator, Mapping
from datetime import timedelta
from typing import Any, BinaryIO

from gridfs import NoFile
from gridfs.asynchronous import AsyncGridFSBucket
from gridfs.errors import GridFSError
from pymongo import ASCENDING, DESCENDING, IndexModel, ReturnDocument
from pymongo.errors import DuplicateKeyError

from care.effects import Outgoing
from care.errors import Forbidden
from care.media import RecordingState
from care.ports import Clock
from care.recordings import Claim, LeaseLost, Recording
from storage.database import Database, Document, Session
from storage.outbox import Outbox

LEASE = timedelta(seconds=60)
RENEW_SECONDS = 10.0
CHUNK_BYTES = 1 << 20
PAGE = 100

_UNSTORED = {"$ne": RecordingState.STORED.value}
_CLAIM = {"token", "leased_until", "uploads", "blob"}


class Recordings:
    """Keep recordings; a film is found once it is whole."""

    def __init__(self, database: Database, outbox: Outbox, clock: Clock) -> None:
        self._recordings = database["recordings"]
        self._bucket = AsyncGridFSBucket(database.db, bucket_name="films")
        # written here as GridFS has it: PyMongo's own stream keeps 32 MB, several times over
        self._chunks = database["films.chunks"]
        self._films = database["films.files"]
        self._run = database.run
        self._outbox = outbox
        self._clock = clock

    async def ensure_indexes(self) -> None:
        # a consultation's recordings, newest first
        await self._recordings.create_indexes(
            [IndexModel([("consultation", ASCENDING), ("_id", DESCENDING)])]
        )

        # GridFS' own: a film's parts in their order
        await self._chunks.create_indexes(
            [IndexModel([("files_id", ASCENDING), ("n", ASCENDING)], unique=True)]
        )

    async def create(self, recording: Recording) -> None:
        """Store one that runs, unless it is there already."""
        with contextlib.suppress(DuplicateKeyError):
            await self._recordings.insert_one(_to_document(recording))

    async def get(self, recording: str) -> Recording | None:
        document = await self._recordings.find_one({"_id": recording})
        return _from_document(document) if document else None

    async def of_consultation(self, consultation: str) -> list[Recording]:
        found = self._recordings.find({"consultation": consultation}).sort("_id", DESCENDING)
        return [_from_document(document) async for document in found.limit(PAGE)]

    async def replace(self, before: Recording, after: Recording) -> bool:
        """Store the change unless somebody else changed it first; say whether it was stored."""
        known = {"_id": before.id, "version": before.version}
        result = await self._recordings.update_one(known, {"$set": _to_document(after)})
        return bool(result.matched_count)

    async def claim(self, recording: str) -> Claim | None:
        """Give the right to store the film to one process at a time; None to all others."""
        now, token = self._clock.now(), secrets.token_hex(12)
        free = {"$or": [{"leased_until": None}, {"leased_until": {"$lte": now}}]}
        claimed = await self._recordings.find_one_and_update(
            {"_id": recording, "state": _UNSTORED, **free},
            # named before its first byte is written
            {"$set": {"token": token, "leased_until": now + LEASE}, "$push": {"uploads": token}},
            return_document=ReturnDocument.BEFORE,
        )
        if claimed is None:
            return None
        await self._discard(recording, claimed.get("uploads", []))
        return Claim(recording=recording, token=token)

    async def upload(self, claim: Claim, film: BinaryIO, poster: BinaryIO | None) -> str:
        """Take the film in, a part at a time; give its SHA-256. Raises LeaseLost."""
        if poster is not None:
            await self._upload(claim, _poster(claim.token), poster)
        return await self._upload(claim, claim.token, film)

    async def _upload(self, claim: Claim, name: str, content: BinaryIO) -> str:
        digest, loop = hashlib.sha256(), asyncio.get_running_loop()
        renewed = loop.time()
        number = length = 0
        while chunk := await asyncio.to_thread(content.read, CHUNK_BYTES):
            digest.update(chunk)
            await self._chunks.insert_one({"files_id": name, "n": number, "data": chunk})
            number, length = number + 1, length + len(chunk)
            if loop.time() - renewed > RENEW_SECONDS:
                renewed = loop.time()
                await self._renew(claim)
        await self._films.insert_one(
            {
                "_id": name,
                "filename": claim.recording,
                "length": length,
                "chunkSize": CHUNK_BYTES,
                "uploadDate": self._clock.now(),
            }
        )
        return digest.hexdigest()

    async def _renew(self, claim: Claim) -> None:
        until = self._clock.now() + LEASE
        renewed = await self._recordings.update_one(_held(claim), {"$set": {"leased_until": until}})
        if not renewed.matched_count:
            raise LeaseLost

    async def keep(self, claim: Claim, recording: Recording, outgoing: Outgoing) -> bool:
        """Make what was uploaded the recording's film; say whether it was stored by this call."""
        film = {"blob": claim.token, "token": None, "leased_until": None}

        async def work(session: Session) -> bool:
            result = await self._recordings.update_one(
                {**_held(claim), "version": recording.version - 1},
                {"$set": _to_document(recording) | film, "$pull": {"uploads": claim.token}},
                session=session,
            )
            if result.matched_count:
                await self._outbox.add(session, outgoing)
            return bool(result.matched_count)

        return await self._run(work)

    async def let_go(self, claim: Claim) -> None:
        """Give the claim back with what was uploaded under it."""
        await self._discard(claim.recording, [claim.token])
        await self._recordings.update_one(_held(claim), {"$set": {"leased_until": None}})

    async def read(
        self, recording: str, *, poster: bool, start: int, stop: int
    ) -> AsyncIterator[bytes]:
        """Give the bytes from `start` up to `stop`. Raises Forbidden where there is no film."""
        document = await self._recordings.find_one({"_id": recording}, {"blob": 1})
        blob = document and document.get("blob")
        if not blob:
            raise Forbidden
        async with await self._bucket.open_download_stream(
            _poster(blob) if poster else blob
        ) as stored:
            await stored.seek(start)
            while start < stop and (chunk := await stored.read(min(CHUNK_BYTES, stop - start))):
                start += len(chunk)
                yield chunk

    async def digest(self, recording: Recording) -> str | None:
        """Read a film whole; give its SHA-256, None where it or a part of it is not there."""
        size = recording.footage.size if recording.footage else 0
        digest = hashlib.sha256()
        try:
            async for chunk in self.read(recording.id, poster=False, start=0, stop=size):
                digest.update(chunk)
        except (Forbidden, GridFSError):
            return None
        return digest.hexdigest()

    async def _discard(self, recording: str, uploads: list[str]) -> None:
        for token in uploads:
            for name in (token, _poster(token)):
                try:
                    await self._bucket.delete(name)
                except NoFile:
                    # its chunks are gone all the same: the files document comes last when writing
                    continue
            await self._recordings.update_one({"_id": recording}, {"$pull": {"uploads": token}})


def _held(claim: Claim) -> Document:
    return {"_id": claim.recording, "token": claim.token, "state": _UNSTORED}


def _poster(token: str) -> str:
    return f"{token}:poster"


def _to_document(recording: Recording) -> Document:
    return {"_id": recording.id, **recording.model_dump(exclude={"id"})}


def _from_document(document: Mapping[str, Any]) -> Recording:
    fields = {k: v for k, v in document.items() if k not in _CLAIM | {"_id"}}
    return Recording(id=document["_id"], **fields)
