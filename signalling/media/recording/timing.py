"""When each packet of a recording was taken, in seconds of the recording (RFC 3550, 6.4.1).

A side's audio and video are set against each other by its sender reports: both name times of its
one clock. Sides are set against each other by their fastest packets.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping

from signalling.media.recording.journal import Entry, Packet, Report, Source

CLOCK = {"audio": 48_000, "video": 90_000}
"""RTP's ticks a second (RFC 7587, RFC 7741, RFC 6184)."""
NTP_FRACTION = 1 << 32
CLOCK_ERROR_SECONDS = 2.0
"""A report that is further off than a network can make it is not believed."""


class Unwrapper:
    """Count a wrapping number on: packets come out of order, but not by half its range."""

    def __init__(self, bits: int) -> None:
        self._half = 1 << (bits - 1)
        self._range = 1 << bits
        self._last: int | None = None

    def __call__(self, value: int) -> int:
        if self._last is None:
            self._last = value
        step = (value - self._last + self._half) % self._range - self._half
        self._last += step
        return self._last


class SourceTiming:
    """Learn one stream's timing from all its packets and reports, then tell it."""

    def __init__(self, source: Source) -> None:
        self.visit = source.user, source.visit
        self._rate = CLOCK[source.kind]
        self._unwrap = Unwrapper(32)
        self._reports: list[tuple[int, float]] = []
        self._first_report: tuple[float, float] | None = None
        self._fastest: dict[int, tuple[float, int]] = {}
        """Of each second the packet that was least on its way: arrival, timestamp."""
        self._arrival = 0.0
        self.offset = 0.0
        """Of the recording's clock to the sender's."""

    def learn(self, entry: Packet | Report) -> None:
        if isinstance(entry, Packet):
            self._learn_packet(entry.arrival, self._unwrap(entry.timestamp))
        elif self._fastest and entry.ntp:
            # timestamps are counted from the first packet on; zero is "no clock" (RFC 3550)
            self._learn_report(entry.ntp / NTP_FRACTION, self._unwrap(entry.timestamp))

    def _learn_packet(self, arrival: float, timestamp: int) -> None:
        self._arrival = arrival
        second = int(arrival)
        known = self._fastest.get(second)
        if known is None or arrival - known[0] < (timestamp - known[1]) / self._rate:
            self._fastest[second] = arrival, timestamp

    def _learn_report(self, ntp: float, timestamp: int) -> None:
        """Take a report as arrived with the packet before it."""
        if self._first_report is None:
            self._first_report = self._arrival, ntp
        arrival, first = self._first_report
        drift = (ntp - first) - (self._arrival - arrival)
        known, then = self._reports[-1] if self._reports else (timestamp - 1, first - 1)
        if abs(drift) <= CLOCK_ERROR_SECONDS and timestamp > known and ntp > then:
            self._reports.append((timestamp, ntp))

    @property
    def reported(self) -> bool:
        return bool(self._reports)

    @property
    def own_offset(self) -> float:
        """Take the packet that was least on its way for one that came at once."""
        ways = (arrival - self.sampled(timestamp) for arrival, timestamp in self._fastest.values())
        return min(ways, default=0.0)

    def sampled(self, timestamp: int) -> float:
        """Tell when it was sampled, by the sender's clock, between its two nearest reports."""
        if not self._reports:
            return timestamp / self._rate
        after = bisect_right(self._reports, (timestamp, float("inf")))
        known, ntp = self._reports[max(after - 1, 0)]
        if 0 < after < len(self._reports):
            following, then = self._reports[after]
            return ntp + (timestamp - known) * (then - ntp) / (following - known)
        return ntp + (timestamp - known) / self._rate

    def at(self, timestamp: int) -> float:
        """Tell when it was sampled, in seconds of the recording."""
        return self.sampled(timestamp) + self.offset


def learn(entries: Iterable[Entry]) -> Mapping[int, SourceTiming]:
    """Read a journal through for the timing of all its streams."""
    timings: dict[int, SourceTiming] = {}
    for entry in entries:
        match entry:
            case Source():
                timings[entry.number] = SourceTiming(entry)
            case Packet() | Report():
                timings[entry.source].learn(entry)
    _set_offsets(timings.values())
    return timings


def _set_offsets(timings: Iterable[SourceTiming]) -> None:
    """Give the streams of a visit one offset: their reports are of one clock."""
    visits: dict[tuple[str, int], list[SourceTiming]] = defaultdict(list)
    for timing in timings:
        timing.offset = timing.own_offset
        if timing.reported:
            visits[timing.visit].append(timing)
    for own in visits.values():
        least = min(timing.offset for timing in own)
        for timing in own:
            if timing.offset - least <= CLOCK_ERROR_SECONDS:
                timing.offset = least
