"""The complaints' routes (投诉建议, K1)."""

from dataclasses import replace
from typing import Annotated, Any

from pydantic import BaseModel, Field, StringConstraints

from care.accounts import STAFF
from care.complaints import ComplaintAction, ComplaintState, Reason
from care.ports import Clock
from companion.complaints import ComplaintService
from companion.rest.consultations import PATIENT, Id
from companion.rest.kernel import Body, Call, Route
from companion.rest.paging import Listed, PageQuery, marked, marked_page, several
from companion.rest.people import Purpose

PARTIES = PATIENT | STAFF
IMAGES_MAX = 4

Said = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=1000)]


class NewComplaint(Body):
    reason: Reason
    text: Said
    images: tuple[Id, ...] = Field(default=(), max_length=IMAGES_MAX)
    contact: Annotated[str, StringConstraints(min_length=5, max_length=60)] | None = None
    """A phone number or an address to be reached by."""


class Answer(Body):
    text: Said


class ComplaintListing(PageQuery):
    state: str | None = Field(default=None, max_length=200)
    """One state, or several with commas."""


class OwnerView(BaseModel):
    id: str
    name: str


class ImageView(BaseModel):
    file: str
    url: str
    thumbnail_url: str


class ComplaintView(BaseModel):
    id: str
    owner: OwnerView
    reason: Reason
    text: str
    images: list[ImageView]
    has_contact: bool
    state: ComplaintState
    answer: str | None
    created_at: str
    answered_at: str | None
    closed_at: str | None


class ContactView(BaseModel):
    contact: str | None


class ComplaintRoutes:
    def __init__(self, complaints: ComplaintService, clock: Clock) -> None:
        self._complaints = complaints
        self._clock = clock

    def routes(self) -> list[Route]:
        every, one, view = "/complaints", "/complaints/{id}", ComplaintView
        rows = [
            Route("POST", every, self.send, body=NewComplaint, roles=PATIENT, status=201,
                  answer=view, summary="Send a complaint or a suggestion (投诉建议)"),
            Route("GET", every, self.list, query=ComplaintListing, roles=PARTIES,
                  answer=Listed[ComplaintView],
                  summary="The own ones, newest first; the staff's are everybody's"),
            Route("GET", one, self.get, roles=PARTIES, answer=view, summary="Show one"),
            Route("POST", f"{one}/answer", self.answer, body=Answer, roles=STAFF, answer=view,
                  summary="Answer it; its owner is told"),
            Route("POST", f"{one}/close", self.close, roles=PARTIES, answer=view,
                  summary="Close one that was answered"),
            Route("POST", f"{one}/reveal", self.reveal, body=Purpose, roles=STAFF,
                  answer=ContactView, summary="Show how to reach its owner, for a stated purpose"),
        ]  # fmt: skip
        return [replace(row, tag="complaints") for row in rows]

    async def send(self, call: Call) -> Any:
        body: NewComplaint = call.body
        made = await self._complaints.send(
            call.caller, call.creation_id(self._clock.now()), body.reason, body.text, body.images,
            body.contact,
        )  # fmt: skip
        return self._complaints.show(made, call.caller.user)

    async def list(self, call: Call) -> Any:
        query: ComplaintListing = call.query
        found = await self._complaints.page(
            call.caller, several(query.state, ComplaintState), marked(query), query.limit + 1
        )
        return marked_page(
            found, query.limit, lambda c: c.id, lambda c: self._complaints.show(c, call.caller.user)
        )

    async def get(self, call: Call) -> Any:
        found = await self._complaints.find(call.caller, call.path["id"])
        return self._complaints.show(found, call.caller.user)

    async def answer(self, call: Call) -> Any:
        return await self._act(call, ComplaintAction.ANSWER, call.body.text)

    async def close(self, call: Call) -> Any:
        return await self._act(call, ComplaintAction.CLOSE)

    async def _act(self, call: Call, action: ComplaintAction, text: str = "") -> Any:
        moved = await self._complaints.act(call.caller, call.path["id"], action, text)
        return self._complaints.show(moved, call.caller.user)

    async def reveal(self, call: Call) -> Any:
        purpose = call.body.purpose
        return {"contact": await self._complaints.reveal(call.caller, call.path["id"], purpose)}
