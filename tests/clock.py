"""A clock that tests move by hand."""

from datetime import UTC, datetime, timedelta

START = datetime(2026, 11, 22, 0, 0, tzinfo=UTC)
"""08:00 in the hospital's zone."""


class ManualClock:
    """Stands still until told otherwise."""

    def __init__(self, at: datetime = START) -> None:
        self._now = at

    def now(self) -> datetime:
        return self._now

    def advance(self, seconds: float) -> None:
        self._now += timedelta(seconds=seconds)
