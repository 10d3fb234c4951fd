"""The reviews' routes (E1, E2); a doctor's are with the directory."""

from dataclasses import replace
from typing import Annotated, Any

from pydantic import BaseModel, Field, StringConstraints

from care.ports import Clock
from care.reviews import Review
from companion.rest.consultations import PATIENT
from companion.rest.directory import ReviewView
from companion.rest.kernel import Body, Call, Route
from companion.rest.paging import Listed, PageQuery, marked, marked_page
from companion.reviews import ReviewService


class NewReview(Body):
    stars: Annotated[int, Field(ge=1, le=5)]
    label: Annotated[str, StringConstraints(min_length=1, max_length=20)] | None = None
    text: Annotated[str, StringConstraints(strip_whitespace=True, max_length=500)] = ""


class Reviewed(BaseModel):
    id: str
    name: str


class OwnReview(ReviewView):
    consultation: str
    doctor: Reviewed


class ReviewRoutes:
    def __init__(self, reviews: ReviewService, clock: Clock) -> None:
        self._reviews = reviews
        self._clock = clock

    def routes(self) -> list[Route]:
        rows = [
            Route("POST", "/consultations/{id}/review", self.write, body=NewReview, roles=PATIENT,
                  status=201, answer=ReviewView,
                  summary="Review a consultation that ended (评价), once"),
            Route("GET", "/me/reviews", self.mine, query=PageQuery, roles=PATIENT,
                  answer=Listed[OwnReview], summary="The own reviews, newest first"),
        ]  # fmt: skip
        return [replace(row, tag="reviews") for row in rows]

    async def write(self, call: Call) -> Any:
        body: NewReview = call.body
        request = call.creation_id(self._clock.now())
        made = await self._reviews.write(
            call.caller, call.path["id"], request, body.stars, body.label, body.text
        )
        return made.to_wire()

    async def mine(self, call: Call) -> Any:
        query: PageQuery = call.query
        found = await self._reviews.mine(call.caller, marked(query), query.limit + 1)
        return marked_page(found, query.limit, lambda r: r.id, _own)


def _own(review: Review) -> dict[str, Any]:
    reviewed = {"id": review.doctor, "name": review.doctor_name}
    return review.to_wire() | {"consultation": review.consultation, "doctor": reviewed}
