"""The group consultations' routes (G1–G3): what waits for whom; they are moved over the socket."""

from dataclasses import replace
from typing import Any

from pydantic import Field

from care.accounts import Role
from care.groups import GroupState
from companion.rest.answers import Counted, GroupView
from companion.rest.kernel import Call, Route
from companion.rest.paging import PageQuery, several
from realtime.rooms.groups import GroupService

PARTIES = frozenset({Role.PATIENT, Role.DOCTOR})


class GroupListing(PageQuery):
    state: str | None = Field(default=None, max_length=200)
    """One state, or several with commas."""


class GroupRoutes:
    def __init__(self, groups: GroupService) -> None:
        self._groups = groups

    def routes(self) -> list[Route]:
        rows = [
            Route("GET", "/groups", self.list, query=GroupListing, roles=PARTIES,
                  answer=Counted[GroupView],
                  summary="List one's group consultations (会诊), with the counts by state"),
            Route("GET", "/groups/{id}", self.get, roles=PARTIES,
                  answer=GroupView, summary="Show one"),
        ]  # fmt: skip
        return [replace(row, tag="groups") for row in rows]

    async def list(self, call: Call) -> Any:
        query: GroupListing = call.query
        views, cursor, counts = await self._groups.page(
            call.caller, several(query.state, GroupState), query.cursor, query.limit
        )
        return {"items": views, "cursor": cursor, "counts": counts}

    async def get(self, call: Call) -> Any:
        return await self._groups.find(call.caller, call.path["id"])
