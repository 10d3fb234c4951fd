"""One peer connection with synthetic media, and what it receives."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from aiortc import (
    MediaStreamTrack,
    RTCBundlePolicy,
    RTCConfiguration,
    RTCIceServer,
    RTCPeerConnection,
    RTCSessionDescription,
)  # fmt: skip
from aiortc.mediastreams import MediaStreamError
from aiortc.sdp import candidate_from_sdp
from av import AudioFrame, VideoFrame

from bot.errors import NoAddress
from bot.media import Ear, Eye, Pattern, Tone


class Peer:
    """Always `close` it: its decoders' threads keep the process alive."""

    def __init__(
        self, ice_servers: list[Mapping[str, Any]], *, hertz: int, video: bool,
        changed: Callable[[], None],
    ) -> None:  # fmt: skip
        servers = [RTCIceServer(**server) for server in ice_servers]
        self._connection = RTCPeerConnection(
            # unset, aiortc asks a public STUN server
            RTCConfiguration(iceServers=servers, bundlePolicy=RTCBundlePolicy.MAX_BUNDLE)
        )
        self._connection.on("track", self._receive)
        self._connection.on("connectionstatechange", changed)
        self._receiving: set[asyncio.Task[None]] = set()
        self._tone = Tone(hertz)
        self._pattern = Pattern()
        self._connection.addTrack(self._tone)
        if video:
            self._connection.addTrack(self._pattern)
        self.eye, self.ear = Eye(), Ear()

    @property
    def state(self) -> str:
        return self._connection.connectionState

    @property
    def offering(self) -> bool:
        return self._connection.signalingState == "have-local-offer"

    async def close(self) -> None:
        await self._connection.close()
        for task in self._receiving:
            task.cancel()
        await asyncio.gather(*self._receiving, return_exceptions=True)

    async def offer(self) -> str:
        """Describe this end, its candidates included. Raises NoAddress."""
        return await self._describe(await self._connection.createOffer())

    async def answer(self, offer: str) -> str:
        """Take an offer and answer it. Raises NoAddress."""
        await self._connection.setRemoteDescription(RTCSessionDescription(offer, "offer"))
        return await self._describe(await self._connection.createAnswer())

    async def take_answer(self, answer: str) -> None:
        await self._connection.setRemoteDescription(RTCSessionDescription(answer, "answer"))

    async def take_candidate(self, given: Mapping[str, Any]) -> None:
        """Add a candidate in the form browsers write it; an empty one ends them."""
        if not given["candidate"]:
            await self._connection.addIceCandidate(None)
            return
        line = given["candidate"].removeprefix("a=").removeprefix("candidate:")
        candidate = candidate_from_sdp(line)
        candidate.sdpMid = given.get("sdpMid")
        candidate.sdpMLineIndex = given.get("sdpMLineIndex")
        await self._connection.addIceCandidate(candidate)

    def switch(self, *, mic: bool, camera: bool) -> None:
        """Send silence or black instead."""
        self._tone.sending, self._pattern.sending = mic, camera

    async def _describe(self, description: RTCSessionDescription) -> str:
        await self._connection.setLocalDescription(description)
        sdp = self._connection.localDescription.sdp
        if "a=candidate:" not in sdp:
            raise NoAddress(
                "This machine has no network address but 127.0.0.1, over which ICE does not "
                "connect; add one: ip addr add 127.0.0.2/8 dev lo"
            )
        return sdp

    def _receive(self, track: MediaStreamTrack) -> None:
        task = asyncio.create_task(self._consume(track))
        self._receiving.add(task)
        task.add_done_callback(self._receiving.discard)

    async def _consume(self, track: MediaStreamTrack) -> None:
        while True:
            try:
                frame = await track.recv()
            except MediaStreamError:
                return
            if isinstance(frame, VideoFrame):
                self.eye.take(frame)
            elif isinstance(frame, AudioFrame):
                self.ear.take(frame)
