"""Access tokens: JWT signed with HS256, after RFC 9068's profile (A9)."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt

from care.accounts import Account, Caller, Role
from care.errors import Unauthenticated
from care.policy import AccountPolicy
from care.ports import Clock
from storage.sessions import SessionStore

ALGORITHM = "HS256"
TYPE = "at+jwt"
AUDIENCE = "wenzhen"
ISSUER = "wenzhen"
CLAIMS = ("iss", "aud", "sub", "role", "name", "sid", "iat", "exp")
INITIAL_PASSWORD = "initial_password"  # noqa: S105 - the name of a claim
"""Says that the password must be changed before anything else; there only when it is so."""
KEY_BYTES = 32

OVER = "登录已过期，请重新登录"


@dataclass(frozen=True, slots=True)
class SigningKeys:
    """`current` signs; all verify, so that a key can be replaced without ending any session."""

    keys: Mapping[str, bytes]
    current: str

    def __post_init__(self) -> None:
        if self.current not in self.keys:
            raise ValueError(f"no such signing key: {self.current}")
        if any(len(key) < KEY_BYTES for key in self.keys.values()):
            raise ValueError(f"a signing key has at least {KEY_BYTES} bytes")


class AccessTokens:
    """Signs tokens, and verifies them as `care.ports.Tokens`."""

    def __init__(
        self, keys: SigningKeys, sessions: SessionStore, clock: Clock, policy: AccountPolicy
    ) -> None:
        self._keys = keys
        self._sessions = sessions
        self._clock = clock
        self._seconds = policy.access_token_seconds

    def sign(
        self, account: Account, session_id: str, seconds: int | None = None
    ) -> tuple[str, int]:
        """Give a token for a session and how many seconds it is good for."""
        seconds = seconds or self._seconds
        now = self._clock.now()
        claims = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": account.id,
            "role": account.role.value,
            "name": account.name,
            "sid": session_id,
            "iat": int(now.timestamp()),
            "exp": int((now + timedelta(seconds=seconds)).timestamp()),
        }
        if account.must_change_password:
            claims[INITIAL_PASSWORD] = True
        headers = {"typ": TYPE, "kid": self._keys.current}
        key = self._keys.keys[self._keys.current]
        return jwt.encode(claims, key, ALGORITHM, headers=headers), seconds

    async def verify(self, token: str) -> Caller:
        """Tell whose token it is. Raises Unauthenticated."""
        claims = self._read(token)
        expires_at = datetime.fromtimestamp(claims["exp"], UTC)
        if expires_at <= self._clock.now() or not await self._sessions.is_live(claims["sid"]):
            raise Unauthenticated(OVER)
        return Caller(
            user=claims["sub"],
            role=Role(claims["role"]),
            name=claims["name"],
            session=claims["sid"],
            expires_at=expires_at,
            must_change_password=bool(claims.get(INITIAL_PASSWORD)),
        )

    def _read(self, token: str) -> dict[str, Any]:
        """Check everything but the time, which is the hospital's clock's and not the machine's."""
        try:
            header = jwt.get_unverified_header(token)
            if header.get("typ") != TYPE:
                raise Unauthenticated
            return jwt.decode(
                token,
                self._keys.keys[header["kid"]],
                algorithms=[ALGORITHM],
                audience=AUDIENCE,
                issuer=ISSUER,
                options={
                    "require": list(CLAIMS),
                    "verify_exp": False,
                    "verify_iat": False,
                    "verify_nbf": False,
                },
            )
        except (jwt.InvalidTokenError, KeyError):
            raise Unauthenticated from None
