"""What calls need of the media path through the server (V3, V8): a media room a call.

A media room lives in one worker process. Every side has one peer connection with it, over which
it sends its own audio and video and receives those of all others.
"""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol

from care.record import Record

BUSY = "通话线路繁忙，请稍后再试"


class RecordingState(StrEnum):
    RUNNING = "running"
    INTERRUPTED = "interrupted"
    """The call goes on, the recording doesn't: a full disk, a lost worker."""
    FINISHED = "finished"
    STORED = "stored"
    """Its film is in the database, and its digest in the room's chain."""


class SideStats(Record):
    """What the relay measured of one side's media since it joined; None is not known yet."""

    user: str
    candidate: str | None = None
    """The kind of the remote ICE candidate in use."""
    rtt_ms: float | None = None
    loss: float | None = None
    """The part of the packets from this side that never came."""
    jitter_ms: float | None = None
    bitrate_kbps: float | None = None


class MediaRelay(Protocol):
    """Relays calls. Raises Unavailable where the worker is gone, or none has room.

    A worker's name is that of one life of a process: the one started in its place has another. The
    call's record says which worker runs it, so that every process of the hub asks the same one.

    An offer of a side is answered at once, with all candidates. What others' coming and going asks
    of a side comes to it as an offer through `RelayEvents`, again and again until it is answered;
    the relay never yields when both offer.
    """

    async def place(self) -> str:
        """Name a worker with room for one more call."""
        ...

    def runs(self, worker: str) -> bool:
        """Tell whether the worker lives, as far as this process knows."""
        ...

    async def join(self, worker: str, call: str, user: str, sdp: str) -> str:
        """Take a side's offer, its first or a later one, and give the answer's SDP.

        Raises BadRequest for an offer that can't be used, Conflict while the relay's own is out.
        """
        ...

    async def take_answer(self, worker: str, call: str, user: str, sdp: str) -> None: ...

    async def take_candidate(
        self, worker: str, call: str, user: str, candidate: Mapping[str, Any]
    ) -> None: ...

    async def leave(self, worker: str, call: str, user: str) -> None:
        """Take a side out, also one that is not there."""
        ...

    async def record(self, worker: str, call: str, recording: str, now: datetime) -> None:
        """Record every side from now on, under this id, until `stop_recording` or the end.

        Raises Conflict while nobody is in the call's room.
        """
        ...

    async def stop_recording(self, worker: str, call: str) -> None: ...

    async def close(self, worker: str, call: str) -> None:
        """End the media room and its recording, also one that is not there."""
        ...

    async def stop(self) -> None:
        """Let go of the workers; what they carry goes on."""
        ...


class RelayEvents(Protocol):
    """Hears from the relay of the sides that joined through this process. Never waits."""

    def offered(self, call: str, user: str, sdp: str) -> None:
        """Renegotiate: the side's answer goes to `take_answer`."""
        ...

    def measured(self, call: str, stats: SideStats) -> None:
        """Keep what was measured of a side, every few seconds."""
        ...

    def lost(self, call: str, worker: str) -> None:
        """Begin anew: the worker that ran this call is gone."""
        ...

    def recording(self, call: str, recording: str, state: RecordingState, problem: str) -> None:
        """Tell how the recording goes; the problem is empty where there is none."""
        ...
