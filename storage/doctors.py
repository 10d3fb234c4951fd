"""The doctors collection: the directory's entry of each doctor, `_id` his account's (D1–D4, D6)."""

import re
from collections.abc import Collection as Some
from datetime import datetime
from typing import Any

from pymongo import ASCENDING, DESCENDING, IndexModel

from care.accounts import Account
from care.directory import RATING_WHOLE, Doctor, Order, Rank, Search
from care.ports import Clock
from care.reviews import Review
from storage.database import Database, Document, Session

HEARTBEAT = "heartbeat"
STORED_BESIDE = {"_id", "rating", "sources", "rank", "grams"}
TEXTS = ("name", "speciality", "diseases")
UNRATED = -1
"""The rating of who has no reviews, to sort by: behind all others."""

INDEXES = [
    # the usual filters; a title alone is too common among doctors to be worth an index
    IndexModel([("department", ASCENDING), ("title", ASCENDING)]),
    # few of all doctors are online at a time, so this narrows best where it is asked for
    IndexModel([("online_until", DESCENDING)]),
    # words are looked for by their parts: Chinese has no spaces between them
    IndexModel([("grams", ASCENDING)]),
    # a list without words, in each order it is asked for
    IndexModel([("recommended", DESCENDING), ("consultation_count", DESCENDING), ("_id", 1)]),
    IndexModel([("rating", DESCENDING), ("consultation_count", DESCENDING), ("_id", 1)]),
    IndexModel([("consultation_count", DESCENDING), ("_id", 1)]),
]


class Doctors:
    """Keeps doctors. What is looked for narrows by its pairs of characters, then is compared."""

    def __init__(self, database: Database, node: str, clock: Clock) -> None:
        self._doctors = database["doctors"]
        self._node = node
        self._clock = clock

    async def ensure_indexes(self) -> None:
        await self._doctors.create_indexes(INDEXES)
        # those stored before words were looked for by their parts
        async for d in self._doctors.find({"grams": None}, dict.fromkeys(TEXTS, 1)):
            change = {"$set": {"grams": _grams_of(d)}}
            await self._doctors.update_one({"_id": d["_id"]}, change)

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
        field = _order_field(search)
        steps: list[Document] = [
            {"$match": _matching(search, self._clock.now())},
            *([{"$set": {"rank": _relevance(search.text)}}] if search.text else []),
            {"$match": _behind(field, after) if after else {}},
            {"$sort": {field: DESCENDING, "consultation_count": DESCENDING, "_id": ASCENDING}},
            {"$limit": limit},
        ]
        return [
            (Rank(score=int(d[field]), count=d["consultation_count"], id=d["_id"]), _to_doctor(d))
            async for d in await self._doctors.aggregate(steps)
        ]

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

    async def recommend(self, doctor: str, *, recommended: bool) -> None:
        """Show a doctor on the home page, or no longer (D4)."""
        await self._doctors.update_one({"_id": doctor}, {"$set": {"recommended": recommended}})

    async def show_account(self, session: Session, account: Account) -> None:
        """Show a doctor's name and picture as his account has them, in its transaction (A8)."""
        mine = {"_id": account.id}
        found = await self._doctors.find_one(mine, dict.fromkeys(TEXTS, 1), session=session)
        if found is None:
            return
        shown = {"name": account.name, "avatar": account.avatar}
        change = {"$set": shown | {"grams": _grams_of(found | shown)}}
        await self._doctors.update_one(mine, change, session=session)

    async def count_consultation(self, session: Session, doctor: str) -> None:
        """Count one more (D2), in the transaction of the change that makes it count."""
        await self._doctors.update_one(
            {"_id": doctor}, {"$inc": {"consultation_count": 1}}, session=session
        )

    async def count_review(self, session: Session, review: Review, more: int) -> None:
        """Count a review in or out, and the rate that makes, in its own transaction (E1)."""
        counted: Document = {"review_count": {"$add": ["$review_count", more]}}
        if review.positive:
            counted["positive_count"] = {"$add": ["$positive_count", more]}
        whole = {"$multiply": ["$positive_count", RATING_WHOLE]}
        share = {"$toInt": {"$floor": {"$divide": [whole, "$review_count"]}}}
        rating = {"$cond": [{"$gt": ["$review_count", 0]}, share, UNRATED]}
        await self._doctors.update_one(
            {"_id": review.doctor},
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
        query["grams"] = {"$all": _grams_sought(search.text)}
        # the text is the user's: escaped, it is no pattern any more
        words = {"$regex": re.escape(search.text), "$options": "i"}
        query["$or"] = [{field: words} for field in TEXTS]
    return query


def _order_field(search: Search) -> str:
    """Name the field a search is ordered by; `rank` is made while searching."""
    if search.order is Order.RATING:
        return "rating"
    if search.order is Order.COUNT:
        return "consultation_count"
    return "rank" if search.text else "recommended"


def _relevance(sought: str | None) -> Any:
    """Give how well a doctor answers to the words, as an expression over him."""
    text = {"$literal": sought}
    named = {"$gte": [{"$indexOfCP": ["$name", text]}, 0]}
    by_name = {"$cond": [{"$eq": ["$name", text]}, 4, {"$cond": [named, 2, 0]}]}
    return {"$add": [by_name, {"$cond": ["$recommended", 1, 0]}]}


def _behind(field: str, after: Rank) -> Document:
    score = bool(after.score) if field == "recommended" else after.score
    same_score = {field: score}
    same_count = {**same_score, "consultation_count": after.count}
    return {
        "$or": [
            {field: {"$lt": score}},
            {"$and": [same_score, {"consultation_count": {"$lt": after.count}}]},
            {**same_count, "_id": {"$gt": after.id}},
        ]
    }


def _grams_of(document: Document) -> list[str]:
    """Give every character and pair of characters of a doctor's texts."""
    texts = [document["name"], document["speciality"], *document["diseases"]]
    return sorted({gram for text in texts for gram in (*text.casefold(), *_pairs(text.casefold()))})


def _grams_sought(text: str) -> list[str]:
    text = text.casefold()
    return _pairs(text) or [text]


def _pairs(text: str) -> list[str]:
    return [text[at : at + 2] for at in range(len(text) - 1)]


def _to_document(doctor: Doctor) -> Document:
    """`rating` is kept to sort by."""
    rating = UNRATED if doctor.rating is None else doctor.rating
    fields = doctor.model_dump(exclude={"id"})
    document = {"_id": doctor.id, **fields, "title": doctor.title.value, "rating": rating}
    return document | {"grams": _grams_of(document)}


def _to_doctor(document: Document) -> Doctor:
    fields = {k: v for k, v in document.items() if k not in STORED_BESIDE}
    return Doctor(id=document["_id"], **fields)
