"""The hospital's clocks: the system's, and one that tests move forward."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from care.record import to_millisecond

# counts a laptop's sleep too, where the system can tell
_STEADY = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class SystemClock:
    """Reads the host's time once, then counts on from it: a host clock that jumps moves nothing."""

    def __init__(
        self,
        wall: Callable[[], datetime] = lambda: datetime.now(UTC),
        steady: Callable[[], float] = lambda: time.clock_gettime(_STEADY),
    ) -> None:
        self._steady = steady
        self._zero = wall() - timedelta(seconds=steady())

    def now(self) -> datetime:
        return to_millisecond(self._zero + timedelta(seconds=self._steady()))


class VirtualClock:
    """Runs as the system's clock does, ahead of it by what `advance_to` added."""

    def __init__(self) -> None:
        self._system = SystemClock()
        self._ahead = timedelta()

    def now(self) -> datetime:
        return self._system.now() + self._ahead

    def advance_to(self, at: datetime) -> None:
        """Move forward to `at`; a time already past changes nothing."""
        self._ahead += max(to_millisecond(at) - self.now(), timedelta())
