"""The messages collection: how a room's log is read. Only the log writes here, only by insert."""

import re
from collections.abc import Collection as Some
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from pymongo import ASCENDING, DESCENDING, IndexModel
from pymongo.errors import BulkWriteError

from care.rooms import MEMBER_KINDS, Activity, Fence, Head, Kind, Message, Sender
from storage.database import Database, Document

DUPLICATE_KEY = 11000

_MEMBER_KINDS = [kind.value for kind in MEMBER_KINDS]

INDEXES = [
    # I2: two processes can't give one number twice; also serves every read of a room in order
    IndexModel([("room", ASCENDING), ("seq", ASCENDING)], unique=True),
    # I3: a resend finds the first one, whatever the process
    IndexModel(
        [("room", ASCENDING), ("sender.id", ASCENDING), ("client_id", ASCENDING)], unique=True
    ),
    # the fence in force, when a room's head is loaded; few lines carry one
    IndexModel(
        [("room", ASCENDING), ("fence.version", DESCENDING), ("seq", DESCENDING)],
        partialFilterExpression={"fence.version": {"$gte": 0}},
    ),
    # which messages of a page were recalled
    IndexModel(
        [("room", ASCENDING), ("body.seq", ASCENDING)], partialFilterExpression={"kind": "recall"}
    ),
]


def to_document(message: Message) -> Document:
    """Lay a message out as stored."""
    document: Document = {
        "_id": message.id,
        "room": message.room,
        "seq": message.seq,
        "client_id": message.client_id,
        "sender": message.sender.to_wire(),
        "kind": message.kind.value,
        "body": dict(message.body),
        "at": message.at,
        "prev": message.prev,
        "hash": message.hash,
    }
    if message.fence:
        fence = message.fence
        document["fence"] = {
            "version": fence.version,
            "members": list(fence.members),
            "writers": list(fence.writers),
        }
    return document


def from_document(document: Mapping[str, Any]) -> Message:
    """Read a stored message back."""
    return Message(
        id=document["_id"],
        room=document["room"],
        seq=document["seq"],
        client_id=document["client_id"],
        sender=Sender(**document["sender"]),
        kind=Kind(document["kind"]),
        body=document["body"],
        at=document["at"],
        prev=document["prev"],
        hash=document["hash"],
        fence=_fence(document.get("fence")),
    )


def _fence(stored: Mapping[str, Any] | None) -> Fence | None:
    if stored is None:
        return None
    return Fence(stored["version"], tuple(stored["members"]), tuple(stored["writers"]))


