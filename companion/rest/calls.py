"""The calls' routes: a call and its quality, and the way to the call page (V1, V9)."""

import secrets
from dataclasses import replace
from typing import Annotated, Any
from urllib.parse import urlencode

from pydantic import StringConstraints

from care.accounts import Role
from companion.calls import CallPages
from companion.rest.answers import CallTicket, CallView, CallWithQuality
from companion.rest.auth import Granted, granted
from companion.rest.kernel import Body, Call, Route
from companion.rest.paging import Listed, Query


class Redeem(Body):
    ticket: Annotated[str, StringConstraints(min_length=1, max_length=128)]


class Listing(Query):
    consultation: Annotated[str, StringConstraints(min_length=1, max_length=64)]


class Redeemed(Granted):
    call: str
    device_id: str
    """Whom to connect as: the device that is in the call already, or a new one."""


class CallRoutes:
    """Join the calls' use cases to their rows."""

    def __init__(self, calls: CallPages) -> None:
        self._calls = calls

    def routes(self) -> list[Route]:
        rows = [
            Route("GET", "/calls", self.page, query=Listing, answer=Listed[CallView],
                  summary="List a consultation's calls, newest first"),
            Route("GET", "/calls/{id}", self.look_up, answer=CallWithQuality,
                  summary="A call; its doctor is shown its quality, side by side (V9)"),
            Route("POST", "/calls/{id}/ticket", self.issue, status=201, answer=CallTicket,
                  summary="Make a one-time ticket for the call page, good for a minute"),
            Route("POST", "/call-tickets/redeem", self.redeem, body=Redeem, public=True,
                  answer=Redeemed,
                  summary="Trade the call page's ticket for a session of its own"),
        ]  # fmt: skip
        return [replace(row, tag="calls") for row in rows]

    async def page(self, call: Call) -> Any:
        found = await self._calls.of_consultation(call.caller, call.query.consultation)
        return {"items": [one.to_wire(call.caller.user) for one in found], "cursor": None}

    async def look_up(self, call: Call) -> Any:
        found, quality = await self._calls.find(call.caller, call.path["id"])
        shown = found.to_wire(call.caller.user)
        return shown | ({"quality": quality} if call.caller.role is Role.DOCTOR else {})

    async def issue(self, call: Call) -> Any:
        ticket, seconds = await self._calls.issue(call.caller, call.path["id"])
        url = f"/call?{urlencode({'ticket': ticket})}"
        return {"ticket": ticket, "url": url, "expires_in": seconds}

    async def redeem(self, call: Call) -> Any:
        """Answer as logging in does, with the call and the device to be in it as."""
        grant, found = await self._calls.redeem(call.body.ticket)
        # the side that runs on another device of this user goes on here
        device = found.party(grant.account.id).device_id or secrets.token_hex(8)
        return granted(grant) | {"call": found.id, "device_id": device}
