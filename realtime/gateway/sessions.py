"""A live socket ends with its token: expiry, revocation, and renewal in-band (A9)."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from datetime import timedelta
from typing import Any

import structlog
from pydantic import Field

from care.accounts import require_own_password
from care.errors import Forbidden
from care.policy import AccountPolicy
from care.ports import Clock, Tokens
from care.record import wire_time
from realtime.gateway.connections import Connection, Connections
from realtime.gateway.table import Payload

logger = structlog.get_logger(__name__)


class Refresh(Payload):
    token: str = Field(min_length=1, max_length=4096)


class SessionGuard:
    """Warn before tokens expire, and close what is expired or revoked.

    `revoked_among` tells which of these sessions were revoked, by whichever process.
    """

    def __init__(
        self,
        connections: Connections,
        tokens: Tokens,
        clock: Clock,
        revoked_among: Callable[[Collection[str]], Awaitable[Collection[str]]],
        policy: AccountPolicy,
        period_seconds: float,
    ) -> None:
        self._connections = connections
        self._tokens = tokens
        self._clock = clock
        self._revoked_among = revoked_among
        self._notice = timedelta(seconds=policy.expiring_notice_seconds)
        self._period_seconds = period_seconds

    async def run(self) -> None:
        """Sweep for as long as the process serves."""
        while True:
            await self.sweep()
            await asyncio.sleep(self._period_seconds)

    async def sweep(self) -> None:
        """Look at every connection once. Expiry needs no database, so it comes first."""
        self._expire()
        try:
            revoked = await self._revoked_among(self._connections.sessions())
        except Exception:
            logger.exception("revocations_unknown")
            return
        for session in revoked:
            self._connections.close_session(session)

    async def refresh(self, connection: Connection, payload: Refresh) -> Mapping[str, Any]:
        """Go on under a new token of the same user: the `session:refresh` command."""
        caller = await self._tokens.verify(payload.token)
        require_own_password(caller)
        if (caller.user, caller.role) != (connection.caller.user, connection.caller.role):
            raise Forbidden
        self._connections.renew(connection, caller)
        return {"expires_at": wire_time(caller.expires_at)}

    def _expire(self) -> None:
        now = self._clock.now()
        for connection in self._connections:
            if connection.expires_at <= now:
                self._connections.close(connection)
            elif connection.expires_at - now <= self._notice and not connection.told_expiring:
                connection.told_expiring = True
                expires_at = wire_time(connection.expires_at)
                connection.push("session:expiring", {"expires_at": expires_at})
