"""A booked slot (预约时段) as its consultation keeps it."""

from datetime import datetime

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
