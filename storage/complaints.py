"""The complaints collection: one document a complaint, changed by its version (K1)."""

from collections.abc import Mapping, Sequence
from typing import Any

from pymongo import ASCENDING, DESCENDING, IndexModel
from pymongo.errors import DuplicateKeyError

from care.attachments import FileKind
from care.complaints import Complaint, ComplaintState
from care.effects import Outgoing
from care.ports import Vault
from storage.database import Database, Document, Session
from storage.files import Files
from storage.outbox import Outbox


class Complaints:
    def __init__(self, database: Database, outbox: Outbox, files: Files, vault: Vault) -> None:
        self._complaints = database["complaints"]
        self._run = database.run
        self._outbox = outbox
        self._files = files
        self._vault = vault

    async def ensure_indexes(self) -> None:
        await self._complaints.create_indexes(
            [
                # a request sent again
                IndexModel([("request", ASCENDING)], unique=True),
                # one's own, newest first
                IndexModel([("owner", ASCENDING), ("_id", DESCENDING)]),
                # the staff's list by state
                IndexModel([("state", ASCENDING), ("_id", DESCENDING)]),
            ]
        )

    async def create(self, complaint: Complaint) -> Complaint:
        """Store a new one with its pictures, or give the one an earlier try stored.

        Raises Forbidden for a picture that is somebody else's or used elsewhere.
        """

        async def work(session: Session) -> None:
            c = complaint
            await self._complaints.insert_one(self._to_document(c), session=session)
            await self._files.claim_in(session, c.images, c.owner, c.room, FileKind.IMAGE)

        try:
            await self._run(work)
        except DuplicateKeyError:
            found = await self._complaints.find_one({"request": complaint.request})
            if found is None:
                raise
            return self._from_document(found)
        return complaint

    async def replace(self, before: Complaint, after: Complaint, outgoing: Outgoing) -> bool:
        """Store the change unless somebody else changed it first; say whether it was stored."""

        async def work(session: Session) -> bool:
            known = {"_id": before.id, "version": before.version}
            result = await self._complaints.replace_one(
                known, self._to_document(after), session=session
            )
            if result.matched_count:
                await self._outbox.add(session, outgoing)
            return bool(result.matched_count)

        return await self._run(work)

    async def get(self, complaint_id: str) -> Complaint | None:
        document = await self._complaints.find_one({"_id": complaint_id})
        return self._from_document(document) if document else None

    async def of_room(self, room: str) -> Complaint | None:
        """Give the one whose pictures are bound to this room."""
        return await self.get(room.removeprefix("k")) if room.startswith("k") else None

    async def page(
        self,
        owner: str | None,
        states: Sequence[ComplaintState] | None,
        before: str | None,
        limit: int,
    ) -> list[Complaint]:
        """List an owner's, or everybody's, newest first, older than the id `before`."""
        query: Document = {"owner": owner} if owner else {}
        if states or not owner:
            query["state"] = {"$in": [s.value for s in states or ComplaintState]}
        if before:
            query["_id"] = {"$lt": before}
        found = self._complaints.find(query).sort("_id", DESCENDING).limit(limit)
        return [self._from_document(d) async for d in found]

    def _to_document(self, complaint: Complaint) -> Document:
        contact = complaint.contact and self._vault.seal(complaint.contact)
        fields = complaint.model_dump(exclude={"id", "contact"})
        return {"_id": complaint.id, **fields, "contact": contact}

    def _from_document(self, document: Mapping[str, Any]) -> Complaint:
        fields = {k: v for k, v in document.items() if k not in {"_id", "contact"}}
        sealed = document["contact"]
        contact = self._vault.open(sealed) if sealed else None
        return Complaint(id=document["_id"], contact=contact, **fields)
