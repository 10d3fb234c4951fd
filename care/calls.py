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
    LAPSE = "lapse"
    RUN_OUT = "run_out"


class EndReason(StrEnum):
    HUNG_UP = "hung_up"
    DECLINED = "declined"
    MISSED = "missed"
    CANCELLED = "cancelled"
    FAILED = "failed"
    NETWORK = "network"


class SideState(StrEnum):
    RUNG = "rung"
    IN = "in"
    DECLINED = "declined"
    MISSED = "missed"
    LEFT = "left"


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


ENOUGH = 2
"""Sides that make a call."""

MEASURED = ("rtt_ms", "jitter_ms", "loss", "concealed", "bitrate_kbps")

Step = tuple[CallState, EndReason | None]

TABLE: Mapping[tuple[CallState, CallAction], Step] = {
    (CallState.RINGING, CallAction.ACCEPT): (CallState.CONNECTING, None),
    (CallState.RINGING, CallAction.DECLINE): (CallState.ENDED, EndReason.DECLINED),
    (CallState.RINGING, CallAction.CANCEL): (CallState.ENDED, EndReason.CANCELLED),
    (CallState.RINGING, CallAction.RUN_OUT): (CallState.ENDED, EndReason.MISSED),
    # of more than two sides, one comes, goes or is given up, and the others go on; where fewer than
    # two are left of those in it and those rung, it ends instead
    (CallState.CONNECTING, CallAction.ACCEPT): (CallState.CONNECTING, None),
    (CallState.CONNECTING, CallAction.DECLINE): (CallState.CONNECTING, None),
    (CallState.CONNECTING, CallAction.LAPSE): (CallState.CONNECTING, None),
    (CallState.CONNECTED, CallAction.ACCEPT): (CallState.CONNECTED, None),
    (CallState.CONNECTED, CallAction.DECLINE): (CallState.CONNECTED, None),
    (CallState.CONNECTED, CallAction.LAPSE): (CallState.CONNECTED, None),
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
CLOCK_ONLY = frozenset({CallAction.COUNT, CallAction.LAPSE, CallAction.RUN_OUT})
LEAVING: Mapping[CallAction, SideState] = {
    CallAction.DECLINE: SideState.DECLINED,
    CallAction.HANG_UP: SideState.LEFT,
}
"""Actions of one side, which end the call where it was one of the last two."""


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
    out: SideState | None = None
    """Why it isn't in the call, and not rung either."""
    mic: Device = Device.ON
    camera: Device = Device.ON

    @property
    def inside(self) -> bool:
        return self.connection is not None and self.out is None

    @property
    def rung(self) -> bool:
        return self.connection is None and self.out is None

    @property
    def state(self) -> SideState:
        return self.out or (SideState.RUNG if self.rung else SideState.IN)

    def to_wire(self) -> dict[str, Any]:
        shown = self.model_dump(mode="json", include={"user", "role", "name", "mic", "camera"})
        return shown | {"state": self.state.value, "present": self.inside and not self.gone}


class Call(Record):
    id: str
    room: str
    consultation: str
    group: str | None = None
    """The group consultation whose room it is in (G4)."""
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
    recording_asked_by: str | None = None
    consents: tuple[str, ...] = ()
    """Who agrees to being recorded (V8)."""
    recording_id: str | None = None
    """The recording that every side agreed to, whether it runs yet or not."""
    recording: bool = False
    """It runs: media are being written."""
    started_at: datetime
    rung_at: datetime | None = None
    """When somebody was rung last, where that was after its begin."""
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
    def inside(self) -> tuple[Party, ...]:
        return tuple(party for party in self.parties if party.inside)

    def had(self, user: str) -> bool:
        """Tell whether a user was ever in it: who was rung in vain was not."""
        return any(p.user == user and p.connection is not None for p in self.parties)

    @property
    def engaged(self) -> tuple[Party, ...]:
        """Give who is in it or rung for it."""
        return tuple(party for party in self.parties if party.out is None)

    @property
    def last_seen_at(self) -> datetime:
        """Tell when the side was heard of that has been silent longest."""
        seen = [party.seen_at or self.started_at for party in self.inside]
        return min(seen, default=self.started_at)

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
        accepted = (p.user for p in self.parties if p != self.starter and p.connection is not None)
        return {
            "id": self.id,
            "version": self.version,
            "room": self.room,
            "consultation": self.consultation,
            "group": self.group,
            "media": self.media.value,
            "mode": self.mode.value,
            "state": self.state.value,
            "started_by": self.starter.user,
            "accepted_by": next(accepted, None),
            "device_id": self.party(viewer).device_id,
            "parties": [party.to_wire() | {"me": party.user == viewer} for party in self.parties],
            "polite": self.relayed or viewer != self.starter.user,
            "generation": self.generation,
            "recording": self.recording,
            "recording_asked_by": self.recording_asked_by,
            "consents": list(self.consents),
            "started_at": wire_time(self.started_at),
            "connected_at": self.connected_at and wire_time(self.connected_at),
            "ended_at": self.ended_at and wire_time(self.ended_at),
            "end_reason": self.end_reason and self.end_reason.value,
            "duration_s": int(self.duration.total_seconds()),
        }


def deadline(call: Call, policy: CallPolicy) -> datetime | None:
    """Tell when somebody is given up, or all of it; none once it has ended (V5)."""
    if not call.live:
        return None
    grace = timedelta(seconds=policy.grace_seconds)
    looks = [call.last_seen_at + grace] if call.state is not CallState.RINGING else []
    if any(party.rung for party in call.parties):
        looks.append(_rings_until(call, policy))
    if call.state is CallState.CONNECTING and call.accepted_at:
        looks.append(call.accepted_at + timedelta(seconds=policy.connect_seconds))
    return min(looks)


def due(call: Call, now: datetime, policy: CallPolicy) -> CallAction | None:
    """Tell what the clock asks for."""
    at = deadline(call, policy)
    if at is not None and at <= now:
        limit = timedelta(seconds=policy.connect_seconds)
        late = call.state is CallState.CONNECTING and (call.accepted_at or now) + limit <= now
        enough = len(_lapsed(call, now, policy).engaged) >= ENOUGH
        return CallAction.LAPSE if enough and not late else CallAction.RUN_OUT
    counts = counts_at(call, policy)
    return CallAction.COUNT if counts is not None and counts <= now else None


def counts_at(call: Call, policy: CallPolicy) -> datetime | None:
    """Tell when a connected call has lasted long enough to be a consultation (V10)."""
    if call.state is not CallState.CONNECTED or call.counted or call.connected_at is None:
        return None
    if sum(not party.gone for party in call.inside) < ENOUGH:
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
    if action in LEAVING and by is not None:
        call = _without(call, call.party(by), action)
        state, reason = _after_leaving(call, action)
    elif action is CallAction.LAPSE:
        call = _lapsed(call, now, policy)
    changes: dict[str, Any] = {"state": state, "version": call.version + 1}
    if state is CallState.ENDED:
        after = call.changed(
            **changes, ended_at=now, end_reason=reason, ended_by=by, offers=(), recording=False
        )
        return after.changed(counted=after.counted or _lasted(after, policy), check_at=None)
    if action is CallAction.ACCEPT:
        changes["accepted_at"] = call.accepted_at or now
    elif action is CallAction.CONNECT:
        changes["connected_at"] = now
    elif action is CallAction.COUNT:
        changes["counted"] = True
    return scheduled(call.changed(**changes), policy)


def _without(call: Call, party: Party, action: CallAction) -> Call:
    if not (party.rung if action is CallAction.DECLINE else party.inside):
        raise Conflict
    return call.with_party(party.changed(out=LEAVING[action], connected=False))


def _after_leaving(call: Call, action: CallAction) -> Step:
    if len(call.engaged) >= ENOUGH:
        return call.state, None
    declined = action is CallAction.DECLINE and call.state is CallState.RINGING
    return CallState.ENDED, EndReason.DECLINED if declined else EndReason.HUNG_UP


def _lapsed(call: Call, now: datetime, policy: CallPolicy) -> Call:
    """Give up on sides that were rung, or not heard of, for too long."""
    rings_until = _rings_until(call, policy)
    heard_since = now - timedelta(seconds=policy.grace_seconds)
    sides = []
    for party in call.parties:
        out = party.out
        if party.rung and rings_until <= now:
            out = SideState.MISSED
        elif party.inside and (party.seen_at or call.started_at) <= heard_since:
            out = SideState.LEFT
        sides.append(party.changed(out=out, connected=party.connected and out is None))
    return call.changed(parties=tuple(sides))


def _rings_until(call: Call, policy: CallPolicy) -> datetime:
    return (call.rung_at or call.started_at) + timedelta(seconds=policy.ring_seconds)


def scheduled(call: Call, policy: CallPolicy) -> Call:
    """Return the call with the time at which the clock looks at it."""
    return call.changed(check_at=next_check(call, policy))


def _lasted(call: Call, policy: CallPolicy) -> bool:
    return call.duration >= timedelta(seconds=policy.least_seconds)
