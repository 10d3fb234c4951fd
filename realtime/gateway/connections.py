"""Who is connected to this process, and pushing to them.

A push encodes its event once and puts it on each receiver's queue; it never waits, and keeps the
order of the calls for each connection.
"""

import asyncio
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, Protocol

from care.accounts import Caller
from care.errors import RateLimited
from realtime.gateway.codec import DISCONNECT, event_frame

Device = Literal["mini_program", "h5", "desktop", "bot"]

RETRY_MS = 5_000
OUTSTANDING_MAX = 256


class Wire(Protocol):
    """A connection's way out. Nothing here waits for the receiver."""

    @property
    def queued_bytes(self) -> int: ...

    def push(self, frame: bytes) -> None: ...

    def hang_up(self, code: int = 1000) -> None: ...


@dataclass(slots=True, eq=False)
class Connection:
    """One live socket of a user. `id` is its Socket.IO id: for `skip`, and for logs."""

    id: str
    wire: Wire
    caller: Caller
    device: Device
    device_id: str
    opened_at: datetime
    foreground: bool = True
    left: set[str] = field(default_factory=set)
    """Rooms whose events this socket doesn't want: those with a `room` in their data."""
    told_expiring: bool = False
    closed: bool = False
    places: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(OUTSTANDING_MAX))
    """One for each command not acknowledged yet; without one, nothing more is read."""

    @property
    def user(self) -> str:
        return self.caller.user

    @property
    def expires_at(self) -> datetime:
        return self.caller.expires_at

    def push(self, event: str, data: Mapping[str, Any]) -> None:
        """Push to this socket alone."""
        self.wire.push(event_frame(event, data))

    def wants(self, room: object) -> bool:
        return not self.left or room not in self.left


class Watcher(Protocol):
    """Is told of what happens to connections, at once; must neither wait nor raise."""

    def opened(self, connection: Connection, *, first: bool) -> None:
        """After it was added; `first` when its user had no other on this process."""

    def closed(self, connection: Connection, *, last: bool) -> None:
        """After it was removed; `last` when its user has no other on this process."""

    def foreground_changed(self, connection: Connection) -> None: ...


class Connections:
    """The live connections by user and by session. Implements `care.ports.Channel` locally."""

    def __init__(self, per_user: int) -> None:
        self._per_user = per_user
        self._by_user: dict[str, dict[str, Connection]] = {}
        self._by_session: dict[str, dict[str, Connection]] = {}
        self._watchers: list[Watcher] = []

    def watch(self, watcher: Watcher) -> None:
        self._watchers.append(watcher)

    def __iter__(self) -> Iterator[Connection]:
        for connections in list(self._by_user.values()):
            yield from list(connections.values())

    def __len__(self) -> int:
        return sum(map(len, self._by_user.values()))

    def of(self, user: str) -> Collection[Connection]:
        return list(self._by_user.get(user, {}).values())

    def sessions(self) -> Collection[str]:
        return list(self._by_session)

    def foreground(self, user: str) -> bool:
        """Say whether any of the user's sockets here is in the foreground."""
        return any(c.foreground for c in self._by_user.get(user, {}).values())

    def admit(self, user: str) -> None:
        """Raise RateLimited when the user has as many sockets as a user may have."""
        if len(self._by_user.get(user, ())) >= self._per_user:
            raise RateLimited(RETRY_MS, "同时在线的设备过多")

    def add(self, connection: Connection) -> None:
        mine = self._by_user.setdefault(connection.user, {})
        mine[connection.id] = connection
        self._by_session.setdefault(connection.caller.session, {})[connection.id] = connection
        for watcher in self._watchers:
            watcher.opened(connection, first=len(mine) == 1)

    def remove(self, connection: Connection) -> None:
        """Forget a connection, which runs no more commands; doing it again does nothing."""
        connection.closed = True
        mine = self._by_user.get(connection.user, {})
        if mine.pop(connection.id, None) is None:
            return
        if not mine:
            del self._by_user[connection.user]
        self._leave_session(connection)
        for watcher in self._watchers:
            watcher.closed(connection, last=not mine)

    def renew(self, connection: Connection, caller: Caller) -> None:
        """Go on under a newer token of the same user."""
        self._leave_session(connection)
        connection.caller = caller
        connection.told_expiring = False
        self._by_session.setdefault(caller.session, {})[connection.id] = connection

    def set_foreground(self, connection: Connection, foreground: bool) -> None:
        if connection.foreground != foreground:
            connection.foreground = foreground
            for watcher in self._watchers:
                watcher.foreground_changed(connection)

    def close(self, connection: Connection) -> None:
        """Send a DISCONNECT, after which clients don't come back by themselves, and hang up."""
        self.remove(connection)
        connection.wire.push(DISCONNECT)
        connection.wire.hang_up()

    def close_session(self, session: str) -> None:
        """Close a revoked session's sockets."""
        for connection in list(self._by_session.get(session, {}).values()):
            self.close(connection)

    def push(
        self,
        users: Collection[str],
        event: str,
        data: Mapping[str, Any],
        *,
        skip: str | None = None,
        only: str | None = None,
    ) -> None:
        """Push to these users' sockets on this process."""
        frame = None
        room = data.get("room")
        for user in users:
            # cutting a slow one removes it when its reader ends, not inside this loop
            for connection in self._by_user.get(user, {}).values():
                if connection.id == skip or only not in {None, connection.id}:
                    continue
                if connection.wants(room):
                    frame = frame or event_frame(event, data)
                    connection.wire.push(frame)

    def _leave_session(self, connection: Connection) -> None:
        session = self._by_session.get(connection.caller.session, {})
        session.pop(connection.id, None)
        if not session:
            self._by_session.pop(connection.caller.session, None)
