"""Sides of a call that flash and beep each second, as packets; and what a film shows of them."""

import math
import random
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cache
from pathlib import Path

import av
from aiortc.codecs.base import Encoder
from aiortc.codecs.h264 import H264Encoder
from aiortc.codecs.opus import OpusEncoder
from aiortc.codecs.vpx import Vp8Encoder
from aiortc.rtp import RtpPacket
from av import AudioFrame, VideoFrame

from signalling.media.tap import PacketTap

FPS = 20
FLASH_SECONDS = 0.2
SIZE = 160, 120
RATES = {"opus": 48_000, "VP8": 90_000, "H264": 90_000}
FIRST_SEQ = 65_500
"""Soon over its end: numbers wrap in every stream."""
MALFORMED = (b"\x67" + b"\x81" * 20, b"\x68" + b"\x81" * 4, b"\x65" + b"\x81" * 200)
"""A sequence parameter set, a picture parameter set and a key frame that say nothing."""
CLOCK = 3_900_000_000.0
"""What a wall clock says when the recording begins, in NTP's seconds."""


@dataclass(frozen=True)
class Sample:
    """The payloads of one frame, taken at this second."""

    at: float
    payloads: tuple[bytes, ...]


@cache
def video(codec: str, seconds: float) -> tuple[Sample, ...]:
    """Encode a picture that is white for the beginning of each second; a key frame each two."""
    encoder: Encoder = Vp8Encoder() if codec == "VP8" else H264Encoder()
    samples: list[Sample] = []
    for number in range(int(seconds * FPS)):
        at = number / FPS
        frame = VideoFrame(*SIZE, "yuv420p")
        light = 235 if at % 1 < FLASH_SECONDS else 16
        for plane, value in zip(frame.planes, (light, 128, 128), strict=True):
            plane.update(bytes([value]) * plane.buffer_size)
        frame.pts, frame.time_base = number, Fraction(1, FPS)
        payloads, _ = encoder.encode(frame, force_keyframe=number % (2 * FPS) == 0)
        samples.append(Sample(at, tuple(payloads)))
    return tuple(samples)


@cache
def audio(seconds: float) -> tuple[Sample, ...]:
    """Encode silence with a tone of 1 kHz at the beginning of each second."""
    encoder = OpusEncoder()
    samples: list[Sample] = []
    for number in range(int(seconds * 50)):
        at = number / 50
        loud = 12_000 if at % 1 < FLASH_SECONDS else 0
        tone = array("h", (round(loud * math.sin(math.tau * n / 48)) for n in range(960)))
        frame = AudioFrame(format="s16", layout="mono", samples=960)
        frame.planes[0].update(tone.tobytes().ljust(frame.planes[0].buffer_size, b"\0"))
        frame.sample_rate, frame.pts, frame.time_base = 48_000, number * 960, Fraction(1, 48_000)
        payloads, _ = encoder.encode(frame)
        samples.extend(Sample(at, (payload,)) for payload in payloads)
    return tuple(samples)


