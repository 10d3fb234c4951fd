"""The use cases of reviews: writing one, reading one's own, what the staff hides (E1, E2)."""

from typing import Protocol

from care.accounts import Caller
from care.consultation import Consultation
from care.errors import Forbidden
from care.ports import Audit, Clock
from care.reviews import Review, review_of
from storage.reviews import Reviews


class ConsultationSource(Protocol):
    async def get(self, consultation_id: str) -> Consultation | None: ...


class ReviewService:
    def __init__(
        self, store: Reviews, consultations: ConsultationSource, audit: Audit, clock: Clock
    ) -> None:
        self._store = store
        self._consultations = consultations
        self._audit = audit
        self._clock = clock

    async def write(
        self, caller: Caller, consultation: str, request: str, stars: int, label: str | None,
        text: str,
    ) -> Review:  # fmt: skip
        """Review a consultation that ended, once. Raises Forbidden, Conflict."""
        found = await self._consultations.get(consultation)
        if found is None or found.patient != caller.user:
            raise Forbidden
        review = review_of(found, request, stars, label, text, self._clock.now())
        return await self._store.add(review)

    async def mine(self, caller: Caller, before: str | None, limit: int) -> list[Review]:
        return await self._store.by(caller.user, before, limit)

    async def lately(self, before: str | None, limit: int, *, hidden: bool) -> list[Review]:
        return await self._store.lately(before, limit, hidden=hidden)

    async def hide(self, caller: Caller, review_id: str, reason: str, *, hidden: bool) -> None:
        """Hide a review, or show it again, for the staff's reason. Raises Forbidden."""
        review = await self._store.get(review_id)
        action = "review_hidden" if hidden else "review_shown"
        details = {"of": review.id}
        await self._audit.record(caller.user, action, review.patient, reason, details)
        await self._store.hide(review, hidden=hidden)
