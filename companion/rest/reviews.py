"""The reviews' routes (E1, E2), the staff's among them; a doctor's are with the directory."""

from dataclasses import replace
from functools import partial
from typing import Annotated, Any

from pydantic import BaseModel, Field, StringConstraints

from care.accounts import STAFF
from care.ports import Clock
from care.reviews import Review
from companion.rest.consultations import PATIENT
from companion.rest.directory import ReviewView
from companion.rest.kernel import Body, Call, Route
from companion.rest.operator import Reason
from companion.rest.paging import HiddenQuery, Listed, PageQuery, marked, marked_page
from companion.reviews import ReviewService


class NewReview(Body):
    stars: Annotated[int, Field(ge=1, le=5)]
    label: Annotated[str, StringConstraints(min_length=1, max_length=20)] | None = None
    text: Annotated[str, StringConstraints(strip_whitespace=True, max_length=500)] = ""


class Reviewed(BaseModel):
    id: str
    name: str


class WholeReview(ReviewView):
    """As its author and the staff see it."""

    consultation: str
    doctor: Reviewed
    hidden: bool
    """The staff hid it: nobody else sees it, and it isn't counted."""


class ReviewRoutes:
    def __init__(self, reviews: ReviewService, clock: Clock) -> None:
        self._reviews = reviews
        self._clock = clock

    def routes(self) -> list[Route]:
        every, one = "/operator/reviews", "/operator/reviews/{id}"
        rows = [
            Route("POST", "/consultations/{id}/review", self.write, body=NewReview, roles=PATIENT,
                  status=201, answer=ReviewView,
                  summary="Review a consultation that ended (评价), once"),
            Route("GET", "/me/reviews", self.mine, query=PageQuery, roles=PATIENT,
                  answer=Listed[WholeReview], summary="The own reviews, newest first"),
            Route("GET", every, self.lately, query=HiddenQuery, roles=STAFF,
                  answer=Listed[WholeReview], summary="Reviews of any doctor, newest first"),
            Route("POST", f"{one}/hide", partial(self.hide, True), body=Reason, roles=STAFF,
                  status=204, summary="Hide it; its stars no longer count"),
            Route("POST", f"{one}/show", partial(self.hide, False), body=Reason, roles=STAFF,
                  status=204, summary="Show it again; its stars count again"),
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
        return marked_page(found, query.limit, lambda r: r.id, _whole)

    async def lately(self, call: Call) -> Any:
        query: HiddenQuery = call.query
        found = await self._reviews.lately(marked(query), query.limit + 1, hidden=query.hidden)
        return marked_page(found, query.limit, lambda r: r.id, _whole)

    async def hide(self, hidden: bool, call: Call) -> None:
        await self._reviews.hide(call.caller, call.path["id"], call.body.reason, hidden=hidden)


def _whole(review: Review) -> dict[str, Any]:
    return review.to_wire() | {
        "consultation": review.consultation,
        "doctor": {"id": review.doctor, "name": review.doctor_name},
        "hidden": review.hidden,
    }
