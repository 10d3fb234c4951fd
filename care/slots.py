"""A booked slot (预约时段) as its consultation keeps it."""

from datetime import datetime, timedelta

from care.record import Record


class BookedSlot(Record):
    """The doctor's time that is kept for one consultation, and the terms it was booked on.

    The terms stand with it, so a changed setting doesn't change what a patient was promised.
    """

    id: str
    starts_at: datetime
    ends_at: datetime
    number: int
    """Its place in the doctor's period, from 1 (预约序号)."""
    notice_at: datetime
    """When both are reminded; from then on the doctor may begin in text (B5, V7)."""
    cancel_until: datetime
    missed_at: datetime
    """When it closes unless a call was connected (B6)."""


TICK_MINUTES = 5
"""All slots begin and end at whole ticks, so two overlap exactly when they share one."""


def ticks(starts_at: datetime, ends_at: datetime) -> list[datetime]:
    """List the ticks of a time, its end excluded."""
    tick = timedelta(minutes=TICK_MINUTES)
    return [starts_at + n * tick for n in range((ends_at - starts_at) // tick)]


class Taking(Record):
    """A time of a doctor that nobody else can book; without a consultation he blocked it."""

    starts_at: datetime
    ends_at: datetime
    consultation: str | None = None

    def overlaps(self, starts_at: datetime, ends_at: datetime) -> bool:
        return self.starts_at < ends_at and starts_at < self.ends_at
