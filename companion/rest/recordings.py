"""The routes of recordings: what there is, and its content by signed URL (V8)."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Annotated, Any

from aiohttp import web
from pydantic import BaseModel, StringConstraints

from care.media import RecordingState
from care.policy import FilePolicy
from care.record import wire_time
from care.recordings import Gap, Track
from companion.recordings import RecordingPages
from companion.rest.answers import Time
from companion.rest.contents import Kept, SignedQuery, send
from companion.rest.kernel import Also, Body, Call, Content, Route
from companion.rest.paging import Listed, Query

SUFFIXES = {"video/webm": "webm", "audio/webm": "webm", "video/x-matroska": "mkv"}


class Listing(Query):
    consultation: Annotated[str, StringConstraints(min_length=1, max_length=64)]


class Purpose(Body):
    """The staff states why; those who were in the call need not."""

    purpose: (
        Annotated[str, StringConstraints(strip_whitespace=True, min_length=2, max_length=200)]
        | None
    ) = None


class RecordingView(BaseModel):
    """A recording; what its film holds is null or empty until it is `stored`."""

    id: str
    call: str
    consultation: str
    state: RecordingState
    problem: str | None
    started_at: Time
    ended_at: Time | None
    sha256: str | None
    poster: bool
    duration_ms: int | None
    mime: str | None
    size: int | None
    tracks: list[Track]
    gaps: list[Gap]


class LinkView(BaseModel):
    url: str
    poster_url: str | None
    expires_at: Time


class RecordingRoutes:
    def __init__(self, recordings: RecordingPages, policy: FilePolicy) -> None:
        self._recordings = recordings
        self._seconds = policy.url_seconds

    def routes(self) -> list[Route]:
        every, one = "/recordings", "/recordings/{id}"
        whole = Content("*/*")
        unchanged = Also(304, "It is the one the client has")
        rows = [
            Route("GET", every, self.page, query=Listing, answer=Listed[RecordingView],
                  summary="List the recordings of a consultation's calls, newest first"),
            Route("GET", one, self.look_up, answer=RecordingView,
                  summary="A recording: how far it is, what it holds, what is missing"),
            Route("POST", f"{one}/link", self.link, body=Purpose, answer=LinkView,
                  summary="Sign an address to play it at; this is audited"),
            Route("GET", f"{one}/content", self.content, public=True, query=SignedQuery,
                  answer=whole, also=(Also(206, "The range that was asked for", whole), unchanged),
                  summary="Play a recording by its signed address"),
            Route("HEAD", f"{one}/content", self.content, public=True, query=SignedQuery,
                  also=(unchanged,), summary="Read a recording's headers"),
        ]  # fmt: skip
        return [replace(row, tag="recordings") for row in rows]

    async def page(self, call: Call) -> Any:
        found = await self._recordings.of_consultation(call.caller, call.query.consultation)
        return {"items": [one.to_wire() for one in found], "cursor": None}

    async def look_up(self, call: Call) -> Any:
        return (await self._recordings.find(call.caller, call.path["id"])).to_wire()

    async def link(self, call: Call) -> Any:
        link = await self._recordings.issue(call.caller, call.path["id"], call.body.purpose)
        return {
            "url": link.url,
            "poster_url": link.poster_url,
            "expires_at": wire_time(link.expires_at),
        }

    async def content(self, call: Call) -> web.StreamResponse:
        recording, poster = await self._recordings.open(call.path["id"], call.query.model_dump())
        footage = recording.footage
        assert footage is not None  # noqa: S101  # `open` gives none without

        def read(start: int, stop: int) -> AsyncIterator[bytes]:
            return self._recordings.read(recording, poster=poster, start=start, stop=stop)

        suffix = "jpg" if poster else SUFFIXES.get(footage.mime, "bin")
        kept = Kept(
            recording.id,
            f"{recording.id}.{suffix}",
            "image/jpeg" if poster else footage.mime,
            footage.poster_size or 0 if poster else footage.size,
            f"{recording.sha256}{'-poster' if poster else ''}",
            self._seconds,
            read,
        )
        return await send(call.request, kept)
