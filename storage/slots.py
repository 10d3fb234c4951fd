"""The slots collection: one document for each time of a doctor that is booked, held or blocked."""

from datetime import datetime

from pymongo import ASCENDING, IndexModel
from pymongo.errors import DuplicateKeyError

from care.bookings import Fate
from care.consultation import Consultation
from care.errors import Conflict
from care.record import new_id
from care.slots import Taking, ticks
from storage.database import Database, Document, Session

TAKEN = "该时段已被预约"


class Slots:
    def __init__(self, database: Database) -> None:
        self._slots = database["slots"]

    async def ensure_indexes(self) -> None:
        # B2: two takings that overlap share a tick, so whatever the schedules were there is one
        # for each time; also what a day's list is read by
        await self._slots.create_indexes(
            [IndexModel([("doctor", ASCENDING), ("ticks", ASCENDING)], unique=True)]
        )

    async def taken(self, doctor: str, begins: datetime, ends: datetime) -> list[Taking]:
        """List what of the time is taken, in its order."""
        within = {"$elemMatch": {"$gte": begins, "$lt": ends}}
        found = self._slots.find({"doctor": doctor, "ticks": within}).sort("starts_at", ASCENDING)
        names = Taking.model_fields
        return [Taking(**{name: d[name] for name in names}) async for d in found]

    async def refuse_taken(self, c: Consultation) -> None:
        """Refuse a booking that comes too late, before it costs a transaction. Raises Conflict."""
        if c.slot and await self.taken(c.doctor.id, c.slot.starts_at, c.slot.ends_at):
            raise Conflict(TAKEN)

    async def take(self, session: Session, c: Consultation) -> None:
        """Take the consultation's slot. Raises Conflict when somebody has it."""
        if c.slot is None:
            return
        document = _document(c.doctor.id, c.slot.starts_at, c.slot.ends_at, c.id)
        try:
            await self._slots.insert_one({"_id": c.id, **document}, session=session)
        except DuplicateKeyError:
            raise Conflict(TAKEN) from None

    async def give_up(self, session: Session, consultation_id: str, fate: Fate) -> None:
        """Free the slot of a consultation that closed, or keep it from others."""
        mine: Document = {"_id": consultation_id}
        if fate is Fate.FREE:
            await self._slots.delete_one(mine, session=session)
        else:
            await self._slots.update_one(mine, {"$set": {"consultation": None}}, session=session)

    async def block(
        self, doctor: str, starts_at: datetime, ends_at: datetime, now: datetime
    ) -> list[str]:
        """Keep a time from being booked; give the consultations that have it, which stay."""
        document = _document(doctor, starts_at, ends_at, None)
        try:
            await self._slots.insert_one({"_id": new_id(now), **document})
        except DuplicateKeyError:
            taken = await self.taken(doctor, starts_at, ends_at)
            return [t.consultation for t in taken if t.consultation]
        return []

    async def unblock(self, doctor: str, starts_at: datetime) -> None:
        """Free a time that nobody has booked; one that was booked meanwhile stays."""
        blocked = {"consultation": None, "starts_at": starts_at}
        await self._slots.delete_one({"doctor": doctor, "ticks": starts_at, **blocked})


def _document(
    doctor: str, starts_at: datetime, ends_at: datetime, consultation: str | None
) -> Document:
    return {
        "doctor": doctor,
        "starts_at": starts_at,
        "ends_at": ends_at,
        "ticks": ticks(starts_at, ends_at),
        "consultation": consultation,
    }
