"""What the relay measures of a side's media, since it joined (V9)."""

import asyncio
from collections.abc import Iterable

from care.media import SideStats
from signalling.media.inbound import Inbound
from signalling.media.outbound import CLOCK
from signalling.media.traffic import Traffic


class Measuring:
    """Reads a side's counters; over its several peer connections, if it begins anew."""

    def __init__(self, user: str) -> None:
        self._user = user
        self._bytes, self._at = 0, asyncio.get_running_loop().time()

    def read(self, traffic: Traffic, candidate: str | None) -> SideStats:
        """Sum up; the bitrate is that since the last reading."""
        now = asyncio.get_running_loop().time()
        total = sum(source.received_bytes for source in traffic.sources.values())
        passed, gained = now - self._at, total - self._bytes
        self._bytes, self._at = total, now
        rtts = [one.rtt for one in traffic.outbounds if one.rtt is not None]
        return SideStats(
            user=self._user,
            candidate=candidate,
            rtt_ms=_ms(max(rtts, default=None)),
            loss=_loss(traffic.sources.values()),
            jitter_ms=_ms(max(map(_jitter, traffic.sources.values()), default=None)),
            bitrate_kbps=round(gained * 8 / passed / 1_000, 1) if gained >= 0 and passed else None,
        )


def _loss(sources: Iterable[Inbound]) -> float | None:
    """Tell the part of the packets that never came."""
    streams = [source.statistics for source in sources if source.statistics]
    expected = sum(stream.packets_expected for stream in streams)
    lost = sum(max(stream.packets_lost, 0) for stream in streams)
    return round(lost / expected, 4) if expected else None


def _jitter(source: Inbound) -> float:
    return source.statistics.jitter / CLOCK[source.kind] if source.statistics else 0.0


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1_000, 1)