@dataclass
class Stream:
    """One sender's stream, from a second of the recording on."""

    user: str
    kind: str
    codec: str
    ssrc: int
    begins: float = 0.0
    seconds: float = 6.0
    delay: float = 0.02
    """Its way to the recorder."""
    jitter: float = 0.0
    ahead: float = 0.0
    """What its user's wall clock is ahead."""
    skew: float = 0.0
    """By how much its ticks are faster than they should be."""
    missing: frozenset[int] = frozenset()
    """The packets that never come, counted from the stream's first."""
    broken: int = 0
    """How many of its first pictures are malformed: key frames of H264, by their first bytes."""
    reports: bool = True
    rng: random.Random = field(default_factory=lambda: random.Random(5))  # noqa: S311  # a way that is the same each time

    def sent(self) -> Iterator[tuple[float, "Sent"]]:
        """Give what arrives, and when; packets pass one another where the way jitters."""
        samples = audio(self.seconds) if self.kind == "audio" else video(self.codec, self.seconds)
        seq, first, reported = FIRST_SEQ, self.rng.randrange(1 << 32), -1
        for count, sample in enumerate(samples):
            payloads = MALFORMED if count < self.broken else sample.payloads
            ticks = round(sample.at * RATES[self.codec] * (1 + self.skew))
            timestamp = (first + ticks) & 0xFFFFFFFF
            for number, payload in enumerate(payloads):
                packet = RtpPacket(
                    sequence_number=seq & 0xFFFF, timestamp=timestamp, ssrc=self.ssrc,
                    payload=payload, marker=int(number + 1 == len(payloads)),
                )  # fmt: skip
                late = self.delay + self.rng.random() * self.jitter
                if seq - FIRST_SEQ not in self.missing:
                    yield self.begins + sample.at + late, Sent(self, packet)
                seq += 1
            if self.reports and int(sample.at) > reported:
                reported = int(sample.at)
                ntp = int((CLOCK + self.ahead + self.begins + sample.at) * 2**32)
                yield self.begins + sample.at + self.delay, Sent(self, report=(ntp, timestamp))


@dataclass(frozen=True)
class Sent:
    stream: Stream
    packet: RtpPacket | None = None
    report: tuple[int, int] | None = None

    def pass_to(self, tap: PacketTap, arrival: float) -> None:
        stream = self.stream
        if self.packet is not None:
            tap.on_rtp(stream.user, stream.kind, stream.codec, self.packet, arrival)
        if self.report is not None:
            tap.on_sender_report(stream.user, stream.kind, stream.ssrc, *self.report)


def arriving(streams: list[Stream]) -> list[tuple[float, Sent]]:
    """Give all that arrives in a call, in the order of its arrival."""
    every = [one for stream in streams for one in stream.sent()]
    return sorted(every, key=lambda one: one[0])


def side(user: str, codec: str = "VP8", ssrc: int = 0, **more: float) -> list[Stream]:
    """Make a side whose pictures take the longer way: they arrive 230 ms after their sound."""
    ssrc = ssrc or 1000 * sum(user.encode())
    sound = Stream(user, "audio", "opus", ssrc, jitter=0.03)
    pictures = Stream(user, "video", codec, ssrc + 1, jitter=0.03, delay=0.25)
    for stream in (sound, pictures):
        for name, value in more.items():
            setattr(stream, name, value)
    return [sound, pictures]


@dataclass(frozen=True)
class Seen:
    """One track of a film: whose, and when its flashes or beeps begin."""

    user: str
    kind: str
    codec: str
    marks: list[float]
    begins: float
    ends: float


def watch(path: Path) -> tuple[float, list[Seen]]:
    """Decode a film whole; give its duration as it says, and its tracks."""
    with av.open(str(path)) as film:
        duration = (film.duration or 0) / 1_000_000
        names = [
            (s.index, s.metadata.get("title", ""), str(s.type), str(s.name)) for s in film.streams
        ]
    return duration, [_watch(path, *name) for name in names]


def _watch(path: Path, index: int, user: str, kind: str, codec: str) -> Seen:
    levels: list[tuple[float, bool]] = []
    with av.open(str(path)) as film:
        for frame in film.decode(film.streams[index]):
            if isinstance(frame, VideoFrame):
                levels.append((float(frame.time or 0), bytes(frame.planes[0])[0] > 128))
            elif isinstance(frame, AudioFrame):
                sound = array("f", bytes(frame.planes[0]))[: frame.samples]
                at = float(frame.time or 0)
                # in steps of 5 ms
                levels += [(at + n / 48_000, max(map(abs, sound[n : n + 240])) > 0.1)
                           for n in range(0, frame.samples, 240)]  # fmt: skip
    marks: list[float] = []
    loud_at = -1.0
    for at, loud in levels:
        if loud and at - loud_at > 0.2:
            marks.append(at)
        if loud:
            loud_at = at
    begins, ends = (levels[0][0], levels[-1][0]) if levels else (0.0, 0.0)
    return Seen(user, kind, codec, marks, begins, ends)
