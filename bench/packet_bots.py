"""Participants of a call that cost little: what they send was encoded before, once for all."""

import asyncio
import math
import random
from array import array
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import Final, Literal

from aiortc import (
    RTCBundlePolicy,
    RTCConfiguration,
    RTCPeerConnection,
    RTCRtpTransceiver,
    RTCSessionDescription,
    clock,
)
from aiortc.codecs.opus import OpusEncoder
from aiortc.codecs.vpx import Vp8Encoder
from aiortc.rtcrtpparameters import RTCRtpCodecCapability, RTCRtpParameters, RTCRtpReceiveParameters
from aiortc.rtp import RtcpSenderInfo, RtcpSrPacket, RtpPacket
from av import AudioFrame, VideoFrame

from care.policy import MediaPolicy
from signalling.media.adapter import Wire, ssrcs, take_over
from signalling.media.descriptions import preferences
from signalling.media.inbound import Inbound, Send
from signalling.media.outbound import CLOCK
from signalling.media.packets import SEQUENCE, TIMESTAMP, behind
from signalling.media.traffic import MALFORMED, Traffic

WIDTH, HEIGHT, FPS = 640, 480, 30
VIDEO_BPS = 800_000
CLIP_SECONDS = 4
SQUARE = 256
REPORT_SECONDS = 1.0
BEARS_BPS = 5_000_000
OPUS_TICKS: Final = 960
"""Of 48 kHz, in 20 ms."""

Kind = Literal["audio", "video"]
VP8 = RTCRtpCodecCapability("video/VP8", 90_000)
CODECS: dict[Kind, str] = {"audio": "opus", "video": "VP8"}


@dataclass(frozen=True)
class Clip:
    """What a bot sends over and over: the payloads of each frame, the first a key frame."""

    audio: list[list[bytes]]
    video: list[list[bytes]]

    @classmethod
    def encode(cls, video_bps: int = VIDEO_BPS) -> "Clip":
        """Encode a square of noise that wanders over black, at about this rate, and a tone."""
        vp8, opus = Vp8Encoder(), OpusEncoder()
        vp8.target_bitrate = video_bps
        noise = random.Random(1)  # noqa: S311  # no secret
        rows = [noise.randbytes(WIDTH) for _ in range(HEIGHT)]
        video = [vp8.encode(_picture(n, rows))[0] for n in range(CLIP_SECONDS * FPS)]
        audio = [opus.encode(_sound(n))[0] for n in range(CLIP_SECONDS * 50)]
        return cls([one for one in audio if one], video)


def _picture(number: int, rows: list[bytes]) -> VideoFrame:
    frame = VideoFrame(WIDTH, HEIGHT, "yuv420p")
    left, top = number * 4 % (WIDTH - SQUARE), number * 3 % (HEIGHT - SQUARE)
    lines = [bytes(WIDTH)] * HEIGHT
    for line in range(top, top + SQUARE):
        row = rows[(line + number) % HEIGHT]
        lines[line] = bytes(left) + row[:SQUARE] + bytes(WIDTH - left - SQUARE)
    frame.planes[0].update(b"".join(one.ljust(frame.planes[0].line_size) for one in lines))
    for plane in frame.planes[1:]:
        plane.update(bytes([128]) * plane.buffer_size)
    frame.pts, frame.time_base = number * 90_000 // FPS, Fraction(1, 90_000)
    return frame


def _sound(number: int) -> AudioFrame:
    frame = AudioFrame(format="s16", layout="mono", samples=OPUS_TICKS)
    at = range(number * OPUS_TICKS, (number + 1) * OPUS_TICKS)
    tone = array("h", (int(8_000 * math.sin(math.tau * 440 * n / 48_000)) for n in at))
    frame.planes[0].update(tone.tobytes())
    frame.pts, frame.sample_rate, frame.time_base = at[0], 48_000, Fraction(1, 48_000)
    return frame


