"""What an operator may set of the gateway."""

from collections.abc import Mapping

from pydantic import PositiveFloat, PositiveInt

from care.policy import Section


class Rate(Section):
    """A token bucket: so many at once, then so many a second."""

    burst: PositiveInt
    per_second: PositiveFloat


class Limits(Section):
    default: Rate = Rate(burst=200, per_second=50)
    commands: Mapping[str, Rate] = {
        # far above any person, below what one client needs to slow the log down for others
        "message:send": Rate(burst=1500, per_second=300),
        "typing:set": Rate(burst=30, per_second=10),
        "message:search": Rate(burst=20, per_second=5),
        # one every 5 s, and at each change of the connection
        "call:stats": Rate(burst=100, per_second=2),
        "call:candidate": Rate(burst=400, per_second=100),
    }


class GatewaySettings(Section):
    origins: tuple[str, ...] = ()
    """Web origins let in beside the server's own; clients that send no Origin are always let in."""
    ping_interval_seconds: PositiveInt = 25
    ping_timeout_seconds: PositiveInt = 20
    connect_seconds: PositiveFloat = 6
    frame_max_bytes: PositiveInt = 65_536
    bad_frames_max: PositiveInt = 10
    outbound_max_bytes: PositiveInt = 1_048_576
    goodbye_seconds: PositiveFloat = 2
    connections_per_user: PositiveInt = 50
    sweep_seconds: PositiveFloat = 2
    drain_seconds: PositiveFloat = 10
    limits: Limits = Limits()
