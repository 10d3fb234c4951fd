"""One stream that a side receives from its media room: another side's packets with new headers.

Sequence numbers and timestamps run on without a jump when the source changes, so that a receiver
needs no new description for it.
"""

import asyncio
import struct
from dataclasses import dataclass

from aiortc.rtcrtpparameters import RTCRtpParameters
from aiortc.rtp import (
    RtcpReceiverInfo,
    RtcpSenderInfo,
    RtcpSrPacket,
    RtpPacket,
)
from aiortc.utils import random16, random32

from signalling.media.inbound import Inbound, Send
from signalling.media.packets import (
    SEQUENCE,
    TIMESTAMP,
    Extensions,
    begins_key_frame,
    behind,
)

HISTORY = 512
LATE_MAX = 500
"""What is further behind is forgotten by receivers, and would be refused by SRTP's window."""
REPEAT_SECONDS = 0.02
"""A packet asked for again so soon is on its way."""
REPEATS_MAX = 256
"""What may be sent again at once; over time, no more than was sent."""
SPLICE_SECONDS = 0.02
CLOCK = {"audio": 48_000, "video": 90_000}
HEADER = struct.Struct("!BBHLL")
REPORTS_KEPT = 8


@dataclass(slots=True)
class Sent:
    """What is kept of a packet, to send it again."""

    sequence: int
    marker: int
    timestamp: int
    payload: bytes
    at: float


