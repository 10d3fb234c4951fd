"""The notices' route (N2)."""

from typing import Any

from care.ports import NoticeStore
from care.record import wire_time
from companion.rest.kernel import Call, Route
from companion.rest.paging import PageQuery


class NoticeRoutes:
    def __init__(self, notices: NoticeStore) -> None:
        self._notices = notices

    def routes(self) -> list[Route]:
        says = "List one's notices, newest first"
        return [Route("GET", "/notices", self.list, query=PageQuery, summary=says, tag="notices")]

    async def list(self, call: Call) -> Any:
        found = await self._notices.newest(call.caller.user, call.query.limit)
        items = [
            {"id": n["_id"], "template": n["template"], "values": n["values"],
             "at": wire_time(n["at"])}
            for n in found
        ]  # fmt: skip
        return {"items": items, "cursor": None}
