"""Recordings of calls (通话录制, V8): their states, what a film holds, and what of it is missing.

A recording is `running` while its call goes on. It ends `finished` when it was told to, else it is
`interrupted`; and it is `stored` once nothing of it depends on its host any more.
"""

from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any, BinaryIO, Protocol

from care.calls import Call
from care.effects import Line, Outgoing
from care.errors import Conflict
from care.media import RecordingState
from care.record import Record, wire_time
from care.rooms import Kind

_RUNNING, _INTERRUPTED = RecordingState.RUNNING, RecordingState.INTERRUPTED
_FINISHED, _STORED = RecordingState.FINISHED, RecordingState.STORED

TABLE: Mapping[RecordingState, frozenset[RecordingState]] = {
    # stored from any state: what was found after a crash is kept as well
    _RUNNING: frozenset({_INTERRUPTED, _FINISHED, _STORED}),
    # another worker goes on with it
    _INTERRUPTED: frozenset({_RUNNING, _FINISHED, _STORED}),
    _FINISHED: frozenset({_STORED}),
    _STORED: frozenset(),
}


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
    """Nobody recorded: a full disk, a lost worker."""


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
    """What a film holds, as it was measured while it was written. An empty one has no tracks."""

    recording: str
    call: str
    started_at: datetime
    duration_ms: int
    mime: str
    size: int
    poster_size: int | None = None
    parts: tuple[str, ...] = ()
    """The names of the journal's parts it was made from."""
    tracks: tuple[Track, ...] = ()
    gaps: tuple[Gap, ...] = ()


class Recording(Record):
    id: str
    call: str
    consultation: str
    room: str
    state: RecordingState
    problem: str = ""
    """Why it was interrupted, for people."""
    started_at: datetime
    ended_at: datetime | None = None
    stored_at: datetime | None = None
    footage: Footage | None = None
    sha256: str | None = None
    """Of the film."""
    version: int = 1

    def to_wire(self) -> dict[str, Any]:
        footage = self.footage and self.footage.model_dump(
            mode="json", include={"duration_ms", "mime", "size", "tracks", "gaps"}
        )
        return {
            "id": self.id,
            "call": self.call,
            "consultation": self.consultation,
            "state": self.state.value,
            "problem": self.problem or None,
            "started_at": wire_time(self.started_at),
            "ended_at": self.ended_at and wire_time(self.ended_at),
            "sha256": self.sha256,
            "poster": bool(self.footage and self.footage.poster_size),
            "duration_ms": None,
            "mime": None,
            "size": None,
            "tracks": [],
            "gaps": [],
        } | (footage or {})


def begun(call: Call, recording_id: str, started_at: datetime) -> Recording:
    return Recording(
        id=recording_id,
        call=call.id,
        consultation=call.consultation,
        room=call.room,
        state=_RUNNING,
        started_at=started_at,
    )


def move(
    recording: Recording, state: RecordingState, now: datetime, problem: str = ""
) -> Recording:
    """Return the recording in another state. Raises Conflict where the table has no such move."""
    if state not in TABLE[recording.state]:
        raise Conflict
    ended = None if state is _RUNNING else recording.ended_at or now
    return recording.changed(
        state=state, ended_at=ended, problem=problem, version=recording.version + 1
    )


def stored(recording: Recording, footage: Footage, sha256: str, now: datetime) -> Recording:
    """Return the recording with its film. Raises Conflict when it has one."""
    after = move(recording, _STORED, now, recording.problem)
    return after.changed(footage=footage, sha256=sha256, stored_at=now)


def kept(recording: Recording, footage: Footage) -> Outgoing:
    """Write the film's digest into its room's chain (S1)."""
    seconds = footage.duration_ms // 1000
    text = f"通话录制已保存，时长 {seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
    if not footage.tracks:
        text = "通话录制中没有声音和画面"
    elif footage.gaps:
        text += f"，有 {len(footage.gaps)} 处缺失"
    key = f"recording:{recording.id}"
    body = {
        "text": text,
        "recording": recording.id,
        "call": recording.call,
        "duration_ms": footage.duration_ms,
        "size": footage.size,
        "sha256": recording.sha256,
    }
    line = Line(room=recording.room, key=key, kind=Kind.SYSTEM, body=body)
    return Outgoing(id=f"{key}:{recording.version:06d}", effects=(line,))


class Claim(Record):
    """The right of one process to store a recording's film; it ends by itself."""

    recording: str
    token: str


class LeaseLost(Exception):
    """Another process has taken over."""


class RecordingStore(Protocol):
    """Keeps recordings. A film that is found is whole and durable."""

    async def create(self, recording: Recording) -> None:
        """Store one that runs, unless it is there already."""
        ...

    async def get(self, recording: str) -> Recording | None: ...

    async def of_consultation(self, consultation: str) -> list[Recording]: ...

    async def replace(self, before: Recording, after: Recording) -> bool:
        """Store the change unless somebody else changed it first; say whether it was stored."""
        ...

    async def claim(self, recording: str) -> Claim | None:
        """Give the right to store the film to one process at a time; None to all others."""
        ...

    async def upload(self, claim: Claim, film: BinaryIO, poster: BinaryIO | None) -> str:
        """Take the film in, a part at a time; give its SHA-256. Raises LeaseLost."""
        ...

    async def keep(self, claim: Claim, recording: Recording, outgoing: Outgoing) -> bool:
        """Make what was uploaded the recording's film; say whether it was stored by this call."""
        ...

    async def let_go(self, claim: Claim) -> None:
        """Give the claim back, and what was uploaded under it."""
        ...

    def read(self, recording: str, *, poster: bool, start: int, stop: int) -> AsyncIterator[bytes]:
        """Give the bytes from `start` up to `stop`, a chunk at a time."""
        ...
