"""The routes of the directory and of favourites (D1–D6)."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Annotated, Any

from pydantic import BaseModel, Field, StringConstraints

from care.accounts import STAFF, Role
from care.consultation import Mode
from care.directory import NO_BIO, Doctor, Order, Rank, Search, Title, price_label
from care.ports import Clock, FileUrls
from care.record import wire_time
from companion.directory import Directory
from companion.rest.kernel import Call, Route
from companion.rest.paging import (
    Listed,
    OlderThan,
    PageQuery,
    Position,
    marked,
    page,
    read_cursor,
)

DOCTOR = frozenset({Role.DOCTOR})
Words = Annotated[str, StringConstraints(strip_whitespace=True, max_length=50)]


class DoctorQuery(PageQuery):
    q: Words | None = None
    department: Words | None = None
    title: Title | None = None
    online: bool | None = None
    recommended: bool | None = None
    """The home page's doctors (推荐医生, D4), whom the staff chooses."""
    sort: Order = Order.RELEVANCE


Stored = Annotated[int, Field(ge=-1, le=2**31)]


class RankPosition(Position):
    score: Stored
    count: Stored
    id: str


class Price(BaseModel):
    price: int | None
    label: str


class Card(BaseModel):
    """A doctor in a list (D2)."""

    id: str
    name: str
    title: Title
    hospital: str
    department: str
    speciality: str
    avatar_url: str | None
    online: bool
    positive_rate: str | None
    consultation_count: int
    recommended: bool
    prices: Mapping[Mode, Price]


class ReviewView(BaseModel):
    id: str
    stars: int
    label: str
    text: str
    patient_name: str
    at: str


class DoctorPage(Card):
    bio: str
    favourite: bool
    review_count: int
    reviews: list[ReviewView]


class Named(BaseModel):
    """A department or a hospital: the id, which filters take, is the name itself."""

    id: str
    name: str


class Marked(Listed[Card]):
    """The favourites."""

    count: int


class Heartbeat(BaseModel):
    online_until: str


class DirectoryRoutes:
    def __init__(self, directory: Directory, files: FileUrls, clock: Clock) -> None:
        self._directory = directory
        self._files = files
        self._clock = clock

    def routes(self) -> list[Route]:
        favourite, recommended = "/favourites/{doctor}", "/operator/recommended/{doctor}"
        rows = [
            Route("GET", "/departments", self.departments, answer=Listed[Named],
                  summary="All departments"),
            Route("GET", "/hospitals", self.hospitals, answer=Listed[Named],
                  summary="All hospitals"),
            Route("GET", "/doctors", self.search, query=DoctorQuery, answer=Listed[Card],
                  summary="Search doctors by name or disease"),
            Route("GET", "/doctors/{id}", self.show, answer=DoctorPage, summary="A doctor's page"),
            Route("GET", "/doctors/{id}/reviews", self.reviews, query=PageQuery,
                  answer=Listed[ReviewView],
                  summary="A doctor's reviews, newest first"),
            Route("PUT", favourite, self.mark, status=204, summary="Make a doctor a favourite"),
            Route("DELETE", favourite, self.unmark, status=204, summary="No longer a favourite"),
            Route("GET", "/me/favourites", self.favourites, query=PageQuery, answer=Marked,
                  summary="The own favourites, newest first, with their count"),
            Route("PUT", recommended, partial(self.recommend, True), roles=STAFF, status=204,
                  summary="Show a doctor on the home page"),
            Route("DELETE", recommended, partial(self.recommend, False), roles=STAFF, status=204,
                  summary="No longer show a doctor on the home page"),
            Route("POST", "/me/heartbeat", self.beat, roles=DOCTOR, answer=Heartbeat,
                  summary="Stay online for a while (doctors)"),
        ]  # fmt: skip
        return [replace(row, tag="directory") for row in rows]

    async def departments(self, _call: Call) -> Any:
        return _names(await self._directory.departments())

    async def hospitals(self, _call: Call) -> Any:
        return _names(await self._directory.hospitals())

    async def search(self, call: Call) -> Any:
        query: DoctorQuery = call.query
        search = Search(
            text=query.q or None,
            department=query.department or None,
            title=query.title,
            online=query.online,
            recommended=query.recommended,
            order=query.sort,
        )
        at = read_cursor(RankPosition, query.cursor)
        after = Rank(**dict(at)) if at else None
        found = await self._directory.search(search, after, query.limit + 1)
        shown = found[: query.limit]
        following = RankPosition(**dict(shown[-1][0])) if len(found) > query.limit else None
        return page([self._card(doctor, call.caller.user) for _, doctor in shown], following)

    async def show(self, call: Call) -> Any:
        shown = await self._directory.page(call.caller.user, call.path["id"])
        return DoctorPage(
            **dict(self._card(shown.doctor, call.caller.user)),
            bio=shown.doctor.bio or NO_BIO,
            favourite=shown.favourite,
            review_count=shown.doctor.review_count,
            reviews=[ReviewView(**r.to_wire()) for r in shown.reviews],
        )

    async def reviews(self, call: Call) -> Any:
        query: PageQuery = call.query
        before = marked(query)
        found = await self._directory.reviews(call.path["id"], before, query.limit + 1)
        shown = found[: query.limit]
        following = OlderThan(before=shown[-1].id) if len(found) > query.limit else None
        return page([r.to_wire() for r in shown], following)

    async def mark(self, call: Call) -> None:
        await self._directory.mark(call.caller.user, call.path["doctor"])

    async def unmark(self, call: Call) -> None:
        await self._directory.unmark(call.caller.user, call.path["doctor"])

    async def recommend(self, recommended: bool, call: Call) -> None:
        await self._directory.recommend(call.caller, call.path["doctor"], recommended=recommended)

    async def favourites(self, call: Call) -> Any:
        user = call.caller.user
        query: PageQuery = call.query
        found = await self._directory.favourites(user, marked(query), query.limit + 1)
        shown = found[: query.limit]
        following = OlderThan(before=shown[-1].mark) if len(found) > query.limit else None
        doctors = await self._directory.among([f.doctor for f in shown])
        cards = [self._card(doctors[f.doctor], user) for f in shown if f.doctor in doctors]
        count = await self._directory.count_favourites(user)
        return {**page(cards, following), "count": count}

    async def beat(self, call: Call) -> Any:
        return Heartbeat(online_until=wire_time(await self._directory.hear(call.caller.user)))

    def _card(self, doctor: Doctor, viewer: str) -> Card:
        avatar = doctor.avatar
        prices = {mode: doctor.prices.of(mode) for mode in Mode}
        return Card(
            id=doctor.id,
            name=doctor.name,
            title=doctor.title,
            hospital=doctor.hospital,
            department=doctor.department,
            speciality=doctor.speciality,
            avatar_url=avatar and self._files.urls(avatar, viewer, thumbnail=True)["thumbnail_url"],
            online=doctor.is_online(self._clock.now()),
            positive_rate=doctor.positive_rate,
            consultation_count=doctor.consultation_count,
            recommended=doctor.recommended,
            prices={m: Price(price=p, label=price_label(p)) for m, p in prices.items()},
        )


def _names(names: list[str]) -> Any:
    return page([Named(id=name, name=name) for name in names])
