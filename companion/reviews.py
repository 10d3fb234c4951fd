"""The use cases of reviews: writing one, reading one's own (E1, E2)."""

from typing import Protocol

from care.accounts import Caller
from care.consultation import Consultation
from care.errors import Forbidden
from care.ports import Clock
from care.reviews import Review, review_of
from storage.reviews import Reviews


class ConsultationSource(Protocol):
    async def get(self, consultation_id: str) -> Consultation | None: ...


class ReviewService:
    def __init__(self, store: Reviews, consultations: ConsultationSource, clock: Clock) -> None:
        self._store = store
        self._consultations = consultations
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
