"""The doctors collection: the directory's entry of each doctor, `_id` his account's (D1–D3, D6)."""

import re
from collections.abc import Collection as Some
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from pymongo import ASCENDING, DESCENDING, IndexModel

from care.directory import RATING_WHOLE, Doctor, Order, Rank, Search
from care.ports import Clock
from storage.database import Database, Document, Session

HEARTBEAT = "heartbeat"
STORED_BESIDE = {"_id", "rating", "grams", "sources", "rank"}

SORTED_BY: Mapping[Order, str] = {
    Order.RELEVANCE: "recommended",
    Order.RATING: "rating",
    Order.COUNT: "consultation_count",
}


def _order(first: str) -> dict[str, int]:
    """Give the order of a list, by what stands first; the id makes it a total one."""
    return {first: DESCENDING, "consultation_count": DESCENDING, "_id": ASCENDING}


INDEXES = [
    # the usual filters; a title alone is too common among doctors to be worth an index
    IndexModel([("department", ASCENDING), ("title", ASCENDING)]),
    # few of all doctors are online at a time, so this narrows best where it is asked for
    IndexModel([("online_until", DESCENDING)]),
    # a list without a text is read in its order, as far as the page goes
    *(IndexModel(list(_order(first).items())) for first in SORTED_BY.values()),
    # any part of the texts: each character of them, and each two that stand together
    IndexModel([("grams", ASCENDING)]),
]


class Doctors:
    """Keeps doctors, and the pieces of the texts they are found by any part of."""

    def __init__(self, database: Database, node: str, clock: Clock) -> None:
        self._doctors = database["doctors"]
        self._node = node
        self._clock = clock

    async def ensure_indexes(self) -> None:
        await self._doctors.create_indexes(INDEXES)
        # who was stored before there were grams
        async for document in self._doctors.find({"grams": None}):
            grams = _grams(_to_doctor(document))
            await self._doctors.update_one({"_id": document["_id"]}, {"$set": {"grams": grams}})

    async def add(self, doctor: Doctor) -> None:
        """Store a new doctor; one that is there stays as it is."""
        document = _to_document(doctor)
        await self._doctors.update_one(
            {"_id": document.pop("_id")}, {"$setOnInsert": document}, upsert=True
        )

    async def find(self, doctor_id: str) -> Doctor | None:
        found = await self._doctors.find_one({"_id": doctor_id})
        return _to_doctor(found) if found else None

    async def among(self, doctor_ids: Some[str]) -> dict[str, Doctor]:
        """Give those of these that there are, by id."""
        found = self._doctors.find({"_id": {"$in": list(doctor_ids)}})
        return {d["_id"]: _to_doctor(d) async for d in found}

    async def search(
        self, search: Search, after: Rank | None, limit: int
    ) -> list[tuple[Rank, Doctor]]:
        """List who is found, best first, beginning behind `after`."""
        first = SORTED_BY[search.order]
        steps: list[Document] = [{"$match": _matching(search, self._clock.now())}]
        if search.text and search.order is Order.RELEVANCE:
            first = "rank"
            steps.append({"$set": {first: _score(search.text)}})
        steps += [
            {"$match": _behind(first, after) if after else {}},
            {"$sort": _order(first)},
            {"$limit": limit},
        ]
        return [
            (Rank(score=int(d[first]), count=d["consultation_count"], id=d["_id"]), _to_doctor(d))
            async for d in await self._doctors.aggregate(steps)
        ]

    async def recommend(self, doctor: str, *, recommended: bool) -> None:
        """Show a doctor on the home page, or no longer (D4)."""
        await self._doctors.update_one({"_id": doctor}, {"$set": {"recommended": recommended}})

    async def keep_online(self, doctors: Some[str], until: datetime) -> None:
        """Count these as online until then by this node's sockets."""
        await self._online_by(self._node, doctors, until)

    async def heard_from(self, doctor: str, until: datetime) -> bool:
        """Count a doctor as online until then by his heartbeat; say whether there is such a one."""
        return await self._online_by(HEARTBEAT, [doctor], until) == 1

    async def _online_by(self, source: str, doctors: Some[str], until: datetime) -> int:
        """Replace what one source says, and count how many doctors it is said of.

        One is online as long as any source says so: that the last socket left one node takes
        nobody away who is still on another.
        """
        others: Document = {
            "$filter": {
                "input": {"$ifNull": ["$sources", []]},
                "cond": {
                    "$and": [
                        {"$ne": ["$$this.source", source]},
                        {"$gt": ["$$this.until", self._clock.now()]},
                    ]
                },
            }
        }
        said = [{"source": source, "until": until}]
        result = await self._doctors.update_many(
            {"_id": {"$in": list(doctors)}},
            [
                {"$set": {"sources": {"$concatArrays": [others, {"$literal": said}]}}},
                {"$set": {"online_until": {"$max": "$sources.until"}}},
            ],
        )
        return result.matched_count

    async def show_avatar(self, session: Session, doctor: str, avatar: str) -> None:
        """Show the account's picture in the directory, where the account is a doctor's (A8)."""
        await self._doctors.update_one(
            {"_id": doctor}, {"$set": {"avatar": avatar}}, session=session
        )

    async def count_consultation(self, session: Session, doctor: str) -> None:
        """Count one more (D2), in the transaction of the change that makes it count."""
        await self._doctors.update_one(
            {"_id": doctor}, {"$inc": {"consultation_count": 1}}, session=session
        )

    async def count_review(self, session: Session, doctor: str, *, positive: bool) -> None:
        """Count one more review and the rate it makes, in the review's own transaction (E1)."""
        counted: Document = {"review_count": {"$add": ["$review_count", 1]}}
        if positive:
            counted["positive_count"] = {"$add": ["$positive_count", 1]}
        whole = {"$multiply": ["$positive_count", RATING_WHOLE]}
        rating = {"$toInt": {"$floor": {"$divide": [whole, "$review_count"]}}}
        await self._doctors.update_one(
            {"_id": doctor},
            [{"$set": counted}, {"$set": {"rating": rating}}],
            session=session,
        )