class Outbound:
    """Sends one kind, audio or video, to one side."""

    def __init__(self, kind: str, ssrc: int, rtx_ssrc: int, send: Send) -> None:
        self.kind, self.ssrc = kind, ssrc
        self.source: Inbound | None = None
        self.limit: int | None = None
        self.rtt: float | None = None
        self.packets = self.octets = 0
        self._rtx_ssrc, self._send = rtx_ssrc, send
        self._types: dict[str, int] = {}
        self._rtx_types: dict[str, int] = {}
        self._extensions: Extensions | None = None
        self._repeats = REPEATS_MAX
        self._history: list[Sent | None] = [None] * HISTORY
        # in the lower half: a number that wraps soon after the start breaks SRTP's receivers
        self._newest = random16() % 0x7000 + 0x400
        self._rtx_sequence = random16() % 0x7000
        self._timestamp, self._timestamp_at = random32(), 0.0
        self._spliced: tuple[Inbound, int] | None = None
        self._sequence_offset = self._timestamp_offset = 0
        self._run = 0
        """How far the numbers have come since the last splice."""
        self._codec = ""
        self._reports: dict[int, float] = {}
        self._loop = asyncio.get_running_loop()

    @property
    def agreed(self) -> bool:
        return bool(self._types)

    def agree(self, parameters: RTCRtpParameters) -> None:
        """Begin to send with what the receiver agreed on."""
        self._extensions = Extensions(parameters.headerExtensions, parameters.muxId)
        names = {codec.payloadType: codec.name for codec in parameters.codecs}
        for codec in parameters.codecs:
            if codec.payloadType is None:
                continue
            if codec.name.lower() == "rtx":
                of = codec.parameters.get("apt")
                self._rtx_types[names.get(int(of or 0), "")] = codec.payloadType
            else:
                self._types.setdefault(codec.name, codec.payloadType)
        self.ask_key_frame()

    def attach(self, source: Inbound | None) -> None:
        """Send this side's packets from now on, or none."""
        if self.source is not None:
            self.source.subscribers.remove(self)
        self.source, self.limit = source, None
        if source is not None:
            source.subscribers.append(self)
            self.ask_key_frame()

    def ask_key_frame(self) -> None:
        if self.source is not None and self._types:
            self.source.ask_key_frame()

    def forward(self, source: Inbound, packet: RtpPacket, codec: str) -> None:
        payload_type = self._types.get(codec)
        if payload_type is None:
            return
        now = self._loop.time()
        if (
            self._spliced is None
            or self._spliced[1] != packet.ssrc
            or self._spliced[0] is not source
        ) and not self._splice(source, packet, codec, now):
            return
        sequence = packet.sequence_number + self._sequence_offset & SEQUENCE
        late = behind(self._newest, sequence)
        # from before the splice, where its number stands for another packet: a second one under
        # it would be encrypted with the same key stream
        if late > min(self._run, LATE_MAX):
            return
        timestamp = packet.timestamp + self._timestamp_offset & TIMESTAMP
        if late < 0:
            self._run -= late
            self._newest, self._timestamp, self._timestamp_at = sequence, timestamp, now
        self._codec = codec
        if self.kind == "video":
            self._repeats = min(self._repeats + 1, REPEATS_MAX)
            self._history[sequence % HISTORY] = Sent(
                sequence, packet.marker, timestamp, packet.payload, now
            )
        self.packets += 1
        self.octets += len(packet.payload)
        level = packet.extensions.audio_level
        self._send(
            HEADER.pack(
                0x90 if (block := self._block(level)) else 0x80,
                packet.marker << 7 | payload_type, sequence, timestamp, self.ssrc,
            )
            + block + packet.payload
        )  # fmt: skip

    def send_again(self, numbers: list[int]) -> None:
        """Send again what is missed, as retransmissions of their own where agreed (RFC 4588)."""
        now = self._loop.time()
        for number in numbers:
            sent = self._history[number % HISTORY]
            if sent is None or sent.sequence != number or now - sent.at < REPEAT_SECONDS:
                continue
            if not self._repeats:
                return
            self._repeats -= 1
            sent.at = now
            rtx = self._rtx_types.get(self._codec)
            block = self._block(None)
            first = 0x90 if block else 0x80
            if rtx is None:
                kind = self._types[self._codec]
                head = HEADER.pack(
                    first, sent.marker << 7 | kind, number, sent.timestamp, self.ssrc
                )
                self._send(head + block + sent.payload)
                continue
            self._rtx_sequence = self._rtx_sequence + 1 & SEQUENCE
            head = HEADER.pack(
                first, sent.marker << 7 | rtx, self._rtx_sequence, sent.timestamp, self._rtx_ssrc
            )
            self._send(head + block + number.to_bytes(2, "big") + sent.payload)

    def sender_report(self) -> RtcpSrPacket | None:
        """Pass on what the source says of its clocks, moved on to now: lips follow them."""
        source = self.source
        if source is None or source.report is None or self._spliced is None:
            return None
        if self._spliced != (source, source.report.ssrc):
            return None
        passed = self._loop.time() - source.report_at
        said = source.report.sender_info
        ntp = said.ntp_timestamp + int(passed * 2**32) & 2**64 - 1
        rtp = said.rtp_timestamp + int(passed * CLOCK[self.kind]) + self._timestamp_offset
        self._reports[ntp >> 16 & 0xFFFFFFFF] = self._loop.time()
        while len(self._reports) > REPORTS_KEPT:
            del self._reports[next(iter(self._reports))]
        info = RtcpSenderInfo(
            ntp_timestamp=ntp, rtp_timestamp=rtp & TIMESTAMP,
            packet_count=self.packets & 0xFFFFFFFF, octet_count=self.octets & 0xFFFFFFFF,
        )  # fmt: skip
        return RtcpSrPacket(ssrc=self.ssrc, sender_info=info)

    def take_report(self, report: RtcpReceiverInfo) -> None:
        """Learn the round trip from the receiver's word on our last report."""
        sent_at = self._reports.get(report.lsr)
        if sent_at is not None and report.dlsr:
            self.rtt = max(self._loop.time() - sent_at - report.dlsr / 65_536, 0.0)

    def _splice(self, source: Inbound, packet: RtpPacket, codec: str, now: float) -> bool:
        """Join another stream to what was sent before; pictures wait for a key frame."""
        if self.kind == "video" and not begins_key_frame(codec, packet.payload):
            source.ask_key_frame()
            return False
        passed = now - self._timestamp_at if self._timestamp_at else SPLICE_SECONDS
        timestamp = self._timestamp + int(max(passed, SPLICE_SECONDS) * CLOCK[self.kind])
        self._spliced = (source, packet.ssrc)
        self._sequence_offset = self._newest + 1 - packet.sequence_number
        self._run = -1
        self._timestamp_offset = timestamp - packet.timestamp
        self._reports.clear()
        return True

    def _block(self, level: tuple[bool, int] | None) -> bytes:
        if self._extensions is None:
            return b""
        # 6.18 seconds on any clock: receivers look at the differences
        send_time = int(self._loop.time() * 2**18) & 0xFFFFFF if self.kind == "video" else None
        return self._extensions.write(level, send_time)
