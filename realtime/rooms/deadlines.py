"""The consultations' clocks: what is due is closed by one conditional write, late ones at start.

Deadlines live with the consultations. `check_at` is never later than the true deadline: a message
moves the deadline without a write, and the clock finds that out when it looks.
"""

import asyncio
from datetime import datetime, timedelta
from typing import Protocol

import structlog

from care.consultation import Consultation
from care.ports import Clock, ConsultationStore
from realtime.rooms.consultations import ConsultationService

POLL_SECONDS = 1.0
BATCH = 100
RETRY = timedelta(seconds=60)

logger = structlog.get_logger(__name__)


class MovableClock(Clock, Protocol):
    """The virtual clock: stands where it is put, then runs on."""

    def advance_to(self, at: datetime) -> None: ...


class Deadlines:
    def __init__(
        self, store: ConsultationStore, consultations: ConsultationService, clock: Clock
    ) -> None:
        self._store = store
        self._consultations = consultations
        self._clock = clock
        # the poll and an advance of the virtual clock must not interleave
        self._turn = asyncio.Lock()

    async def run(self) -> None:
        """Close what is due, for as long as the process runs."""
        while True:
            try:
                async with self._turn:
                    await self._close_due()
            except Exception:
                logger.exception("deadlines_failed")
            await asyncio.sleep(POLL_SECONDS)

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
        while due := await self._store.due(self._clock.now(), BATCH):
            for consultation in due:
                await self._look_at(consultation)

    async def _look_at(self, consultation: Consultation) -> None:
        """Close it if its time is up; one that can't be closed now must not hold up the others."""
        try:
            await self._consultations.run_out(consultation)
        except Exception:
            logger.exception("deadline_failed", consultation=consultation.id)
            await self._store.postpone(consultation, self._clock.now() + RETRY)
