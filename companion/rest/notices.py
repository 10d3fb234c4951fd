"""The notices' routes (N1, N2)."""

from dataclasses import replace
from typing import Annotated, Any

from pydantic import AwareDatetime, Field, StringConstraints

from care.accounts import Role
from companion.rest.answers import ConsentsLeft, Notices, Subscriptions, Unread
from companion.rest.kernel import Body, Call, Route
from companion.rest.paging import PageQuery, Position, page, read_cursor
from realtime.rooms.notices import NoticeService

PATIENT = frozenset({Role.PATIENT})


class Consent(Body):
    template: Annotated[str, StringConstraints(min_length=1, max_length=64)]
    accepted: Annotated[int, Field(ge=0, le=10)]
    """How often the user accepted in this one question; WeChat asks for each message once."""


class After(Position):
    at: AwareDatetime
    id: str


class NoticeRoutes:
    """Join the notices' use cases to their rows."""

    def __init__(self, notices: NoticeService) -> None:
        self._notices = notices

    def routes(self) -> list[Route]:
        rows = [
            Route("GET", "/notices", self.list, query=PageQuery, answer=Notices,
                  summary="List one's notices, newest first, and count the unread"),
            Route("POST", "/notices/read-all", self.read_all,
                  answer=Unread, summary="Mark all as read"),
            Route("GET", "/notices/subscriptions", self.subscriptions, roles=PATIENT,
                  answer=Subscriptions,
                  summary="List what the mini-program may ask consent for, and what is left"),
            Route("POST", "/notices/subscriptions", self.consent, body=Consent, roles=PATIENT,
                  answer=ConsentsLeft,
                  summary="Count the consents given to WeChat for a template"),
            Route("POST", "/notices/{id}/read", self.read,
                  answer=Unread, summary="Mark one as read"),
        ]  # fmt: skip
        return [replace(row, tag="notices") for row in rows]

    async def list(self, call: Call) -> Any:
        after = read_cursor(After, call.query.cursor)
        before = (after.at, after.id) if after else None
        found, more, unread = await self._notices.page(call.caller.user, before, call.query.limit)
        following = After(at=found[-1].at, id=found[-1].id) if more else None
        items = [notice.to_wire() for notice in found]
        return page(items, following) | {"unread_count": unread}

    async def read(self, call: Call) -> Any:
        return {"unread_count": await self._notices.read(call.caller.user, call.path["id"])}

    async def read_all(self, call: Call) -> Any:
        await self._notices.read_all(call.caller.user)
        return {"unread_count": 0}

    async def subscriptions(self, call: Call) -> Any:
        return {"items": await self._notices.subscriptions(call.caller.user)}

    async def consent(self, call: Call) -> Any:
        body = call.body
        left = await self._notices.consent(call.caller.user, body.template, body.accepted)
        return {"template": body.template, "left": left}
