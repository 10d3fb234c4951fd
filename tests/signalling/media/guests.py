"""Guests of a media room: aiortc peers that send a tone and a pattern of their own."""

import asyncio
from collections.abc import Callable
from contextlib import suppress

from aiortc import (
    MediaStreamTrack,
    RTCBundlePolicy,
    RTCConfiguration,
    RTCPeerConnection,
    RTCRtpSender,
    RTCSessionDescription,
)
from aiortc.mediastreams import MediaStreamError
from av import AudioFrame, VideoFrame

from bot.media import Ear, Eye, Pattern, Tone

WAIT_SECONDS = 45.0
POLL_SECONDS = 0.02


class Guest:
    """Joins a room with sound and, by `codec`, pictures; hears and sees each track apart."""

    def __init__(self, user: str, hertz: int, codec: str | None = "VP8") -> None:
        self.user, self.hertz = user, hertz
        self.pc = RTCPeerConnection(
            RTCConfiguration(iceServers=[], bundlePolicy=RTCBundlePolicy.MAX_BUNDLE)
        )
        self.ears: list[Ear] = []
        self.eyes: list[Eye] = []
        self.offers = 0
        self.tone, self.pattern = Tone(hertz), Pattern()
        self.pc.addTrack(self.tone)
        if codec:
            self.pc.addTrack(self.pattern)
            self._prefer(codec)
        self.pc.on("track", self._receive)
        self._tasks: set[asyncio.Task[None]] = set()
        self._heard_at: dict[int, float] = {}

    async def offer(self) -> str:
        await self.pc.setLocalDescription(await self.pc.createOffer())
        return self.pc.localDescription.sdp

    async def take_answer(self, sdp: str) -> None:
        await self.pc.setRemoteDescription(RTCSessionDescription(sdp, "answer"))

    async def answer(self, sdp: str) -> str:
        self.offers += 1
        await self.pc.setRemoteDescription(RTCSessionDescription(sdp, "offer"))
        await self.pc.setLocalDescription(await self.pc.createAnswer())
        return self.pc.localDescription.sdp

    def hears(self, hertz: int) -> bool:
        now = asyncio.get_running_loop().time()
        return any(
            ear.energy > 0.02 and ear.share(hertz) > 0.5 and now - self._heard_at[id(ear)] < 0.5
            for ear in self.ears
        )

    def sees(self, pictures: int) -> bool:
        """Tell whether so many moving pictures come in."""
        return sum(eye.moving for eye in self.eyes) >= pictures

    async def close(self) -> None:
        await self.pc.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _prefer(self, codec: str) -> None:
        known = RTCRtpSender.getCapabilities("video").codecs
        wanted = [c for c in known if c.name in {codec, "rtx"}]
        self.pc.getTransceivers()[-1].setCodecPreferences(wanted)

    def _receive(self, track: MediaStreamTrack) -> None:
        task = asyncio.create_task(self._consume(track))
        self._tasks.add(task)

    async def _consume(self, track: MediaStreamTrack) -> None:
        ear, eye = Ear(), Eye()
        self._heard_at[id(ear)] = 0.0
        (self.ears.append(ear) if track.kind == "audio" else self.eyes.append(eye))
        with suppress(MediaStreamError):
            while True:
                frame = await track.recv()
                if isinstance(frame, VideoFrame):
                    eye.take(frame)
                elif isinstance(frame, AudioFrame):
                    ear.take(frame)
                    self._heard_at[id(ear)] = asyncio.get_running_loop().time()


async def until(holds: Callable[[], bool], what: str, seconds: float = WAIT_SECONDS) -> None:
    """Wait for what media do by themselves. Raises AssertionError with what was waited for."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            # pictures and sounds tell nobody when they come: poll, bounded by the timeout
            while not holds():  # noqa: ASYNC110
                await asyncio.sleep(POLL_SECONDS)
    assert holds(), f"not within {seconds:.0f} s: {what}"
