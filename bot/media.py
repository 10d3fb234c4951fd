"""Synthetic media: what a bot sends in a call, and what it makes of what it receives."""

import asyncio
import math
from array import array
from collections import deque
from fractions import Fraction

from aiortc import MediaStreamTrack
from aiortc.mediastreams import MediaStreamError
from av import AudioFrame, VideoFrame

RATE = 48_000
SAMPLES = RATE // 50
"""In 20 ms, what one Opus packet holds."""
WIDTH, HEIGHT, FPS = 320, 240, 15
BAR = 40
STEP = 6
"""Pixels the bar moves from one picture to the next."""
BLACK, WHITE, GREY = 16, 235, 128

WINDOW = RATE // 5
"""Samples that are listened to at once: 0.2 s, so that tones 10 Hz apart are told apart."""
PIXELS_APART = 499
"""Between the pixels compared: a prime, so that they lie in every column."""
CHANGED = 1.0
"""The mean difference of the pixels compared, of 255, over which a picture has moved."""


class _Paced(MediaStreamTrack):
    """A track that gives one frame each `ticks` of its clock, and none too early."""

    def __init__(self, rate: int, ticks: int) -> None:
        super().__init__()
        self.sending = True
        self._rate, self._ticks = rate, ticks
        self._pts = -ticks
        self._began: float | None = None

    async def _next(self) -> int:
        """Wait for the next frame's time and give it. Raises MediaStreamError when stopped."""
        if self.readyState != "live":
            raise MediaStreamError
        now = asyncio.get_running_loop().time()
        self._began = now if self._began is None else self._began
        self._pts += self._ticks
        await asyncio.sleep(self._began + self._pts / self._rate - now)
        return self._pts


class Tone(_Paced):
    """A sine, or silence while it is off."""

    kind = "audio"

    def __init__(self, hertz: int) -> None:
        super().__init__(RATE, SAMPLES)
        self._second = array(
            "h", (int(8_000 * math.sin(math.tau * hertz * n / RATE)) for n in range(RATE))
        )

    async def recv(self) -> AudioFrame:
        pts = await self._next()
        at = pts % RATE
        frame = AudioFrame(format="s16", layout="mono", samples=SAMPLES)
        samples = self._second[at : at + SAMPLES].tobytes()
        frame.planes[0].update(samples if self.sending else bytes(len(samples)))
        frame.pts, frame.sample_rate, frame.time_base = pts, RATE, Fraction(1, RATE)
        return frame


class Pattern(_Paced):
    """A white bar that wanders over black, or black while it is off."""

    kind = "video"

    def __init__(self) -> None:
        super().__init__(90_000, 90_000 // FPS)

    async def recv(self) -> VideoFrame:
        pts = await self._next()
        frame = VideoFrame(WIDTH, HEIGHT, "yuv420p")
        luma, *chroma = frame.planes
        left = pts // self._ticks * STEP % (WIDTH - BAR)
        bar = BAR if self.sending else 0
        row = bytes([BLACK]) * left + bytes([WHITE]) * bar
        # a plane's rows are padded
        luma.update(row.ljust(luma.line_size, bytes([BLACK])) * luma.height)
        for plane in chroma:
            plane.update(bytes([GREY]) * plane.buffer_size)
        frame.pts, frame.time_base = pts, Fraction(1, 90_000)
        return frame


class Eye:
    """Counts the pictures received, and sees whether they move."""

    def __init__(self) -> None:
        self.frames = 0
        self._last = b""
        self._changes: deque[float] = deque(maxlen=FPS // 2)

    def take(self, frame: VideoFrame) -> None:
        pixels = bytes(frame.planes[0])[::PIXELS_APART]
        if len(pixels) == len(self._last):
            apart = sum(abs(a - b) for a, b in zip(pixels, self._last, strict=True))
            self._changes.append(apart / len(pixels))
        self._last = pixels
        self.frames += 1

    @property
    def moving(self) -> bool:
        return max(self._changes, default=0.0) > CHANGED


class Ear:
    """Counts the audio frames received, and listens to the last 0.2 s of them."""

    def __init__(self) -> None:
        self.frames = 0
        self._rate, self._channels = RATE, 2
        self._heard: deque[bytes] = deque(maxlen=WINDOW // SAMPLES)

    def take(self, frame: AudioFrame) -> None:
        self._rate, self._channels = frame.sample_rate, len(frame.layout.channels)
        self._heard.append(bytes(frame.planes[0])[: frame.samples * self._channels * 2])
        self.frames += 1

    @property
    def energy(self) -> float:
        """Root mean square, 1 is the loudest sine there can be times √½."""
        samples = self._samples()
        return math.sqrt(sum(s * s for s in samples) / len(samples)) if samples else 0.0

    def share(self, hertz: int) -> float:
        """Tell how much of the energy is at a frequency, from 0 to 1."""
        samples = self._samples()
        power = sum(s * s for s in samples)
        if not power:
            return 0.0
        turn = math.tau * hertz / self._rate
        real = sum(s * math.cos(turn * n) for n, s in enumerate(samples))
        imaginary = sum(s * math.sin(turn * n) for n, s in enumerate(samples))
        return 2 * (real**2 + imaginary**2) / (len(samples) * power)

    def _samples(self) -> list[float]:
        """Give one channel, from -1 to 1."""
        heard = array("h", b"".join(self._heard))
        return [sample / 32_768 for sample in heard[:: self._channels]]
