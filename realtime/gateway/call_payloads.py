"""What each call command takes: strict, unknown fields refused."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from realtime.gateway.payloads import Id
from realtime.gateway.table import Payload

Milliseconds = Annotated[float, Field(ge=0, le=600_000)]
Share = Annotated[float, Field(ge=0, le=1)]
Switch = Literal["on", "off", "blocked"]


class StartCall(Payload):
    room: Id
    media: Literal["audio", "video"]
    record: bool = False


class OneCall(Payload):
    call: Id


class ResumeCall(Payload):
    call: Id
    fresh: bool = True
    """Its media is lost, as after a reload; false where only the socket was."""


class Describe(Payload):
    call: Id
    to: Id | None = None
    sdp: Annotated[str, StringConstraints(min_length=1)]


class IceCandidate(Payload):
    """RTCIceCandidateInit, as browsers write it."""

    candidate: str
    sdpMid: Annotated[str, StringConstraints(max_length=32)] | None = None  # noqa: N815 - W3C's name
    sdpMLineIndex: Annotated[int, Field(ge=0, le=16)] | None = None  # noqa: N815 - W3C's name
    usernameFragment: Annotated[str, StringConstraints(max_length=256)] | None = None  # noqa: N815


class Trickle(Payload):
    call: Id
    to: Id | None = None
    candidate: IceCandidate


class SetMedia(Payload):
    call: Id
    mic: Switch
    camera: Switch


class Consent(Payload):
    call: Id
    record: bool


class Stats(Payload):
    """What one side measured since its last report; what it can't know is left out."""

    connection: Literal["new", "connecting", "connected", "disconnected", "failed"]
    rtt_ms: Milliseconds | None = None
    jitter_ms: Milliseconds | None = None
    loss: Share | None = None
    concealed: Share | None = None
    bitrate_kbps: Annotated[float, Field(ge=0, le=1_000_000)] | None = None
    candidate: Literal["host", "srflx", "prflx", "relay"] | None = None


class ReportStats(Payload):
    call: Id
    stats: Stats
