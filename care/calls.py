"""A call (语音通话, 视频通话): its states, who may move it, and its clocks (V1–V10).

`TABLE` is the whole state machine; a missing key is the refusal. Everything here is a pure
function of the record, the caller and the time.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from care.errors import Conflict, Forbidden
from care.policy import CallPolicy
from care.record import Record, wire_time


class Media(StrEnum):
    AUDIO = "audio"
    VIDEO = "video"


class Path(StrEnum):
    """Which way the media go (V3)."""

    DIRECT = "p2p"
    RELAY = "relay"


class CallState(StrEnum):
    RINGING = "ringing"
    CONNECTING = "connecting"
    CONNECTED = "connected"
    ENDED = "ended"


class CallAction(StrEnum):
    ACCEPT = "accept"
    DECLINE = "decline"
    CANCEL = "cancel"
    CONNECT = "connect"
    COUNT = "count"
    HANG_UP = "hang_up"
    RUN_OUT = "run_out"


class EndReason(StrEnum):
    HUNG_UP = "hung_up"
    DECLINED = "declined"
    MISSED = "missed"
    CANCELLED = "cancelled"
    FAILED = "failed"
    NETWORK = "network"


class Device(StrEnum):
    """A microphone or a camera as its owner has it."""

    ON = "on"
    OFF = "off"
    BLOCKED = "blocked"


class Report(Record):
    """What one side measured since its last report; None is what it couldn't know (V9)."""

    connection: str
    rtt_ms: float | None = None
    jitter_ms: float | None = None
    loss: float | None = None
    concealed: float | None = None
    bitrate_kbps: float | None = None
    candidate: str | None = None
    """The kind of the local ICE candidate in use: host, srflx, prflx, relay."""


class Ticket(Record):
    """What opens the call page for one user of one call."""

    call: str
    user: str
    expires_at: datetime


MEASURED = ("rtt_ms", "jitter_ms", "loss", "concealed", "bitrate_kbps")

Step = tuple[CallState, EndReason | None]

TABLE: Mapping[tuple[CallState, CallAction], Step] = {
    (CallState.RINGING, CallAction.ACCEPT): (CallState.CONNECTING, None),
    (CallState.RINGING, CallAction.DECLINE): (CallState.ENDED, EndReason.DECLINED),
    (CallState.RINGING, CallAction.CANCEL): (CallState.ENDED, EndReason.CANCELLED),
    (CallState.RINGING, CallAction.RUN_OUT): (CallState.ENDED, EndReason.MISSED),
    (CallState.CONNECTING, CallAction.CONNECT): (CallState.CONNECTED, None),
    # the caller gave up at the moment the other one accepted
    (CallState.CONNECTING, CallAction.CANCEL): (CallState.ENDED, EndReason.CANCELLED),
    (CallState.CONNECTING, CallAction.HANG_UP): (CallState.ENDED, EndReason.HUNG_UP),
    (CallState.CONNECTING, CallAction.RUN_OUT): (CallState.ENDED, EndReason.FAILED),
    (CallState.CONNECTED, CallAction.COUNT): (CallState.CONNECTED, None),
    (CallState.CONNECTED, CallAction.HANG_UP): (CallState.ENDED, EndReason.HUNG_UP),
    (CallState.CONNECTED, CallAction.RUN_OUT): (CallState.ENDED, EndReason.NETWORK),
}

CALLER_ONLY = frozenset({CallAction.CANCEL})
CALLEE_ONLY = frozenset({CallAction.ACCEPT, CallAction.DECLINE})
CLOCK_ONLY = frozenset({CallAction.COUNT, CallAction.RUN_OUT})


class Party(Record):
    """One side: the one connection its media runs for, and when it was last heard of."""

    user: str
    role: str
    name: str
    connection: str | None = None
    device_id: str | None = None
    seen_at: datetime | None = None
    gone: bool = False
    connected: bool = False
    """It reported that media flows both ways, since it last began anew."""
    described: bool = False
    """Its offer or answer is on its way, since both last began anew."""
    mic: Device = Device.ON
    camera: Device = Device.ON

    def to_wire(self) -> dict[str, Any]:
        shown = self.model_dump(mode="json", include={"user", "role", "name", "mic", "camera"})
        return shown | {"present": self.connection is not None and not self.gone}


