"""Between nodes: what is pushed on one reaches the sockets on the others.

A hint only. What a node may have missed, it is told of by `on_gap`, and the rooms' log fills it.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from realtime.gateway.connections import Connections


@dataclass(frozen=True, slots=True)
class Envelope:
    """One push on its way between nodes."""

    users: tuple[str, ...]
    event: str
    data: Mapping[str, Any]
    skip: str | None = None
    only: str | None = None


class Bus(Protocol):
    """Carries envelopes to the other nodes that follow one of their users.

    Envelopes of one node arrive in the order in which it published them, at most once for each
    user, and never at the node itself. Some may be lost; then `on_gap` is called where they are
    missing, once the bus works again.
    """

    async def start(
        self, receive: Callable[[Envelope], None], on_gap: Callable[[], None]
    ) -> None: ...

    def publish(self, envelope: Envelope) -> None:
        """Send it, now or soon. Never waits, never fails."""

    async def follow(self, user: str) -> None:
        """Receive what is for this user, from the return on; at once when the bus is away."""

    def unfollow(self, user: str) -> None:
        """Take back one `follow`."""

    async def close(self) -> None: ...


class LocalBus:
    """The bus of a process that is alone."""

    async def start(self, receive: Callable[[Envelope], None], on_gap: Callable[[], None]) -> None:
        pass

    def publish(self, envelope: Envelope) -> None:
        pass

    async def follow(self, user: str) -> None:
        pass

    def unfollow(self, user: str) -> None:
        pass

    async def close(self) -> None:
        pass


class Fanout:
    """`care.ports.Channel`: pushes to this node's sockets and tells the other nodes."""

    def __init__(self, connections: Connections, bus: Bus) -> None:
        self._connections = connections
        self._bus = bus

    def push(
        self,
        users: Collection[str],
        event: str,
        data: Mapping[str, Any],
        *,
        skip: str | None = None,
        only: str | None = None,
    ) -> None:
        self._connections.push(users, event, data, skip=skip, only=only)
        self._bus.publish(Envelope(tuple(users), event, data, skip, only))

    def receive(self, envelope: Envelope) -> None:
        """Push here what another node published: a receiver for what needs no order."""
        self._connections.push(
            envelope.users, envelope.event, envelope.data, skip=envelope.skip, only=envelope.only
        )
