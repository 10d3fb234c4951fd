"""The calls collection: one document a call, changed by its version."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from pymongo import ASCENDING, DESCENDING, IndexModel
from pymongo.errors import DuplicateKeyError
from pymongo.read_concern import ReadConcern
from pymongo.write_concern import WriteConcern

from care.calls import Call
from care.effects import Outgoing
from care.errors import Conflict
from storage.database import Database, Document, Session
from storage.outbox import Outbox

LIVE = {"live": True}
PAGE = 100
BUSY = "您或对方正在通话中"


class Calls:
    """Keep calls; each change takes its effects along in one transaction.

    What only moves the negotiation on is written without waiting for the disk: it is worth nothing
    after a crash, and is read back from the primary's memory.
    """

    def __init__(self, database: Database, outbox: Outbox) -> None:
        self._calls = database["calls"]
        self._quick = self._calls.with_options(
            write_concern=WriteConcern(w=1), read_concern=ReadConcern("local")
        )
        self._run = database.run
        self._outbox = outbox

    async def ensure_indexes(self) -> None:
        await self._calls.create_indexes(
            [
                # nobody is in two calls at once, on whatever node they begin
                IndexModel([("live_users", ASCENDING)], unique=True, partialFilterExpression=LIVE),
                # the clocks: only live calls have a time at which they are looked at
                IndexModel([("check_at", ASCENDING)], partialFilterExpression=LIVE),
                # a room has one live call, whoever of its doctors begins two at once
                IndexModel([("room", ASCENDING)], unique=True, partialFilterExpression=LIVE),
                # a consultation's calls, newest first
                IndexModel([("consultation", ASCENDING), ("_id", DESCENDING)]),
            ]
        )

    async def create(self, call: Call, outgoing: Outgoing) -> None:
        """Store a ringing call. Raises Conflict when one of its users is in another."""

        async def work(session: Session) -> None:
            await self._calls.insert_one(_to_document(call), session=session)
            await self._outbox.add(session, outgoing)

        try:
            await self._run(work)
        except DuplicateKeyError:
            raise Conflict(BUSY) from None

    async def replace(self, before: Call, after: Call, outgoing: Outgoing | None) -> bool:
        """Store the change unless somebody else changed it first; say whether it was stored.

        Raises Conflict when somebody who comes to it is in another.
        """
        same = {"_id": before.id, "version": before.version}
        if outgoing is None:
            try:
                result = await self._quick.replace_one(same, _to_document(after))
            except DuplicateKeyError:
                raise Conflict(BUSY) from None
            return bool(result.matched_count)

        async def work(session: Session) -> bool:
            result = await self._calls.replace_one(same, _to_document(after), session=session)
            if result.matched_count:
                await self._outbox.add(session, outgoing)
            return bool(result.matched_count)

        try:
            return await self._run(work)
        except DuplicateKeyError:
            raise Conflict(BUSY) from None

    async def get(self, call_id: str) -> Call | None:
        document = await self._quick.find_one({"_id": call_id})
        return _from_document(document) if document else None

    async def live_of(self, user: str) -> Call | None:
        """Give the call the user is in or rung for."""
        document = await self._quick.find_one({"live_users": user, **LIVE})
        return _from_document(document) if document else None

    async def live_in(self, room: str) -> Call | None:
        """Give the call that runs in a group's room."""
        document = await self._quick.find_one({"room": room, **LIVE})
        return _from_document(document) if document else None

    async def of_consultation(self, consultation_id: str) -> list[Call]:
        found = self._calls.find({"consultation": consultation_id}).sort("_id", DESCENDING)
        return [_from_document(document) async for document in found.limit(PAGE)]

    async def claim_due(self, now: datetime, until: datetime) -> Call | None:
        """Take the live call due longest; no other process is given it before `until`."""
        document = await self._quick.find_one_and_update(
            {**LIVE, "check_at": {"$lte": now}},
            {"$set": {"check_at": until}},
            sort=[("check_at", ASCENDING)],
        )
        return _from_document(document) if document else None

    async def next_check(self) -> datetime | None:
        """Tell when the next clock is to be looked at."""
        found = await self._quick.find_one(LIVE, {"check_at": 1}, sort=[("check_at", ASCENDING)])
        return found["check_at"] if found else None

    async def postpone(self, call: Call, check_at: datetime) -> None:
        """Look at it again at this time, unless it changed meanwhile."""
        await self._quick.update_one(
            {"_id": call.id, "version": call.version}, {"$set": {"check_at": check_at}}
        )


def _to_document(call: Call) -> Document:
    document = call.model_dump(exclude={"id"})
    users = [party.user for party in call.engaged] if call.live else []
    return {"_id": call.id, "live": call.live, "live_users": users, **document}


def _from_document(document: Mapping[str, Any]) -> Call:
    fields = {k: v for k, v in document.items() if k not in {"_id", "live", "live_users"}}
    return Call(id=document["_id"], **fields)