class Call(Record):
    id: str
    room: str
    consultation: str
    media: Media
    mode: Path = Path.DIRECT
    worker: str | None = None
    """The life of the media worker that relays it; None until the first offer."""
    state: CallState
    parties: tuple[Party, ...]
    """Who started it comes first."""
    offers: tuple[str, ...] = ()
    """Whose offers wait for an answer."""
    generation: int = 1
    """Grows when a side comes back without its media, so that both begin anew."""
    recording: bool = False
    started_at: datetime
    accepted_at: datetime | None = None
    connected_at: datetime | None = None
    counted: bool = False
    """It lasted long enough to be a consultation (V10)."""
    ended_at: datetime | None = None
    end_reason: EndReason | None = None
    ended_by: str | None = None
    check_at: datetime | None = None
    """When the clock looks at it next: never later than its true deadline."""
    version: int = 1

    @property
    def live(self) -> bool:
        return self.state is not CallState.ENDED

    @property
    def relayed(self) -> bool:
        return self.mode is Path.RELAY

    @property
    def users(self) -> tuple[str, ...]:
        return tuple(party.user for party in self.parties)

    @property
    def starter(self) -> Party:
        return self.parties[0]

    @property
    def last_seen_at(self) -> datetime:
        """Tell when the side was heard of that has been silent longest."""
        return min(party.seen_at or self.started_at for party in self.parties)

    @property
    def duration(self) -> timedelta:
        """Tell how long both were connected, once it has ended; lost time doesn't count (V6)."""
        if self.connected_at is None or self.ended_at is None:
            return timedelta()
        lost = self.end_reason is EndReason.NETWORK
        until = self.last_seen_at if lost else self.ended_at
        return max(until - self.connected_at, timedelta())

    def party(self, user: str) -> Party:
        """Give the user's side. Raises Forbidden for everybody else."""
        for party in self.parties:
            if party.user == user:
                return party
        raise Forbidden

    def others(self, user: str) -> tuple[Party, ...]:
        return tuple(party for party in self.parties if party.user != user)

    def with_party(self, party: Party) -> "Call":
        """Return the call with this side replaced."""
        sides = tuple(party if old.user == party.user else old for old in self.parties)
        return self.changed(parties=sides)

    def to_wire(self, viewer: str) -> dict[str, Any]:
        """Show it to a party.

        `polite` says who yields when both offer at once: not the doctor, and never the relay.
        """
        accepted = self.accepted_at is not None
        return {
            "id": self.id,
            "room": self.room,
            "consultation": self.consultation,
            "media": self.media.value,
            "mode": self.mode.value,
            "state": self.state.value,
            "started_by": self.starter.user,
            "accepted_by": self.parties[1].user if accepted else None,
            "device_id": self.party(viewer).device_id,
            "parties": [party.to_wire() for party in self.parties],
            "polite": self.relayed or viewer != self.starter.user,
            "generation": self.generation,
            "recording": self.recording,
            "started_at": wire_time(self.started_at),
            "connected_at": self.connected_at and wire_time(self.connected_at),
            "ended_at": self.ended_at and wire_time(self.ended_at),
            "end_reason": self.end_reason and self.end_reason.value,
            "duration_s": int(self.duration.total_seconds()),
        }


def deadline(call: Call, policy: CallPolicy) -> datetime | None:
    """Tell when the call ends by itself; none once it has. A silent side may come back (V5)."""
    grace = timedelta(seconds=policy.grace_seconds)
    match call.state:
        case CallState.RINGING:
            return call.started_at + timedelta(seconds=policy.ring_seconds)
        case CallState.CONNECTING if call.accepted_at:
            limit = call.accepted_at + timedelta(seconds=policy.connect_seconds)
            return min(limit, call.last_seen_at + grace)
        case CallState.CONNECTED:
            return call.last_seen_at + grace
    return None


def counts_at(call: Call, policy: CallPolicy) -> datetime | None:
    """Tell when a connected call has lasted long enough to be a consultation (V10)."""
    if call.state is not CallState.CONNECTED or call.counted or call.connected_at is None:
        return None
    if any(party.gone for party in call.parties):
        return None
    return call.connected_at + timedelta(seconds=policy.least_seconds)


def next_check(call: Call, policy: CallPolicy) -> datetime | None:
    """Tell when the clock must look at it."""
    return min(filter(None, [deadline(call, policy), counts_at(call, policy)]), default=None)


def permit(call: Call, action: CallAction, user: str) -> None:
    """Refuse a user who may not ask for the action. Raises Forbidden."""
    party = call.party(user)
    starter = party.user == call.starter.user
    if (
        action in CLOCK_ONLY
        or (action in CALLER_ONLY and not starter)
        or (action in CALLEE_ONLY and starter)
    ):
        raise Forbidden


def move(
    call: Call, action: CallAction, now: datetime, policy: CallPolicy, by: str | None = None
) -> Call:
    """Return the call after the action. Raises Conflict where the table has no such move."""
    step = TABLE.get((call.state, action))
    if step is None:
        raise Conflict
    state, reason = step
    changes: dict[str, Any] = {"state": state, "version": call.version + 1}
    if state is CallState.ENDED:
        after = call.changed(**changes, ended_at=now, end_reason=reason, ended_by=by, offers=())
        return after.changed(counted=after.counted or _lasted(after, policy), check_at=None)
    if action is CallAction.ACCEPT:
        changes["accepted_at"] = now
    elif action is CallAction.CONNECT:
        changes["connected_at"] = now
    elif action is CallAction.COUNT:
        changes["counted"] = True
    return scheduled(call.changed(**changes), policy)


def scheduled(call: Call, policy: CallPolicy) -> Call:
    """Return the call with the time at which the clock looks at it."""
    return call.changed(check_at=next_check(call, policy))


def _lasted(call: Call, policy: CallPolicy) -> bool:
    return call.duration >= timedelta(seconds=policy.least_seconds)
