"""Presence: who is online, and who can only be reached by a subscription message (D6, R8).

A user is online while one of his sockets is in the foreground, and for a few seconds after the last
one left it. Each node writes its own users' presence with an end that it moves forward, so a node
that dies takes its users offline with it.
"""

import asyncio
import contextlib
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

import structlog

from care.accounts import Caller, Role
from care.consultation import OPEN
from care.policy import PresencePolicy
from care.ports import Channel, Clock, ConsultationStore, OnlineUsers
from realtime.rooms.rooms import GroupRooms

TICK_SECONDS = 1.0
PEERS_MAX = 200

logger = structlog.get_logger(__name__)


class PresenceStore(OnlineUsers, Protocol):
    """Keeps until when each user counts as online, a row for each node he is connected to."""

    async def keep(self, users: Collection[str], until: datetime) -> None: ...


class DoctorFlags(Protocol):
    """Keeps the directory's online flag of doctors."""

    async def keep_online(self, doctors: Collection[str], until: datetime) -> None: ...


@dataclass(slots=True)
class _Here:
    """A user of this node: his connections, which of them are in front, until when he is online."""

    caller: Caller
    in_front: dict[str, bool] = field(default_factory=dict)
    until: datetime | None = None
    announced: bool = False

    @property
    def foreground(self) -> bool:
        return any(self.in_front.values())


class PresenceService:
    def __init__(
        self,
        presence: PresenceStore,
        doctors: DoctorFlags,
        store: ConsultationStore,
        groups: GroupRooms,
        channel: Channel,
        clock: Clock,
        policy: PresencePolicy,
    ) -> None:
        self._presence = presence
        self._doctors = doctors
        self._store = store
        self._groups = groups
        self._channel = channel
        self._clock = clock
        self._lasting = timedelta(seconds=policy.heartbeat_seconds)
        self._fading = timedelta(seconds=policy.background_seconds)
        self._here: dict[str, _Here] = {}
        self._moved: set[str] = set()
        self._wake = asyncio.Event()

    def seen(self, caller: Caller, connection: str, *, foreground: bool) -> None:
        """Note that a connection opened, came to the front or left it."""
        here = self._here.setdefault(caller.user, _Here(caller))
        here.in_front[connection] = foreground
        self._note(caller.user)

    def gone(self, caller: Caller, connection: str) -> None:
        """Note that a connection closed."""
        here = self._here.get(caller.user)
        if here is not None and here.in_front.pop(connection, None) is not None:
            self._note(caller.user)

    def _note(self, user: str) -> None:
        self._moved.add(user)
        self._wake.set()

    async def run(self) -> None:
        """Write and announce who comes, goes and stays, for as long as the process runs."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(TICK_SECONDS):
                    await self._wake.wait()
            self._wake.clear()
            moved, self._moved = self._moved, set()
            users = {u: self._here[u] for u in moved if u in self._here} | self._stale()
            try:
                await self._refresh(users)
            except Exception:
                logger.exception("presence_failed")
                self._moved |= moved

    def _stale(self) -> dict[str, _Here]:
        """Select whose end is near, or past and not yet announced."""
        soon = self._clock.now() + self._lasting / 2
        return {
            user: here
            for user, here in self._here.items()
            if (here.foreground and (here.until is None or here.until < soon))
            or (not here.foreground and self._faded(here))
        }

    def _faded(self, here: _Here) -> bool:
        return here.announced and (here.until is None or here.until <= self._clock.now())

    async def _refresh(self, users: dict[str, _Here]) -> None:
        """Write until when these are online, and announce who came or went."""
        now = self._clock.now()
        for foreground, lasting in ((True, self._lasting), (False, self._fading)):
            moved = [h for h in users.values() if h.foreground is foreground]
            if not foreground:
                moved = [h for h in moved if h.until is None or h.until > now + self._fading]
            await self._keep(moved, now + lasting)
        for user, here in users.items():
            await self._announce(here, online=here.until is not None and here.until > now)
            if not here.in_front and not here.announced:
                self._here.pop(user, None)

    async def _keep(self, moved: list[_Here], until: datetime) -> None:
        if not moved:
            return
        await self._presence.keep([h.caller.user for h in moved], until)
        doctors = [h.caller.user for h in moved if h.caller.role is Role.DOCTOR]
        if doctors:
            await self._doctors.keep_online(doctors, until)
        for here in moved:
            here.until = until

    async def _announce(self, here: _Here, *, online: bool) -> None:
        """Tell those he shares an open consultation or a live group with, once for each change."""
        if here.announced is online:
            return
        here.announced = online
        shared = await self._store.page(here.caller, sorted(OPEN), None, PEERS_MAX)
        peers = {user for c in shared for user in c.members if c.concerns(user)}
        groups = await self._groups.rooms_of(here.caller.user, None, PEERS_MAX)
        peers |= {user for group in groups if group.live for user in group.members}
        event = {"user": here.caller.user, "online": online}
        self._channel.push(peers - {here.caller.user}, "presence:changed", event)
