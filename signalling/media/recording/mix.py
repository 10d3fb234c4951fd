"""Mix everybody's sound into one track: browsers play one, and nobody wants to hear half a talk."""

from array import array
from collections.abc import Iterator
from fractions import Fraction
from functools import reduce
from operator import add

import av
from av import AudioFrame, AudioResampler, CodecContext, Packet
from av.audio.codeccontext import AudioCodecContext
from av.audio.stream import AudioStream

RATE = 48_000
BLOCK = RATE // 50
NEAR = RATE * 60 // 1000
"""A frame that is off by less goes on from the one before it: clocks are not that exact."""
WAIT = 3 * RATE
"""How long a side's sound is waited for: what is later is left out of the mix alone."""
LOUDEST = 32_767
CUT = [
    *(min(level, LOUDEST) for level in range(1 << 16)),
    *(max(level, -LOUDEST) for level in range(-(1 << 16), 0)),
]
"""Of each sum of two samples what of it can be heard; negative sums count from the end."""


class Voice:
    """One track's samples that wait to be mixed, from the mix's place on."""

    def __init__(self) -> None:
        self.waiting = array("h")
        decoder = CodecContext.create("opus", "r")
        assert isinstance(decoder, AudioCodecContext)  # noqa: S101  # it is one of sound
        self._decoder = decoder
        self._resampler = AudioResampler(format="s16", layout="mono", rate=RATE)

    def add(self, data: bytes, place: int) -> None:
        """Take a frame for its place, in samples after that of the first one that waits."""
        if place < len(self.waiting) - NEAR:
            return
        if place > len(self.waiting) + NEAR:
            self.waiting.extend(array("h", bytes(2 * (place - len(self.waiting)))))
        try:
            for frame in self._decoder.decode(Packet(data)):
                for plain in self._resampler.resample(frame):
                    self.waiting.frombytes(bytes(plain.planes[0])[: 2 * plain.samples])
        except av.FFmpegError:
            # no Opus: it is silent in the mix
            return

    def take(self) -> "array[int]":
        taken, self.waiting = self.waiting[:BLOCK], self.waiting[BLOCK:]
        return taken


class Mixer:
    def __init__(self, stream: AudioStream) -> None:
        self._stream = stream
        self._voices: dict[str, Voice] = {}
        self._place = 0
        self._newest = 0

    def add(self, user: str, data: bytes, at_ms: int) -> Iterator["Packet[AudioStream]"]:
        """Take a frame of Opus; give what is mixed by now."""
        start = at_ms * RATE // 1000
        self._newest = max(self._newest, start)
        yield from self._mix(self._newest - WAIT)
        if start + NEAR >= self._place:
            voice = self._voices.setdefault(user, Voice())
            voice.add(data, max(start - self._place, 0))

    def flush(self) -> Iterator["Packet[AudioStream]"]:
        longest = max((len(voice.waiting) for voice in self._voices.values()), default=0)
        yield from self._mix(self._place + longest)
        yield from self._stream.encode(None)

    def _mix(self, until: int) -> Iterator["Packet[AudioStream]"]:
        while self._place < until:
            blocks = [voice.take() for voice in self._voices.values()]
            frame = AudioFrame(format="s16", layout="mono", samples=BLOCK)
            frame.planes[0].update(_sum([block for block in blocks if block]).tobytes())
            frame.sample_rate, frame.time_base = RATE, Fraction(1, RATE)
            frame.pts = self._place
            self._place += BLOCK
            yield from self._stream.encode(frame)


def _sum(blocks: list["array[int]"]) -> "array[int]":
    """Add samples up to one whole block; what is too loud is cut."""
    whole = [block + array("h", bytes(2 * (BLOCK - len(block)))) for block in blocks]
    return reduce(_add, whole) if whole else array("h", bytes(2 * BLOCK))


def _add(one: "array[int]", other: "array[int]") -> "array[int]":
    return array("h", map(CUT.__getitem__, map(add, one, other)))
