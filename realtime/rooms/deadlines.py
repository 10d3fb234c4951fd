"""The clocks of consultations and calls: what is due is moved on by one conditional write.

Deadlines live with their records, so late ones are found at start. `check_at` is not later than the
true deadline, except while a process looks: a message moves the deadline without a write, and the
clock finds that out when it looks. Which time counts: docs/decisions/0009-deadlines-and-clocks.md.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

import structlog

from care.ports import Clock

POLL_SECONDS = 1.0
LEASE = timedelta(seconds=10)
"""How long a due record is left to the process that looks at it."""
TAKERS = 4
"""How many records of a kind are looked at at a time; on the virtual clock one, in their order."""
RETRY = timedelta(seconds=60)
APART_MAX = timedelta(seconds=60)
"""How far the hospital's time and the database server's may be apart for anything to be closed."""

logger = structlog.get_logger(__name__)


class MovableClock(Clock, Protocol):
    """The virtual clock: stands where it is put, then runs on."""

    def advance_to(self, at: datetime) -> None: ...


class TimedStore(Protocol):
    """Keeps records that have a time at which they are looked at.

    `claim_due` gives one to no other process before `until`.
    """

    async def next_check(self) -> datetime | None: ...

    async def claim_due(self, now: datetime, until: datetime) -> Any: ...

    async def postpone(self, record: Any, check_at: datetime, /) -> None: ...


@dataclass(frozen=True, slots=True)
class Timed:
    """A kind of records with clocks; `look_at` does what one's clock asks for, if anything."""

    store: TimedStore
    look_at: Callable[[Any], Awaitable[object]]


class Deadlines:
    def __init__(
        self,
        kinds: Sequence[Timed],
        server_time: Callable[[], Awaitable[datetime]],
        clock: Clock,
    ) -> None:
        self._kinds = [*kinds]
        self._server_time = server_time
        self._clock = clock
        # the poll and an advance of the virtual clock must not interleave
        self._turn = asyncio.Lock()

    def watch(self, kind: Timed) -> None:
        """Look at one more kind of records."""
        self._kinds.append(kind)

    async def run(self, *, virtual: bool) -> None:
        """Close what is due, for as long as the process runs."""
        while True:
            try:
                await self.look(virtual=virtual)
            except Exception:
                logger.exception("deadlines_failed")
            await asyncio.sleep(POLL_SECONDS)

    async def look(self, *, virtual: bool = False) -> None:
        """Close what is due, unless this host's clock and the database's disagree.

        A virtual clock is meant to disagree.
        """
        async with self._turn:
            due = await self._next_check()
            if due is None or due > self._clock.now():
                return
            if virtual:
                await self._close_due()
            elif await self._clocks_agree():
                # after a time down a thousand may be due, and calls must not wait for them all
                await asyncio.gather(*(self._close_due() for _ in range(TAKERS)))

    async def _clocks_agree(self) -> bool:
        apart = self._clock.now() - await self._server_time()
        if abs(apart) <= APART_MAX:
            return True
        logger.error("deadlines_held", clocks_apart_s=apart.total_seconds())
        return False

    async def advance(self, clock: MovableClock, seconds: float) -> None:
        """Move the hospital's time, stopping at each deadline on the way to handle it."""
        async with self._turn:
            target = self._clock.now() + timedelta(seconds=seconds)
            while (due := await self._next_check()) is not None and due <= target:
                if due > self._clock.now():
                    clock.advance_to(due)
                await self._close_due()
            clock.advance_to(target)

    async def _next_check(self) -> datetime | None:
        times = [await kind.store.next_check() for kind in self._kinds]
        return min((at for at in times if at is not None), default=None)

    async def _close_due(self) -> None:
        await asyncio.gather(*(self._close_due_of(kind) for kind in self._kinds))

    async def _close_due_of(self, kind: Timed) -> None:
        while due := await self._claim(kind):
            await self._look_at(kind, due)

    async def _claim(self, kind: Timed) -> Any:
        now = self._clock.now()
        return await kind.store.claim_due(now, now + LEASE)

    async def _look_at(self, kind: Timed, record: Any) -> None:
        """Do what its clock asks for; one for which that fails must not hold up the others."""
        try:
            await kind.look_at(record)
        except Exception:
            logger.exception("deadline_failed", record=record.id)
            await kind.store.postpone(record, self._clock.now() + RETRY)
