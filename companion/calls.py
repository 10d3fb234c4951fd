"""The way to the call page: a one-time ticket for one call and one user (V1)."""

import hashlib
import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Protocol

from care.accounts import Account, Caller
from care.calls import Call, Ticket
from care.errors import Conflict, Forbidden, Unauthenticated
from care.policy import CallPolicy
from care.ports import Clock
from companion.sessions import Grant, Sessions

DEVICE = "call_page"


class CallStore(Protocol):
    async def get(self, call_id: str) -> Call | None: ...

    async def of_consultation(self, consultation_id: str) -> Sequence[Call]: ...


class TicketStore(Protocol):
    """Keeps tickets by digest; `take` gives each once."""

    async def add(self, digest: str, ticket: Ticket) -> None: ...

    async def take(self, digest: str, now: datetime) -> Ticket | None: ...


class Quality(Protocol):
    async def of(self, call: str) -> Mapping[str, Any]: ...


class Accounts(Protocol):
    async def get(self, account_id: str) -> Account | None: ...


class CallPages:
    def __init__(
        self,
        calls: CallStore,
        tickets: TicketStore,
        quality: Quality,
        accounts: Accounts,
        sessions: Sessions,
        clock: Clock,
        policy: CallPolicy,
    ) -> None:
        self._calls = calls
        self._tickets = tickets
        self._quality = quality
        self._accounts = accounts
        self._sessions = sessions
        self._clock = clock
        self._seconds = policy.ticket_seconds

    async def find(self, caller: Caller, call_id: str) -> tuple[Call, Mapping[str, Any]]:
        """Give a call to one of its own, and how good it was. Raises Forbidden to all others."""
        call = await self._own(caller, call_id)
        return call, await self._quality.of(call.id)

    async def of_consultation(self, caller: Caller, consultation: str) -> list[Call]:
        """List a consultation's calls, newest first, to those who were in them."""
        found = await self._calls.of_consultation(consultation)
        return [call for call in found if caller.user in call.users]

    async def issue(self, caller: Caller, call_id: str) -> tuple[str, int]:
        """Make a ticket for this call and caller; give it and for how many seconds it is good."""
        call = await self._own(caller, call_id)
        if not call.live:
            raise Conflict("通话已结束")
        secret = secrets.token_urlsafe(32)
        expires_at = self._clock.now() + timedelta(seconds=self._seconds)
        ticket = Ticket(call=call.id, user=caller.user, expires_at=expires_at)
        await self._tickets.add(_digest(secret), ticket)
        return secret, self._seconds

    async def redeem(self, secret: str) -> tuple[Grant, Call]:
        """Trade a ticket for a session of its own. Raises Unauthenticated for a used or old one."""
        ticket = await self._tickets.take(_digest(secret), self._clock.now())
        call = await self._calls.get(ticket.call) if ticket else None
        account = await self._accounts.get(ticket.user) if ticket else None
        if call is None or account is None:
            raise Unauthenticated("通话链接已失效，请从问诊中重新进入")
        return await self._sessions.open(account, DEVICE), call

    async def _own(self, caller: Caller, call_id: str) -> Call:
        call = await self._calls.get(call_id)
        if call is None:
            raise Forbidden
        call.party(caller.user)
        return call


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
