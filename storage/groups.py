"""The groups collection: one document a group consultation, changed by its version (G1–G3)."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from pymongo import ASCENDING, DESCENDING, IndexModel
from pymongo.errors import DuplicateKeyError

from care.effects import Outgoing
from care.errors import Conflict
from care.groups import Group, GroupState
from storage.consultations import Consultations
from storage.database import Database, Document, Session
from storage.outbox import Outbox

LIVE = {"live": True}
DERIVED = {"_id", "live", "in_room", "users"}


class Groups:
    """Keep groups; each change takes its effects along in one transaction."""

    def __init__(self, database: Database, outbox: Outbox, consultations: Consultations) -> None:
        self._consultations = consultations
        self._groups = database["groups"]
        self._run = database.run
        self._outbox = outbox

    async def ensure_indexes(self) -> None:
        await self._groups.create_indexes(
            [
                # a consultation has one live group, whoever opens two at once
                IndexModel(
                    [("consultation", ASCENDING)], unique=True, partialFilterExpression=LIVE
                ),
                IndexModel([("room", ASCENDING)], unique=True),
                # whom it concerns: his lists and counts
                IndexModel([("users", ASCENDING), ("_id", DESCENDING)]),
                # who is in its room: his rooms
                IndexModel([("in_room", ASCENDING), ("_id", DESCENDING)]),
                # the clocks
                IndexModel([("check_at", ASCENDING)], partialFilterExpression=LIVE),
            ]
        )

    async def create(self, group: Group, outgoing: Outgoing) -> None:
        """Store a new one. Raises Conflict when its consultation has a live one, or is over."""

        async def work(session: Session) -> None:
            await self._consultations.add_group(session, group.consultation, group.id)
            await self._groups.insert_one(_to_document(group), session=session)
            await self._outbox.add(session, outgoing)

        try:
            await self._run(work)
        except DuplicateKeyError:
            raise Conflict("该问诊已有进行中的会诊") from None

    async def replace(self, before: Group, after: Group, outgoing: Outgoing | None) -> bool:
        """Store the change unless somebody else changed it first; say whether it was stored."""

        async def work(session: Session) -> bool:
            same = {"_id": before.id, "version": before.version}
            result = await self._groups.replace_one(same, _to_document(after), session=session)
            if result.matched_count and outgoing:
                await self._outbox.add(session, outgoing)
            return bool(result.matched_count)

        return await self._run(work)

    async def get(self, group_id: str) -> Group | None:
        return await self._one({"_id": group_id})

    async def among(self, groups: Sequence[str]) -> list[Group]:
        """Give these groups, the first one opened first."""
        found = self._groups.find({"_id": {"$in": list(groups)}}).sort("_id", ASCENDING)
        return [_from_document(d) async for d in found]

    async def of_room(self, room: str) -> Group | None:
        return await self._one({"room": room})

    async def live_of(self, consultation: str) -> Group | None:
        return await self._one({"consultation": consultation, **LIVE})

    async def _one(self, query: Document) -> Group | None:
        document = await self._groups.find_one(query)
        return _from_document(document) if document else None

    async def page(
        self, user: str, states: list[GroupState] | None, before: str | None, limit: int
    ) -> list[Group]:
        """List those that concern a user, newest first, older than the id `before`."""
        query: Document = {"users": user}
        if states is not None:
            query["state"] = {"$in": [state.value for state in states]}
        return await self._page(query, before, limit)

    async def rooms_of(self, user: str, before: str | None, limit: int) -> list[Group]:
        """List those in whose room a user is, newest first, older than the id `before`."""
        return await self._page({"in_room": user}, before, limit)

    async def _page(self, query: Document, before: str | None, limit: int) -> list[Group]:
        if before:
            query["_id"] = {"$lt": before}
        found = self._groups.find(query).sort("_id", DESCENDING).limit(limit)
        return [_from_document(d) async for d in found]

    async def all_rooms_of(self, user: str) -> list[str]:
        """List every room a user is in."""
        found = self._groups.find({"in_room": user}, {"room": 1})
        return [d["room"] async for d in found]

    async def counts(self, user: str) -> dict[str, int]:
        """Count a user's by state; `invited` are the live ones that wait for his answer."""
        steps: list[Document] = [
            {"$match": {"users": user}},
            {"$group": {"_id": "$state", "n": {"$sum": 1}}},
        ]
        counts = {d["_id"]: d["n"] async for d in await self._groups.aggregate(steps)}
        asked = {"users": user, **LIVE, "seats": {"$elemMatch": {"user": user, "state": "invited"}}}
        return counts | {"invited": await self._groups.count_documents(asked)}

    async def is_in(self, user: str, room: str) -> bool:
        return await self._groups.find_one({"in_room": user, "room": room}, {"_id": 1}) is not None

    async def reads_case(self, user: str, room: str) -> bool:
        """Say whether the user sees a consultation's case in the room of one of its groups."""
        query = {"in_room": user, "source_room": room}
        return await self._groups.find_one(query, {"_id": 1}) is not None

    async def claim_due(self, now: datetime, until: datetime) -> Group | None:
        """Take the live group due longest; no other process is given it before `until`."""
        document = await self._groups.find_one_and_update(
            {**LIVE, "check_at": {"$lte": now}},
            {"$set": {"check_at": until}},
            sort=[("check_at", ASCENDING)],
        )
        return _from_document(document) if document else None

    async def next_check(self) -> datetime | None:
        """Tell when the next clock is to be looked at."""
        found = await self._groups.find_one(
            {**LIVE, "check_at": {"$ne": None}}, {"check_at": 1}, sort=[("check_at", ASCENDING)]
        )
        return found["check_at"] if found else None

    async def postpone(self, group: Group, check_at: datetime) -> None:
        """Look at it again at this time, unless it changed meanwhile."""
        await self._groups.update_one(
            {"_id": group.id, "version": group.version}, {"$set": {"check_at": check_at}}
        )


def _to_document(group: Group) -> Document:
    derived = {"live": group.live, "in_room": list(group.members), "users": list(group.users)}
    return {"_id": group.id, **derived, **group.model_dump(exclude={"id"})}


def _from_document(document: Mapping[str, Any]) -> Group:
    fields = {k: v for k, v in document.items() if k not in DERIVED}
    return Group(id=document["_id"], **fields)
