"""The reviews collection: what patients said of their doctors (D3, E1, E2)."""

from pymongo import ASCENDING, DESCENDING, IndexModel
from pymongo.errors import DuplicateKeyError

from care.errors import Conflict, Forbidden
from care.reviews import Review
from storage.database import Database, Document, Session
from storage.doctors import Doctors
from storage.turns import Turns

SHOWN = {"$ne": True}
"""What `hidden` is of a review that isn't, also of one stored before any could be."""


class Reviews:
    """Keeps reviews, and what those that are shown make of their doctor, in one transaction."""

    def __init__(self, database: Database, doctors: Doctors) -> None:
        self._reviews = database["reviews"]
        self._run = database.run
        self._doctors = doctors
        self._turns = Turns()

    async def ensure_indexes(self) -> None:
        await self._reviews.create_indexes(
            [
                # a doctor's list, newest first
                IndexModel([("doctor", ASCENDING), ("_id", DESCENDING)]),
                # a patient's own, newest first
                IndexModel([("patient", ASCENDING), ("_id", DESCENDING)]),
                # once a consultation (E1)
                IndexModel([("consultation", ASCENDING)], unique=True),
                # what the staff hid, a few of all, newest first
                IndexModel(
                    [("hidden", ASCENDING), ("_id", DESCENDING)],
                    partialFilterExpression={"hidden": True},
                ),
            ]
        )

    async def add(self, review: Review) -> Review:
        """Store it and count it with its doctor, or give the one an earlier try stored.

        Raises Conflict when the consultation was reviewed before.
        """

        async def work(session: Session) -> None:
            document = {"_id": review.id, **review.model_dump(exclude={"id"})}
            await self._reviews.insert_one(document, session=session)
            await self._doctors.count_review(session, review, 1)

        if known := await self._known(review):
            return known
        try:
            await self._run(work)
        except DuplicateKeyError:
            return await self._known(review) or review
        return review

    async def hide(self, review: Review, *, hidden: bool) -> None:
        """Hide it and stop counting it, or the reverse; doing so twice changes nothing."""

        async def work(session: Session) -> None:
            result = await self._reviews.update_one(
                {"_id": review.id, "hidden": SHOWN if hidden else True},
                {"$set": {"hidden": hidden}},
                session=session,
            )
            if result.matched_count:
                await self._doctors.count_review(session, review, -1 if hidden else 1)

        async with self._turns.of(review.doctor):
            await self._run(work)

    async def get(self, review_id: str) -> Review:
        """Give a review, hidden or not. Raises Forbidden where there is none."""
        found = await self._reviews.find_one({"_id": review_id})
        if found is None:
            raise Forbidden
        return _to_review(found)

    async def _known(self, review: Review) -> Review | None:
        """Give what an earlier try stored. Raises Conflict for another review."""
        found = await self._reviews.find_one({"consultation": review.consultation})
        if found is not None and found["request"] != review.request:
            raise Conflict("您已评价过本次问诊")
        return _to_review(found) if found else None

    async def of(self, doctor: str, before: str | None, limit: int) -> list[Review]:
        """List a doctor's reviews that are shown, newest first, older than the id `before`."""
        return await self._page({"doctor": doctor, "hidden": SHOWN}, before, limit)

    async def by(self, patient: str, before: str | None, limit: int) -> list[Review]:
        """List a patient's own, hidden or not, newest first, older than the id `before`."""
        return await self._page({"patient": patient}, before, limit)

    async def lately(self, before: str | None, limit: int, *, hidden: bool) -> list[Review]:
        """List anybody's that are hidden, or are not, newest first, older than the id `before`."""
        return await self._page({"hidden": True if hidden else SHOWN}, before, limit)

    async def _page(self, query: Document, before: str | None, limit: int) -> list[Review]:
        if before:
            query["_id"] = {"$lt": before}
        found = self._reviews.find(query).sort("_id", DESCENDING).limit(limit)
        return [_to_review(d) async for d in found]


def _to_review(document: Document) -> Review:
    return Review(id=document["_id"], **{k: v for k, v in document.items() if k != "_id"})
