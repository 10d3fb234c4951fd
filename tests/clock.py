"""A clock that tests move by hand."""

from datetime import UTC, datetime, timedelta

START = datetime(2036, 11, 24, 0, 0, tzinfo=UTC)
"""A Monday, 08:00 in the hospital. Far ahead, as the database drops old rows by its own clock."""


class ManualClock:
    """Stands still until told otherwise."""

    def __init__(self, at: datetime = START) -> None:
        self._now = at

    def now(self) -> datetime:
        return self._now

    def advance(self, seconds: float) -> None:
        self._now += timedelta(seconds=seconds)