class Player(Inbound):
    """Stands where a relay has another side's stream: its packets come from a clip."""

    def __init__(self, user: str, kind: Kind, frames: list[list[bytes]], send: Send) -> None:
        super().__init__(user, kind, 0, send, ())
        self.ssrc = 1
        self.asked = 0
        """Key frames that were wanted."""
        self.packets_sent = 0
        self._frames, self._at = frames, 0
        self._due = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._sequence = self._timestamp = 0
        self._ticks = OPUS_TICKS if kind == "audio" else CLOCK[kind] // FPS

    def ask_key_frame(self) -> None:
        self.asked += 1
        self._at = 0

    def play(self) -> None:
        """Send a frame when its time has come, until stopped."""
        self._due = self._due or self._loop.time()
        self._next()
        self._due += self._ticks / CLOCK[self.kind]
        self._timer = self._loop.call_at(self._due, self.play)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def note_clock(self) -> None:
        """Write the sender report that the stream's receivers are told."""
        info = RtcpSenderInfo(clock.current_ntp_time(), self._timestamp, self.packets_sent, 0)
        self.report, self.report_at = RtcpSrPacket(1, info), self._loop.time()

    def _next(self) -> None:
        payloads = self._frames[self._at]
        self._at = (self._at + 1) % len(self._frames)
        self._timestamp = (self._timestamp + self._ticks) & TIMESTAMP
        for number, payload in enumerate(payloads, 1):
            self._sequence = (self._sequence + 1) & SEQUENCE
            self.packets_sent += 1
            packet = RtpPacket(
                0, int(number == len(payloads)), self._sequence, self._timestamp, 1, payload
            )
            for subscriber in self.subscribers:
                subscriber.forward(self, packet, CODECS[self.kind])  # type: ignore[index]  # a Kind


class Ear(Inbound):
    """What a bot is sent. It measures no bandwidth, which costs much: its way bears everything."""

    def _estimate(self, packet: RtpPacket, now: float) -> None:  # noqa: ARG002  # an Inbound's
        self._estimated = BEARS_BPS


class Tally:
    """Counts what came of a stream, each packet once, however it came."""

    def __init__(self) -> None:
        self.limit: int | None = None
        self.received = 0
        self.frames = 0
        self._newest: int | None = None
        self._first = self._last = 0
        self._seen: set[int] = set()

    @property
    def lost(self) -> int:
        """Packets between the first and the newest that never came."""
        return self._last - self._first + 1 - self.received if self._newest is not None else 0

    def forward(self, source: Inbound, packet: RtpPacket, codec: str) -> None:  # noqa: ARG002  # a Subscriber's
        self.count(packet)

    def count(self, packet: RtpPacket) -> None:
        number = packet.sequence_number
        if self._newest is None:
            self._newest, self._first, self._last = number, number, number
        ahead = -behind(self._newest, number)
        place = self._last + ahead
        if place < self._first or place in self._seen:
            return
        self._seen.add(place)
        self.received += 1
        self.frames += packet.marker
        if ahead > 0:
            self._newest, self._last = number, place
            self._seen.discard(place - 2_000)


class BotTraffic(Traffic):
    """A bot's packets: it may be sent several streams of one kind, each known by its SSRC."""

    def __init__(self, user: str, send: Send, loss: float, dice: random.Random) -> None:
        super().__init__(user, send, MediaPolicy(), ())
        self.streams: dict[int, Inbound] = {}
        self.tallies: dict[int, Tally] = {}
        self.rtcp: list[bytes] | None = None
        """What RTCP came, where somebody wants to know."""
        self._loss, self._dice = loss, dice

    def expect(self, kind: str, own_ssrc: int, agreed: RTCRtpReceiveParameters) -> None:
        """Take the streams a description promises."""
        for encoding in agreed.encodings:
            if encoding.ssrc in self.streams:
                continue
            stream = Ear(self._user, kind, own_ssrc, self._send, ())
            self.sources[f"{kind} {encoding.ssrc}"] = self.streams[encoding.ssrc] = stream
            if encoding.rtx:
                self.streams[encoding.rtx.ssrc] = stream
            self.agree(stream, agreed)
            self.tallies[encoding.ssrc] = Tally()
            stream.subscribers.append(self.tallies[encoding.ssrc])

    def take_rtp(self, data: bytes) -> None:
        if self._loss and self._dice.random() < self._loss:
            return
        try:
            packet = RtpPacket.parse(data, self._extensions)
        except MALFORMED:
            return
        stream = self.streams.get(packet.ssrc)
        if stream is not None and stream.knows(packet.payload_type):
            stream.take(packet)

    def take_rtcp(self, data: bytes) -> None:
        if self._loss and self._dice.random() < self._loss:
            return
        if self.rtcp is not None:
            self.rtcp.append(data)
        super().take_rtcp(data)