def _matching(search: Search, now: datetime) -> Document:
    query: Document = {}
    if search.department is not None:
        query["department"] = search.department
    if search.title is not None:
        query["title"] = search.title.value
    if search.online is not None:
        live = {"$gt": now}
        query["online_until"] = live if search.online else {"$not": live}
    if search.recommended is not None:
        query["recommended"] = search.recommended
    if search.text:
        query["grams"] = {"$all": _pieces(search.text)}
        # the pieces may stand apart; the text is the user's: escaped, it is no pattern any more
        words = {"$regex": re.escape(search.text), "$options": "i"}
        query["$or"] = [{field: words} for field in ("name", "speciality", "diseases")]
    return query


def _pieces(text: str) -> list[str]:
    """Give the grams that a text made of this one has: all pairs, or the one character."""
    folded = text.casefold()
    return [folded[i : i + 2] for i in range(max(len(folded) - 1, 1))]


def _grams(doctor: Doctor) -> list[str]:
    texts = (doctor.name, doctor.speciality, *doctor.diseases)
    pairs = {pair for text in texts if text for pair in _pieces(text)}
    return sorted(pairs | {character for pair in pairs for character in pair})


def _score(text: str) -> Any:
    """Give the number a search for this text is ordered by, as an expression over a doctor."""
    recommended = {"$cond": ["$recommended", 1, 0]}
    literal = {"$literal": text}
    named = {"$gte": [{"$indexOfCP": ["$name", literal]}, 0]}
    by_name = {"$cond": [{"$eq": ["$name", literal]}, 4, {"$cond": [named, 2, 0]}]}
    return {"$add": [by_name, recommended]}


def _behind(first: str, after: Rank) -> Document:
    score = bool(after.score) if first == "recommended" else after.score
    same_score = {first: score}
    same_count = {**same_score, "consultation_count": after.count}
    return {
        "$or": [
            {first: {"$lt": score}},
            {**same_score, "consultation_count": {"$lt": after.count}},
            {**same_count, "_id": {"$gt": after.id}},
        ]
    }


def _to_document(doctor: Doctor) -> Document:
    """`rating` is kept to sort by: without reviews one stands behind all others."""
    rating = -1 if doctor.rating is None else doctor.rating
    fields = doctor.model_dump(exclude={"id"})
    fields |= {"title": doctor.title.value, "rating": rating, "grams": _grams(doctor)}
    return {"_id": doctor.id, **fields}


def _to_doctor(document: Document) -> Doctor:
    fields = {k: v for k, v in document.items() if k not in STORED_BESIDE}
    return Doctor(id=document["_id"], **fields)
