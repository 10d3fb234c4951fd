"""The consultations' clocks: what is due is closed by one conditional write, late ones at start.

Deadlines live with the consultations. `check_at` is not later than the true deadline, except while
a process looks: a message moves the deadline without a write, and the clock finds that out when it
looks. docs/decisions/0009-deadlines-and-clocks.md says which time counts.
"""

import asyncio
from datetime import datetime, timedelta
from typing import Protocol

import structlog

from care.consultation import Consultation
from care.ports import Clock, ConsultationStore

POLL_SECONDS = 1.0
LEASE = timedelta(seconds=10)
"""How long a due consultation is left to the process that looks at it."""
RETRY = timedelta(seconds=60)
APART_MAX = timedelta(seconds=60)
"""How far the hospital's time and the database server's may be apart for anything to be closed."""

logger = structlog.get_logger(__name__)


class MovableClock(Clock, Protocol):
    """The virtual clock: stands where it is put, then runs on."""

    def advance_to(self, at: datetime) -> None: ...


class Closer(Protocol):
    """Closes a consultation whose time is up; says whether it did."""

    async def run_out(self, consultation: Consultation) -> bool: ...


class Deadlines:
    def __init__(self, store: ConsultationStore, consultations: Closer, clock: Clock) -> None:
        self._store = store
        self._consultations = consultations
        self._clock = clock
        # the poll and an advance of the virtual clock must not interleave
        self._turn = asyncio.Lock()

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
            due = await self._store.next_check()
            if due is None or due > self._clock.now():
                return
            if virtual or await self._clocks_agree():
                await self._close_due()

    async def _clocks_agree(self) -> bool:
        apart = self._clock.now() - await self._store.server_time()
        if abs(apart) <= APART_MAX:
            return True
        logger.error("deadlines_held", clocks_apart_s=apart.total_seconds())
        return False

    async def advance(self, clock: MovableClock, seconds: float) -> None:
        """Move the hospital's time, stopping at each deadline on the way to handle it."""
        async with self._turn:
            target = self._clock.now() + timedelta(seconds=seconds)
            while (due := await self._store.next_check()) is not None and due <= target:
                if due > self._clock.now():
                    clock.advance_to(due)
                await self._close_due()
            clock.advance_to(target)

    async def _close_due(self) -> None:
        while due := await self._claim():
            await self._look_at(due)

    async def _claim(self) -> Consultation | None:
        now = self._clock.now()
        return await self._store.claim_due(now, now + LEASE)

    async def _look_at(self, consultation: Consultation) -> None:
        """Close it if its time is up; one that can't be closed now must not hold up the others."""
        try:
            await self._consultations.run_out(consultation)
        except Exception:
            logger.exception("deadline_failed", consultation=consultation.id)
            await self._store.postpone(consultation, self._clock.now() + RETRY)