class Messages:
    """Read rooms' logs."""

    def __init__(self, database: Database) -> None:
        self._db = database.db
        self._messages = database["messages"]

    async def ensure_indexes(self) -> None:
        await self._messages.create_indexes(INDEXES)

    async def insert(self, messages: Sequence[Message]) -> set[int]:
        """Insert in one write; return the positions left out since another writer was first.

        Messages of different rooms stand alone. Where a room has several the write stops at the
        first conflict, for a hole in a room would break its order and its chain.
        """
        ordered = len({m.room for m in messages}) < len(messages)
        try:
            await self._messages.insert_many([to_document(m) for m in messages], ordered=ordered)
        except BulkWriteError as error:
            met = duplicate_positions(error)
            return set(range(min(met), len(messages))) if ordered else met
        return set()

    async def heads(self, rooms: Some[str]) -> dict[str, Head]:
        """Read where these rooms' logs end; a room without messages has the empty head.

        The last line is read before the fence: a fence that comes in between is one line ahead of
        its head, so whoever writes behind that head meets a conflict, never an outdated fence.
        """
        newest = _newest("last", project={"seq": 1, "hash": 1, "at": 1})
        fenced = _newest(
            "fenced", match={"fence.version": {"$gte": 0}},
            sort={"fence.version": -1, "seq": -1}, project={"fence": 1},
        )  # fmt: skip
        heads = {}
        async for row in await self._of_rooms(rooms, newest, fenced):
            last = row["last"][0] if row["last"] else None
            head = Head(last["seq"], last["hash"], last["at"]) if last else Head()
            fence = _fence(row["fenced"][0]["fence"]) if row["fenced"] else None
            heads[row["room"]] = replace(head, fence=fence) if fence else head
        return heads

    async def activity(self, rooms: Some[str]) -> dict[str, Activity]:
        """Read who spoke last in these rooms, when, and which doctor did."""
        spoken = {"kind": {"$in": _MEMBER_KINDS}}
        answered = spoken | {"sender.role": "doctor"}
        found = {}
        cursor = await self._of_rooms(
            rooms,
            _newest("last", project={"seq": 1}),
            _newest("spoke", match=spoken, project={"at": 1, "sender.role": 1}),
            _newest("doctor", match=answered, project={"sender.id": 1}),
        )
        async for row in cursor:
            spoke = row["spoke"][0] if row["spoke"] else None
            found[row["room"]] = Activity(
                last_seq=row["last"][0]["seq"] if row["last"] else 0,
                last_at=spoke["at"] if spoke else None,
                last_role=spoke["sender"]["role"] if spoke else None,
                last_doctor=row["doctor"][0]["sender"]["id"] if row["doctor"] else None,
            )
        return found

    async def _of_rooms(self, rooms: Some[str], *lookups: Document) -> Any:
        """Ask the same of many rooms in one round trip."""
        documents = [{"room": room} for room in rooms]
        return await self._db.aggregate([{"$documents": documents}, *lookups])

    async def sent_before(self, keys: Iterable[tuple[str, str, str]]) -> list[Message]:
        """Find the messages already stored under these (room, sender, client_id), by seq."""
        either = [
            {"room": room, "sender.id": sender, "client_id": client_id}
            for room, sender, client_id in keys
        ]
        found = self._messages.find({"$or": either}).sort("seq", ASCENDING)
        return [from_document(d) async for d in found]

    async def fence_seq(self, room: str, version: int) -> int | None:
        """Tell which line began the record's state of this version, if one did yet."""
        query = {"room": room, "fence.version": version}
        found = await self._messages.find_one(query, {"seq": 1}, sort=[("seq", ASCENDING)])
        return found["seq"] if found else None

    async def one(self, room: str, seq: int) -> Message | None:
        document = await self._messages.find_one({"room": room, "seq": seq})
        return from_document(document) if document else None

    async def after(self, room: str, seq: int, limit: int) -> list[Message]:
        """Read up to `limit` messages that follow `seq`, oldest first."""
        found = self._messages.find({"room": room, "seq": {"$gt": seq}}).sort("seq", ASCENDING)
        return [from_document(d) async for d in found.limit(limit)]

    async def before(self, room: str, seq: int | None, limit: int) -> list[Message]:
        """Read the `limit` messages that precede `seq` (None: the newest), oldest first."""
        query: Document = {"room": room} | ({"seq": {"$lt": seq}} if seq is not None else {})
        found = self._messages.find(query).sort("seq", DESCENDING).limit(limit)
        return [from_document(d) async for d in found][::-1]

    async def recalled(self, room: str, first: int, last: int) -> set[int]:
        """Tell which messages of this stretch were recalled."""
        query = {"room": room, "kind": Kind.RECALL.value, "body.seq": {"$gte": first, "$lte": last}}
        found = self._messages.find(query, {"body.seq": 1})
        return {d["body"]["seq"] async for d in found}

    async def unread(self, user: str, marks: Mapping[str, int]) -> dict[str, int]:
        """Count what others wrote after each room's read mark."""
        if not marks:
            return {}
        either = [{"room": room, "seq": {"$gt": seq}} for room, seq in marks.items()]
        spoken = {"kind": {"$in": _MEMBER_KINDS}, "sender.id": {"$ne": user}}
        counted: list[Document] = [
            {"$match": {"$or": either} | spoken},
            {"$group": {"_id": "$room", "n": {"$sum": 1}}},
        ]
        return {d["_id"]: d["n"] async for d in await self._messages.aggregate(counted)}

    async def search(
        self, rooms: Some[str], text: str, before: str | None, limit: int
    ) -> list[Message]:
        """Find messages whose text contains `text`, newest first, older than the id `before`.

        A scan of the caller's own rooms through (room, seq); docs/decisions says why no text index.
        """
        query: Document = {
            "room": {"$in": list(rooms)},
            "kind": Kind.TEXT.value,
            "body.text": {"$regex": re.escape(text), "$options": "i"},
        }
        if before is not None:
            query["_id"] = {"$lt": before}
        found = self._messages.find(query).hint([("room", 1), ("seq", 1)])
        return [from_document(d) async for d in found.sort("_id", DESCENDING).limit(limit)]


def duplicate_positions(error: BulkWriteError) -> set[int]:
    """List which documents met a duplicate key. Raises the error again when it is another one."""
    details = error.details
    writes = details.get("writeErrors", [])
    if details.get("writeConcernErrors") or any(w["code"] != DUPLICATE_KEY for w in writes):
        raise error
    return {w["index"] for w in writes}


def _newest(
    name: str, *, match: Document | None = None, sort: Document | None = None, project: Document
) -> Document:
    """Look the newest fitting message of each row's room up."""
    steps: list[Document] = [{"$match": match}] if match else []
    steps += [{"$sort": sort or {"seq": -1}}, {"$limit": 1}, {"$project": project}]
    return {
        "$lookup": {
            "from": "messages", "localField": "room", "foreignField": "room",
            "pipeline": steps, "as": name,
        }
    }  # fmt: skip
