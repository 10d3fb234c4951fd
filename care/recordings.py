"""Recordings of calls (通话录制, V8): what a file holds, what is missing, how far each one is.

A recording is `running` while its call goes on. It ends `finished` when it was told to, else
`interrupted`; and is `stored` when its film is in the database and its digest in the room's chain.
"""

from datetime import datetime
from enum import StrEnum

from care.record import Record


class GapReason(StrEnum):
    ABSENT = "absent"
    """Nothing came from the side: it was not there, or sent nothing."""
    LOST = "lost"
    """Packets never came; a picture is missing until the next one that stands alone."""
    CODEC = "codec"
    """The side changed its codec: a new track follows."""
    OVERLOAD = "overload"
    """The disk was too slow for what came."""
    INTERRUPTED = "interrupted"
    """The recording ended before it was told to: a full disk, a lost worker."""


class Gap(Record):
    """A part that is missing, in milliseconds of the recording; without an end it lasts on.

    Without a user it concerns every side.
    """

    user: str | None = None
    kind: str | None = None
    reason: GapReason
    begins_ms: int
    ends_ms: int | None = None


class Track(Record):
    """One side's audio or video; several of them where its codec changed."""

    user: str
    kind: str
    codec: str
    lost_packets: int = 0


class Footage(Record):
    """What a finished file holds, as it was measured while it was written."""

    recording: str
    call: str
    started_at: datetime
    duration_ms: int
    mime: str
    size: int
    poster_size: int | None = None
    tracks: tuple[Track, ...] = ()
    gaps: tuple[Gap, ...] = ()
