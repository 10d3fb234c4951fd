"""The consultations collection: one document a consultation, changed by its version."""

import asyncio
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from pymongo import ASCENDING, DESCENDING, IndexModel
from pymongo.errors import DuplicateKeyError

from care.accounts import Caller, Role
from care.attachments import FileKind
from care.bookings import spends_cancellation, took_slot
from care.consultation import OPEN, Because, Consultation, Mode, Search, State
from care.effects import Outgoing
from care.errors import Conflict
from care.transfer import Transfer, TransferState
from storage.cancellations import Cancellations
from storage.database import Database, Document, Session
from storage.doctors import Doctors
from storage.files import Files
from storage.outbox import Outbox
from storage.people import People
from storage.slots import Slots

_OPEN = sorted(OPEN)

BOOKING_AT_ONCE = 8
"""Of one process: a rush for one slot must not wait for itself in the pool of connections."""

_TRANSFERRED = {"transfers.id": {"$exists": True}}

INDEXES = [
    # C14: one open consultation between a patient, a doctor and a mode, whoever asks at once
    IndexModel(
        [("patient", ASCENDING), ("doctor.id", ASCENDING), ("mode", ASCENDING)],
        unique=True,
        partialFilterExpression={"open": True},
        name="one_open",
    ),
    # a request sent again
    IndexModel([("request", ASCENDING)], unique=True),
    IndexModel([("room", ASCENDING)], unique=True),
    # a member's lists, newest first, whole or by state
    IndexModel([("patient", ASCENDING), ("_id", DESCENDING)]),
    IndexModel([("patient", ASCENDING), ("state", ASCENDING), ("_id", DESCENDING)]),
    IndexModel([("doctor.id", ASCENDING), ("_id", DESCENDING)]),
    # also the doctor's queue, which is ordered by waiting_since within the state
    IndexModel([("doctor.id", ASCENDING), ("state", ASCENDING), ("_id", DESCENDING)]),
    # how many a doctor has in each state, from the index alone
    IndexModel([("doctor.id", ASCENDING), ("state", ASCENDING), ("waiting_since", ASCENDING)]),
    # the clocks: only open ones have a time at which they are looked at
    IndexModel([("check_at", ASCENDING)], partialFilterExpression={"open": True}),
    # the operator's search by order number, by day, and by state alone
    IndexModel([("order_no", ASCENDING)]),
    IndexModel([("created_at", DESCENDING)]),
    IndexModel([("state", ASCENDING), ("_id", DESCENDING)]),
    # an answer to a transfer, and the lists of those it concerns (T1, T2)
    IndexModel([("transfers.id", ASCENDING)], partialFilterExpression=_TRANSFERRED),
    IndexModel([("transfers.to_doctor.id", ASCENDING)], partialFilterExpression=_TRANSFERRED),
    IndexModel([("transfers.from_doctor.id", ASCENDING)], partialFilterExpression=_TRANSFERRED),
    # P4: is this person in an open consultation
    IndexModel([("person.id", ASCENDING)], partialFilterExpression={"open": True}),
]


def to_document(consultation: Consultation) -> Document:
    document = consultation.model_dump(exclude={"id"})
    return {"_id": consultation.id, "open": consultation.open, **document}


def from_document(document: Mapping[str, Any]) -> Consultation:
    fields = {k: v for k, v in document.items() if k not in {"_id", "open"}}
    return Consultation(id=document["_id"], **fields)


