"""One stream that a side sends to its media room: what of it is missing, and who is given it."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Protocol

from aiortc.rate import RemoteBitrateEstimator
from aiortc.rtcrtpparameters import RTCRtpCodecParameters
from aiortc.rtcrtpreceiver import StreamStatistics
from aiortc.rtp import (
    RTCP_PSFB_PLI,
    RTCP_RTPFB_NACK,
    RtcpPsfbPacket,
    RtcpReceiverInfo,
    RtcpRtpfbPacket,
    RtcpSrPacket,
    RtpPacket,
    unwrap_rtx,
)

from signalling.media.packets import SEQUENCE, begins_key_frame, behind
from signalling.media.tap import PacketTap

KEY_FRAME_SECONDS = 0.5
"""Between two requests for one: encoders answer each with a picture many times the usual size."""
MISSING_MAX = 256
"""More lost at once is a break that asking again can't mend."""
ASK_SECONDS = 0.1
ASK_TIMES = 8

Send = Callable[[bytes], None]


class Subscriber(Protocol):
    """Is given a stream, packet by packet."""

    limit: int | None
    """Bits a second that the way to it bears, where known."""

    def forward(self, source: "Inbound", packet: RtpPacket, codec: str) -> None: ...


class Inbound:
    """Takes the packets of one kind, audio or video, from one side."""

    def __init__(
        self, user: str, kind: str, own_ssrc: int, send: Send, taps: Iterable[PacketTap]
    ) -> None:
        self.user, self.kind = user, kind
        self.subscribers: list[Subscriber] = []
        self.ssrc: int | None = None
        self.codec: str | None = None
        """What it sends now, once it does."""
        self.report: RtcpSrPacket | None = None
        """Its last sender report."""
        self.report_at = 0.0
        self.received_bytes = 0
        self.statistics: StreamStatistics | None = None
        self._estimated: int | None = None
        self.own_ssrc = own_ssrc
        self._send, self._taps = send, taps
        self._codecs: dict[int, tuple[str, int]] = {}
        """Their names and clocks, by payload type."""
        self._repeats: dict[int, int] = {}
        """By a retransmission's payload type, that of what it repeats."""
        self._missing = Missing()
        self._estimator = RemoteBitrateEstimator()
        self._loop = asyncio.get_running_loop()
        self._key_asked = -KEY_FRAME_SECONDS
        self._key_wanted: asyncio.TimerHandle | None = None

    def agree(self, codecs: Iterable[RTCRtpCodecParameters]) -> None:
        """Take these codecs from now on, known by their payload types."""
        for codec in codecs:
            if codec.payloadType is None:
                continue
            if codec.name.lower() == "rtx":
                self._repeats[codec.payloadType] = int(codec.parameters.get("apt") or -1)
            else:
                self._codecs[codec.payloadType] = codec.name, codec.clockRate
        self._repeats = {own: of for own, of in self._repeats.items() if of in self._codecs}

    @property
    def agreed(self) -> bool:
        return bool(self._codecs)

    @property
    def limit(self) -> int | None:
        """Bits a second that the ways from this side and to all its subscribers bear."""
        known = [self._estimated, *(one.limit for one in self.subscribers)]
        return min((limit for limit in known if limit is not None), default=None)

    def knows(self, payload_type: int) -> bool:
        return payload_type in self._codecs or payload_type in self._repeats

    def close(self) -> None:
        if self._key_wanted is not None:
            self._key_wanted.cancel()

    def take(self, packet: RtpPacket) -> None:
        now = self._loop.time()
        self.received_bytes += len(packet.payload)
        self._estimate(packet, now)
        original = self._repeats.get(packet.payload_type)
        if original is not None:
            if self.ssrc is None or len(packet.payload) < 2:
                return
            packet = unwrap_rtx(packet, payload_type=original, ssrc=self.ssrc)
        codec, clock_rate = self._codecs[packet.payload_type]
        if original is None:
            if packet.ssrc != self.ssrc or self.statistics is None:
                self.statistics = self._begin(packet.ssrc, clock_rate)
            self.statistics.add(packet)
        self.codec = codec
        if self.kind == "video":
            self._look_for_key_frame(codec, packet)
            self._look_for_gaps(packet, now)
        for tap in self._taps:
            tap.on_rtp(self.user, self.kind, codec, packet, now)
        for subscriber in self.subscribers:
            subscriber.forward(self, packet, codec)

    def take_report(self, report: RtcpSrPacket) -> None:
        self.report, self.report_at = report, self._loop.time()
        info = report.sender_info
        for tap in self._taps:
            tap.on_sender_report(
                self.user, self.kind, report.ssrc, info.ntp_timestamp, info.rtp_timestamp
            )

    def ask_key_frame(self) -> None:
        """Ask for one now, or as soon as the last request is old enough."""
        if self.kind != "video" or self.ssrc is None or self._key_wanted is not None:
            return
        wait = self._key_asked + KEY_FRAME_SECONDS - self._loop.time()
        if wait > 0:
            self._key_wanted = self._loop.call_later(wait, self._ask_key_frame)
        else:
            self._ask_key_frame()

    def receiver_info(self) -> RtcpReceiverInfo | None:
        """Tell the side how its stream arrives (RFC 3550, 6.4.2)."""
        stream = self.statistics
        if stream is None or stream.max_seq is None or self.ssrc is None:
            return None
        lsr = dlsr = 0
        if self.report is not None and self.report.ssrc == self.ssrc:
            lsr = self.report.sender_info.ntp_timestamp >> 16 & 0xFFFFFFFF
            dlsr = int((self._loop.time() - self.report_at) * 65_536) & 0xFFFFFFFF
        return RtcpReceiverInfo(
            ssrc=self.ssrc, fraction_lost=stream.fraction_lost, packets_lost=stream.packets_lost,
            highest_sequence=stream.cycles + stream.max_seq, jitter=stream.jitter,
            lsr=lsr, dlsr=dlsr,
        )  # fmt: skip

    def _begin(self, ssrc: int, clock_rate: int) -> StreamStatistics:
        """A stream begins: the first, or another one after a change at the sender's."""
        self.ssrc, self.report = ssrc, None
        self._missing = Missing()
        self.ask_key_frame()
        return StreamStatistics(clock_rate)

    def _look_for_key_frame(self, codec: str, packet: RtpPacket) -> None:
        """Ask for no more of them when one is on its way."""
        if self._key_wanted is not None and begins_key_frame(codec, packet.payload):
            self._key_wanted.cancel()
            self._key_wanted = None

    def _look_for_gaps(self, packet: RtpPacket, now: float) -> None:
        lost = self._missing.note(packet.sequence_number, now)
        if lost:
            nack = RtcpRtpfbPacket(RTCP_RTPFB_NACK, self.own_ssrc, packet.ssrc, lost)
            self._send(bytes(nack))
        if self._missing.given_up:
            self._missing.given_up = False
            self.ask_key_frame()

    def _ask_key_frame(self) -> None:
        self._key_wanted = None
        self._key_asked = self._loop.time()
        if self.ssrc is None:
            return
        asked = RtcpPsfbPacket(fmt=RTCP_PSFB_PLI, ssrc=self.own_ssrc, media_ssrc=self.ssrc)
        self._send(bytes(asked))

    def _estimate(self, packet: RtpPacket, now: float) -> None:
        if packet.extensions.abs_send_time is None:
            return
        found = self._estimator.add(
            arrival_time_ms=int(now * 1_000), abs_send_time=packet.extensions.abs_send_time,
            # it would remember every SSRC that it was ever told
            payload_size=len(packet.payload) + packet.padding_size, ssrc=0,
        )  # fmt: skip
        if found is not None:
            self._estimated = found[0]


class Missing:
    """The sequence numbers that did not come, and how often each was asked for."""

    def __init__(self) -> None:
        self.given_up = False
        self._newest: int | None = None
        self._asked: dict[int, int] = {}
        self._next_ask = 0.0

    def note(self, number: int, now: float) -> list[int]:
        """Note what came; give the numbers to ask for now."""
        if self._newest is None:
            self._newest = number
            return []
        ahead = -behind(self._newest, number)
        if ahead <= 0:
            self._asked.pop(number, None)
        else:
            new = [(self._newest + n) & SEQUENCE for n in range(1, min(ahead, MISSING_MAX + 1))]
            self._newest = number
            if len(self._asked) + ahead - 1 > MISSING_MAX:
                self._asked.clear()
                self.given_up = True
                return []
            self._asked.update(dict.fromkeys(new, 0))
            if new:
                return self._ask(now)
        return self._ask(now) if self._asked and now >= self._next_ask else []

    def _ask(self, now: float) -> list[int]:
        self._next_ask = now + ASK_SECONDS
        for number in [number for number, times in self._asked.items() if times >= ASK_TIMES]:
            del self._asked[number]
            self.given_up = True
        for number in self._asked:
            self._asked[number] += 1
        return sorted(self._asked)