class PacketBot:
    """One peer connection of a participant. Close it."""

    def __init__(
        self, user: str, clip: Clip, *, loss: float = 0.0, seed: int = 0,
    ) -> None:  # fmt: skip
        """`loss`: the part of its packets that get lost, each way."""
        self.user = user
        self.players: list[Player] = []
        self.pc = RTCPeerConnection(
            RTCConfiguration(iceServers=[], bundlePolicy=RTCBundlePolicy.MAX_BUNDLE)
        )
        self.wire = Wire(self.pc)
        self._clip, self._loss = clip, loss
        self._dice = random.Random(seed)  # noqa: S311  # no secret
        self.traffic = BotTraffic(user, self._send, loss, self._dice)
        self._tasks: list[asyncio.Task[None]] = []

    async def offer(self, kinds: Iterable[Kind], others: int, *, receiving: bool = True) -> str:
        """Offer to send these kinds, and to receive them of so many others."""
        for number in range(others if receiving else 1):
            for kind in kinds:
                sends = "sendrecv" if receiving else "sendonly"
                transceiver = self.pc.addTransceiver(kind, "recvonly" if number else sends)
                transceiver.setCodecPreferences(preferences(kind, VP8))
                self._take_over(transceiver)
        self.wire.open_to(self.traffic)
        await self.pc.setLocalDescription(await self.pc.createOffer())
        return str(self.pc.localDescription.sdp)

    async def take_answer(self, sdp: str) -> None:
        await self.pc.setRemoteDescription(RTCSessionDescription(sdp, "answer"))
        self._run()

    async def answer(self, sdp: str) -> str:
        """Take an offer of what others send; give the answer."""
        await self.pc.setRemoteDescription(RTCSessionDescription(sdp, "offer"))
        for transceiver in self.pc.getTransceivers():
            self._take_over(transceiver)
        self.wire.open_to(self.traffic)
        await self.pc.setLocalDescription(await self.pc.createAnswer())
        self._run()
        return str(self.pc.localDescription.sdp)

    @property
    def sent(self) -> int:
        return sum(player.packets_sent for player in self.players)

    def tallies(self, kind: Kind | None = None) -> list[Tally]:
        """Give what was counted of each stream received, of one kind or of both."""
        return [
            tally
            for ssrc, tally in self.traffic.tallies.items()
            if kind is None or self.traffic.streams[ssrc].kind == kind
        ]

    @property
    def received(self) -> int:
        return sum(one.received for one in self.tallies())

    @property
    def lost(self) -> int:
        return sum(one.lost for one in self.tallies())

    async def close(self) -> None:
        for player in self.players:
            player.stop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.traffic.close()
        await self.pc.close()

    def _take_over(self, transceiver: RTCRtpTransceiver) -> None:
        ssrc, rtx_ssrc = ssrcs(transceiver)
        kind: Kind = "audio" if transceiver.kind == "audio" else "video"

        async def receiving(agreed: RTCRtpParameters) -> None:
            if isinstance(agreed, RTCRtpReceiveParameters):
                self.traffic.expect(kind, ssrc, agreed)

        async def sending(agreed: RTCRtpParameters) -> None:
            if any(player.kind == kind for player in self.players):
                return
            outbound = self.traffic.open_outbound(kind, ssrc, rtx_ssrc)
            frames = self._clip.audio if kind == "audio" else self._clip.video
            player = Player(self.user, kind, frames, self._send)
            self.players.append(player)
            outbound.agree(agreed)
            outbound.attach(player)
            player.play()

        take_over(transceiver, receiving=receiving, sending=sending)

    def _send(self, data: bytes) -> None:
        if not self._loss or self._dice.random() >= self._loss:
            self.wire.send(data)

    def _run(self) -> None:
        self._tasks.append(asyncio.create_task(self._report()))

    async def _report(self) -> None:
        while True:
            await asyncio.sleep(REPORT_SECONDS)
            for player in self.players:
                player.note_clock()
            self.traffic.report()
