"""The hospital's clocks: the system's, and one that tests move forward."""

from datetime import UTC, datetime, timedelta

from care.record import to_millisecond


class SystemClock:
    def now(self) -> datetime:
        return to_millisecond(datetime.now(UTC))


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
