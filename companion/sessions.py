"""Sessions: begun by a log-in, kept by a rotating refresh token, ended for a reason (A9)."""

import hashlib
import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from care.accounts import Account, Caller, LogIn
from care.errors import Unauthenticated
from care.policy import AccountPolicy
from care.ports import Clock
from care.record import new_id
from companion.tokens import OVER, AccessTokens
from storage.accounts import AccountStore
from storage.sessions import SessionStore

OnRevoked = Callable[[str, str], None]
"""Told the session and its user, in this process, right after the end is stored."""


@dataclass(frozen=True, slots=True)
class Grant:
    """What a log-in gives."""

    access_token: str
    refresh_token: str
    expires_in: int
    account: Account


class Sessions:
    def __init__(
        self,
        store: SessionStore,
        accounts: AccountStore,
        tokens: AccessTokens,
        clock: Clock,
        policy: AccountPolicy,
        on_revoked: OnRevoked,
    ) -> None:
        self._store = store
        self._accounts = accounts
        self._tokens = tokens
        self._clock = clock
        self._policy = policy
        self._on_revoked = on_revoked

    async def open(
        self, account: Account, device: str | None = None, *, access_seconds: int | None = None
    ) -> Grant:
        """Begin a session. Raises Unauthenticated when the password has just been changed."""
        now = self._clock.now()
        secret = secrets.token_urlsafe(32)
        login = LogIn(
            id=new_id(now),
            user=account.id,
            device=device,
            refresh_digest=_digest(secret),
            created_at=now,
            expires_at=self._end(now),
        )
        if not await self._accounts.log_in(account, login):
            raise Unauthenticated(OVER)
        return self._grant(account, login, secret, access_seconds)

    async def refresh(self, refresh_token: str) -> Grant:
        """Trade a refresh token for the next. Raises Unauthenticated.

        A token that isn't the session's current one was used before, by its owner or by a thief:
        which of the two cannot be told, so the session ends. Nobody gets here by guessing, because
        session ids are as random as tokens are.
        """
        session_id, _, old = refresh_token.partition(".")
        now = self._clock.now()
        secret = secrets.token_urlsafe(32)
        login = await self._store.rotate(
            session_id, _digest(old), _digest(secret), now, self._end(now)
        )
        if login is None:
            await self.end(session_id, "refresh_refused")
            raise Unauthenticated(OVER)
        account = await self._accounts.get(login.user)
        if account is None:
            raise Unauthenticated(OVER)
        return self._grant(account, login, secret)

    async def log_out(self, caller: Caller) -> None:
        await self.end(caller.session, "logged_out")

    async def end(self, session_id: str, because: str) -> None:
        user = await self._store.revoke(session_id, because, self._clock.now())
        if user is not None:
            self._on_revoked(session_id, user)

    def announce(self, user: str, ended: Iterable[str]) -> None:
        """Tell of sessions that ended with another change."""
        for session_id in ended:
            self._on_revoked(session_id, user)

    def _end(self, now: datetime) -> datetime:
        return now + timedelta(seconds=self._policy.refresh_token_seconds)

    def _grant(
        self, account: Account, login: LogIn, secret: str, seconds: int | None = None
    ) -> Grant:
        token, expires_in = self._tokens.sign(account, login.id, seconds)
        return Grant(token, f"{login.id}.{secret}", expires_in, account)


def _digest(secret: str) -> str:
    # 256 random bits need no slow hash
    return hashlib.sha256(secret.encode()).hexdigest()