class Consultations:
    """Keep consultations; each change takes its effects along in one transaction."""

    def __init__(
        self,
        database: Database,
        outbox: Outbox,
        people: People,
        doctors: Doctors,
        files: Files,
        slots: Slots,
        cancellations: Cancellations,
    ) -> None:
        self._consultations = database["consultations"]
        self._run = database.run
        self._server_time = database.server_time
        self._outbox = outbox
        self._people = people
        self._doctors = doctors
        self._files = files
        self._slots = slots
        self._cancellations = cancellations
        self._booking = asyncio.Semaphore(BOOKING_AT_ONCE)

    async def ensure_indexes(self) -> None:
        await self._consultations.create_indexes(INDEXES)

    async def create(self, consultation: Consultation, outgoing: Outgoing) -> Consultation:
        """Store a new consultation, or return the one an earlier try of the request stored.

        Raises Conflict when one is open with this doctor in this mode or the slot is taken,
        Forbidden when the person was deleted meanwhile, or an image is somebody else's or used
        elsewhere.
        """
        existing = await self.requested(consultation.request)
        if existing is not None:
            return existing
        try:
            await self._store(consultation, outgoing)
        except (DuplicateKeyError, Conflict) as error:
            existing = await self.requested(consultation.request)
            if existing is not None:
                return existing
            if isinstance(error, Conflict):
                raise
            raise Conflict("您与该医生已有进行中的问诊") from error
        return consultation

    async def _store(self, c: Consultation, outgoing: Outgoing) -> None:
        if c.slot is None:
            await self._run(lambda session: self._insert(session, c, outgoing))
            return
        async with self._booking:
            await self._slots.refuse_taken(c)
            await self._run(lambda session: self._insert(session, c, outgoing))

    async def _insert(
        self, session: Session, consultation: Consultation, outgoing: Outgoing
    ) -> None:
        c = consultation
        await self._slots.take(session, c)
        await self._people.touch(session, c.patient, c.person.id)
        await self._files.claim_in(session, c.images, c.patient, c.room, FileKind.IMAGE)
        await self._consultations.insert_one(to_document(consultation), session=session)
        await self._outbox.add(session, outgoing)

    async def replace(self, before: Consultation, after: Consultation, outgoing: Outgoing) -> bool:
        """Store the change unless somebody else changed it first; say whether it was stored."""

        async def work(session: Session) -> bool:
            result = await self._consultations.replace_one(
                {"_id": before.id, "version": before.version}, to_document(after), session=session
            )
            if result.matched_count:
                await self._outbox.add(session, outgoing)
                await self._close(session, before, after)
            return bool(result.matched_count)

        try:
            return await self._run(work)
        except DuplicateKeyError as error:
            # a transfer's new doctor has one open with the patient already (C14)
            raise Conflict("患者与该医生已有进行中的问诊") from error

    async def _close(self, session: Session, before: Consultation, after: Consultation) -> None:
        """Store what the end means elsewhere. Raises Conflict for one cancellation too many."""
        if after.state is State.ENDED:
            await self._doctors.count_consultation(session, after.doctor.id)
        fate = took_slot(before, after)
        if fate is not None:
            await self._slots.give_up(session, after.id, fate)
        if spends_cancellation(before, after) and after.ended_at:
            await self._cancellations.spend(session, after.patient, after.ended_at)

    async def add_group(self, session: Session, consultation_id: str, group: str) -> None:
        """Note a group consultation with its consultation. Raises Conflict when that is over.

        The version moves, so that no end that didn't see the group can be stored after it.
        """
        running = {"_id": consultation_id, "state": State.IN_PROGRESS.value}
        change = {"$push": {"groups": group}, "$inc": {"version": 1}}
        result = await self._consultations.update_one(running, change, session=session)
        if not result.matched_count:
            raise Conflict("只有进行中的问诊可以发起会诊")

    async def postpone(self, consultation: Consultation, check_at: datetime) -> None:
        """Look at it again at this time, unless it changed meanwhile."""
        await self._consultations.update_one(
            {"_id": consultation.id, "version": consultation.version},
            {"$set": {"check_at": check_at}},
        )

    async def get(self, consultation_id: str) -> Consultation | None:
        return await self._one({"_id": consultation_id})

    async def requested(self, request: str) -> Consultation | None:
        return await self._one({"request": request})

    async def of_room(self, room: str) -> Consultation | None:
        return await self._one({"room": room})

    async def of_transfer(self, transfer_id: str) -> Consultation | None:
        return await self._one({"transfers.id": transfer_id})

    async def open_between(self, patient: str, doctor: str, mode: Mode) -> bool:
        """Say whether one is open between them in this mode (C14)."""
        pair = {"patient": patient, "doctor.id": doctor, "mode": mode.value, "open": True}
        return await self._consultations.find_one(pair, {"_id": 1}) is not None

    async def transfers(
        self, user: str, states: list[TransferState] | None, before: str | None, limit: int
    ) -> list[tuple[str, Transfer]]:
        """List the transfers that concern a user with their consultations', newest first."""
        wanted: Document = {}
        if states is not None:
            wanted["transfers.state"] = {"$in": [state.value for state in states]}
        if before:
            wanted["transfers.id"] = {"$lt": before}
        steps: list[Document] = [
            *_transfers_of(user),
            {"$match": wanted},
            {"$sort": {"transfers.id": DESCENDING}},
            {"$limit": limit},
        ]
        found = await self._consultations.aggregate(steps)
        return [(d["_id"], Transfer(**d["transfers"])) async for d in found]

    async def count_transfers(self, user: str) -> dict[str, int]:
        """Count the transfers that concern a user by state."""
        steps: list[Document] = [
            *_transfers_of(user),
            {"$group": {"_id": "$transfers.state", "n": {"$sum": 1}}},
        ]
        return {d["_id"]: d["n"] async for d in await self._consultations.aggregate(steps)}

    async def _one(self, query: Document) -> Consultation | None:
        document = await self._consultations.find_one(query)
        return from_document(document) if document else None

    async def may_read(self, user: str, room: str) -> bool:
        """Say whether the user is a member of the room: who may read its attachments (R6)."""
        consultation = await self.of_room(room)
        return consultation is not None and consultation.concerns(user)

    async def page(
        self, caller: Caller, states: list[State] | None, before: str | None, limit: int
    ) -> list[Consultation]:
        """List the caller's consultations, newest first, older than the id `before`."""
        query = _party(caller)
        if states:
            query["state"] = {"$in": [s.value for s in states]}
        if before:
            query["_id"] = {"$lt": before}
        found = self._consultations.find(query).sort("_id", DESCENDING).limit(limit)
        return [from_document(d) async for d in found]

    async def search(self, wanted: Search, before: str | None, limit: int) -> list[Consultation]:
        """List what the staff look for, newest first, older than the id `before`."""
        exact = {
            "state": wanted.state and wanted.state.value,
            "doctor.id": wanted.doctor,
            "patient": wanted.patient,
            "order_no": wanted.order_no,
        }
        query: Document = {name: value for name, value in exact.items() if value is not None}
        if wanted.begins and wanted.ends:
            query["created_at"] = {"$gte": wanted.begins, "$lt": wanted.ends}
        if before:
            query["_id"] = {"$lt": before}
        found = self._consultations.find(query).sort("_id", DESCENDING).limit(limit)
        return [from_document(d) async for d in found]

    async def running(self, limit: int) -> list[Consultation]:
        """List the open ones by the time at which the clock looks at them, the soonest first."""
        query = {"open": True, "check_at": {"$ne": None}}
        found = self._consultations.find(query).sort("check_at", ASCENDING).limit(limit)
        return [from_document(d) async for d in found]

    async def counts(self, caller: Caller) -> dict[str, int]:
        """Count the caller's consultations by state."""
        steps: list[Document] = [
            {"$match": _party(caller)},
            {"$group": {"_id": "$state", "n": {"$sum": 1}}},
        ]
        return {d["_id"]: d["n"] async for d in await self._consultations.aggregate(steps)}

    async def waiting(self, doctor: str) -> list[Consultation]:
        """List who waits for this doctor, first come first."""
        query = {"doctor.id": doctor, "state": State.AWAITING_DOCTOR.value, "slot": None}
        found = self._consultations.find(query).sort([("waiting_since", 1), ("_id", 1)])
        return [from_document(d) async for d in found]

    async def ahead(self, consultation: Consultation) -> int:
        """Count who waits longer for the same doctor."""
        first = {"waiting_since": {"$lt": consultation.waiting_since}}
        tied = {"waiting_since": consultation.waiting_since, "_id": {"$lt": consultation.id}}
        return await self._consultations.count_documents(
            {
                "doctor.id": consultation.doctor.id,
                "state": State.AWAITING_DOCTOR.value,
                "slot": None,
                "$or": [first, tied],
            }
        )

    async def claim_due(self, now: datetime, until: datetime) -> Consultation | None:
        """Take the open consultation due longest; no other process is given it before `until`."""
        document = await self._consultations.find_one_and_update(
            {"open": True, "check_at": {"$lte": now}},
            {"$set": {"check_at": until}},
            sort=[("check_at", ASCENDING)],
        )
        return from_document(document) if document else None

    async def next_check(self) -> datetime | None:
        """Tell when the next clock is to be looked at."""
        found = await self._consultations.find_one(
            {"open": True, "check_at": {"$ne": None}},
            {"check_at": 1},
            sort=[("check_at", ASCENDING)],
        )
        return found["check_at"] if found else None

    async def server_time(self) -> datetime:
        """Tell the time on the database server's own clock."""
        return await self._server_time()

    async def has_open(self, person_id: str) -> bool:
        """Say whether this person is in an open consultation (P4)."""
        query = {"person.id": person_id, "open": True}
        return await self._consultations.find_one(query, {"_id": 1}) is not None

    async def bookings(
        self,
        caller: Caller,
        states: list[State | Because] | None,
        before: str | None,
        limit: int,
    ) -> list[Consultation]:
        """List the caller's booked ones, newest first; `states` names open and closed ones."""
        query = _party(caller) | {"slot": {"$ne": None}}
        if states is not None:
            by_state: Document = {"state": {"$in": states}}
            query["$or"] = [by_state, {"closed_reason.because": {"$in": states}}]
        if before:
            query["_id"] = {"$lt": before}
        found = self._consultations.find(query).sort("_id", DESCENDING).limit(limit)
        return [from_document(d) async for d in found]

    async def among(self, consultations: list[str]) -> dict[str, Consultation]:
        """Give those of these that there are, by id."""
        found = self._consultations.find({"_id": {"$in": consultations}})
        return {d["_id"]: from_document(d) async for d in found}

    async def all_of(self, caller: Caller) -> list[Consultation]:
        """List every consultation the caller is a member of."""
        return [from_document(d) async for d in self._consultations.find(_party(caller))]


def _party(caller: Caller) -> Document:
    """Select the caller's own; a doctor's begin when they were paid."""
    if caller.role is Role.DOCTOR:
        return {"doctor.id": caller.user, "waiting_since": {"$ne": None}}
    return {"patient": caller.user}


def _transfers_of(user: str) -> list[Document]:
    """Select those of a user, one a document; the new doctor's begin when the patient agreed."""
    given, taken = {"transfers.from_doctor.id": user}, {"transfers.to_doctor.id": user}
    own: Document = {"patient": user}
    asked = taken | {"transfers.confirmed_at": {"$ne": None}}
    return [
        {"$match": _TRANSFERRED | {"$or": [own, given, taken]}},
        {"$project": {"patient": 1, "transfers": 1}},
        {"$unwind": "$transfers"},
        {"$match": {"$or": [own, given, asked]}},
    ]
