"""The transfers' routes (T1–T3): what waits for whom; they are moved over the socket."""

from dataclasses import replace
from typing import Any

from pydantic import Field

from care.accounts import Role
from care.transfer import TransferState
from companion.rest.answers import Counted, TransferView
from companion.rest.kernel import Call, Route
from companion.rest.paging import PageQuery, several
from realtime.rooms.transfers import TransferService

PARTIES = frozenset({Role.PATIENT, Role.DOCTOR})


class TransferListing(PageQuery):
    state: str | None = Field(default=None, max_length=200)
    """One state, or several with commas."""


class TransferRoutes:
    def __init__(self, transfers: TransferService) -> None:
        self._transfers = transfers

    def routes(self) -> list[Route]:
        rows = [
            Route("GET", "/transfers", self.list, query=TransferListing, roles=PARTIES,
                  answer=Counted[TransferView],
                  summary="List one's transfers (转诊), with the counts by state"),
            Route("GET", "/transfers/{id}", self.get, roles=PARTIES,
                  answer=TransferView, summary="Show one"),
        ]  # fmt: skip
        return [replace(row, tag="transfers") for row in rows]

    async def list(self, call: Call) -> Any:
        query: TransferListing = call.query
        views, cursor, counts = await self._transfers.page(
            call.caller, several(query.state, TransferState), query.cursor, query.limit
        )
        return {"items": views, "cursor": cursor, "counts": counts}

    async def get(self, call: Call) -> Any:
        return await self._transfers.find(call.caller, call.path["id"])
