"""What the rules' users need of the world. Each port says what it guarantees, not only its shape."""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any, Protocol

from care.accounts import Caller


class Clock(Protocol):
    """The hospital's time: UTC, cut to milliseconds, never read from anywhere else."""

    def now(self) -> datetime: ...


class Tokens(Protocol):
    """Verifies access tokens. Raises Unauthenticated for a forged, foreign, expired or revoked one."""

    async def verify(self, token: str) -> Caller: ...


class Channel(Protocol):
    """Pushes an event to every live socket of these users, on every node.

    A hint: it may be lost with its node or Redis; what matters is in the database. Never waits for
    a receiver. `skip` names a connection that is left out.
    """

    def push(
        self,
        users: Collection[str],
        event: str,
        data: Mapping[str, Any],
        *,
        skip: str | None = None,
    ) -> None: ...


class Sms(Protocol):
    """Sends a text message to a phone. Raises Unavailable when the provider refuses or is away."""

    async def send(self, phone: str, template: str, values: Mapping[str, str]) -> None: ...


class Vault(Protocol):
    """Encrypts personal data at rest. `index` gives a keyed digest to look an equal value up by."""

    def seal(self, clear: str) -> bytes: ...

    def open(self, sealed: bytes) -> str: ...

    def index(self, clear: str) -> str: ...


class Audit(Protocol):
    """Keeps who read or changed whose data, and why (S4). Durable before the data is handed out."""

    async def record(
        self, actor: str, action: str, subject: str, purpose: str, details: Mapping[str, Any] = ...
    ) -> None: ...
