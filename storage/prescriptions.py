"""The prescriptions collection: one document a prescription, changed by its version (X1–X3)."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from pymongo import ASCENDING, DESCENDING, IndexModel

from care.accounts import Caller, Role
from care.effects import Outgoing
from care.prescriptions import Prescription, PrescriptionState
from storage.database import Database, Document, Session
from storage.outbox import Outbox

INDEXES = [
    # a request sent again
    IndexModel([("request", ASCENDING)], unique=True),
    # a doctor's list, newest first, whole or by state
    IndexModel([("doctor.id", ASCENDING), ("_id", DESCENDING)]),
    IndexModel([("doctor.id", ASCENDING), ("state", ASCENDING), ("_id", DESCENDING)]),
    # a patient's: what was issued alone
    IndexModel([("patient", ASCENDING), ("issued", ASCENDING), ("_id", DESCENDING)]),
    # the pharmacists' queue, and everybody's by state
    IndexModel([("state", ASCENDING), ("_id", DESCENDING)]),
    # what a consultation led to
    IndexModel([("consultation", ASCENDING), ("_id", DESCENDING)]),
    # the clocks: only those that opened a room for questions have one
    IndexModel([("check_at", ASCENDING)], partialFilterExpression={"check_at": {"$type": "date"}}),
    # what a person took before
    IndexModel([("person.id", ASCENDING), ("_id", DESCENDING)]),
]


class Prescriptions:
    def __init__(self, database: Database, outbox: Outbox) -> None:
        self._prescriptions = database["prescriptions"]
        self._run = database.run
        self._outbox = outbox

    async def ensure_indexes(self) -> None:
        await self._prescriptions.create_indexes(INDEXES)

    async def create(self, p: Prescription) -> Prescription:
        """Store a draft, or give the one an earlier try of the request stored."""
        stored = await self._prescriptions.find_one_and_update(
            {"request": p.request},
            {"$setOnInsert": to_document(p)},
            upsert=True,
            return_document=True,
        )
        assert stored is not None, "an upsert always returns its document"  # noqa: S101 - for mypy
        return from_document(stored)

    async def replace(self, before: Prescription, after: Prescription, outgoing: Outgoing) -> bool:
        """Store the change unless somebody else changed it first; say whether it was stored."""

        async def work(session: Session) -> bool:
            known = {"_id": before.id, "version": before.version}
            result = await self._prescriptions.replace_one(
                known, to_document(after), session=session
            )
            if result.matched_count:
                await self._outbox.add(session, outgoing)
            return result.matched_count == 1

        return await self._run(work)

    async def get(self, prescription_id: str) -> Prescription | None:
        document = await self._prescriptions.find_one({"_id": prescription_id})
        return from_document(document) if document else None

    async def page(
        self,
        caller: Caller,
        states: Sequence[PrescriptionState] | None,
        consultation: str | None,
        before: str | None,
        limit: int,
    ) -> list[Prescription]:
        """List what the caller may see, newest first, older than the id `before`."""
        query = _visible(caller)
        if states is not None:
            query["state"] = {"$in": [s.value for s in states if _shown(caller, s)]}
        if consultation is not None:
            query["consultation"] = consultation
        if before:
            query["_id"] = {"$lt": before}
        found = self._prescriptions.find(query).sort("_id", DESCENDING).limit(limit)
        return [from_document(document) async for document in found]

    async def fill(
        self, session: Session, prescription_id: str, patient: str, order: str, now: datetime
    ) -> bool:
        """Mark it as ordered for its patient; no where it is not his, void, filled or expired."""
        usable = {
            "_id": prescription_id,
            "patient": patient,
            "state": PrescriptionState.APPROVED.value,
            "order": None,
            "decision.valid_until": {"$gt": now},
        }
        return await self._mark(session, usable, {"order": order})

    async def free(self, session: Session, prescription_id: str, order: str) -> None:
        """Let it be ordered again: this order came to nothing."""
        await self._mark(session, {"_id": prescription_id, "order": order}, {"order": None})

    async def deliver(self, session: Session, prescription_id: str, order: str) -> None:
        """Note that the medicine was had."""
        delivered = {"state": PrescriptionState.DELIVERED.value}
        await self._mark(session, {"_id": prescription_id, "order": order}, delivered)

    async def _mark(self, session: Session, known: Document, changes: Document) -> bool:
        # the version too: whoever read it before, and would make it void, must look again
        marked = await self._prescriptions.update_one(
            known, {"$set": changes, "$inc": {"version": 1}}, session=session
        )
        return marked.matched_count == 1

    async def claim_due(self, now: datetime, until: datetime) -> Prescription | None:
        """Take the one due longest; no other process is given it before `until`."""
        document = await self._prescriptions.find_one_and_update(
            {"check_at": {"$type": "date", "$lte": now}},
            {"$set": {"check_at": until}},
            sort=[("check_at", ASCENDING)],
        )
        return from_document(document) if document else None

    async def next_check(self) -> datetime | None:
        """Tell when the next clock is to be looked at."""
        found = await self._prescriptions.find_one(
            {"check_at": {"$type": "date"}}, {"check_at": 1}, sort=[("check_at", ASCENDING)]
        )
        return found["check_at"] if found else None

    async def postpone(self, p: Prescription, check_at: datetime) -> None:
        """Look at it again at this time, unless it changed meanwhile."""
        await self._prescriptions.update_one(
            {"_id": p.id, "version": p.version}, {"$set": {"check_at": check_at}}
        )

    async def of_person(self, person_id: str, limit: int) -> list[Prescription]:
        """List a person's, newest first."""
        found = self._prescriptions.find({"person.id": person_id})
        found = found.sort("_id", DESCENDING).limit(limit)
        return [from_document(document) async for document in found]


def _visible(caller: Caller) -> Document:
    match caller.role:
        case Role.PATIENT:
            return {"patient": caller.user, "issued": True}
        case Role.DOCTOR:
            return {"doctor.id": caller.user}
    seen = [s.value for s in PrescriptionState if _shown(caller, s)]
    return {"state": {"$in": seen}}


def _shown(caller: Caller, state: PrescriptionState) -> bool:
    # a draft is its doctor's alone
    return caller.role is Role.DOCTOR or state is not PrescriptionState.DRAFT


def to_document(p: Prescription) -> Document:
    return {"_id": p.id, "issued": p.issued, **p.model_dump(exclude={"id"})}


def from_document(document: Mapping[str, Any]) -> Prescription:
    fields = {k: v for k, v in document.items() if k not in {"_id", "issued"}}
    return Prescription(id=document["_id"], **fields)
