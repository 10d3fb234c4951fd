"""aiortc's own MediaRelay as a process: what our relay is measured against.

Reads `{"call", "user", "sdp"}` a line, and answers with `{"sdp"}`. Everybody in a call is sent
what all others send, over the sections that his offer has for them.
"""

import asyncio
import json
import sys
from collections import defaultdict
from collections.abc import Iterator

from aiortc import (
    MediaStreamTrack,
    RTCBundlePolicy,
    RTCConfiguration,
    RTCPeerConnection,
    RTCRtpTransceiver,
    RTCSessionDescription,
)
from aiortc.contrib.media import MediaRelay


class Participant:
    def __init__(self) -> None:
        self.pc = RTCPeerConnection(
            RTCConfiguration(iceServers=[], bundlePolicy=RTCBundlePolicy.MAX_BUNDLE)
        )
        self.tracks: list[MediaStreamTrack] = []
        self.pc.on("track", self.tracks.append)
        self._free: dict[str, Iterator[RTCRtpTransceiver]] = {}

    async def answer(self, sdp: str) -> str:
        await self.pc.setRemoteDescription(RTCSessionDescription(sdp, "offer"))
        transceivers = self.pc.getTransceivers()
        taken: set[str] = set()
        for one in transceivers:
            one.direction = "sendonly" if one.kind in taken else "sendrecv"
            taken.add(one.kind)
        for kind in taken:
            self._free[kind] = iter([one for one in transceivers if one.kind == kind])
        await self.pc.setLocalDescription(await self.pc.createAnswer())
        return str(self.pc.localDescription.sdp)

    def give(self, other: "Participant", relay: MediaRelay) -> None:
        for track in other.tracks:
            # unbuffered: its queues have no bound
            copy = relay.subscribe(track, buffered=False)
            next(self._free[track.kind]).sender.replaceTrack(copy)


async def serve() -> None:
    calls: dict[str, list[Participant]] = defaultdict(list)
    relay, loop = MediaRelay(), asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        asked = json.loads(line)
        new, others = Participant(), calls[asked["call"]]
        sdp = await new.answer(asked["sdp"])
        for other in others:
            new.give(other, relay)
            other.give(new, relay)
        others.append(new)
        print(json.dumps({"sdp": sdp}), flush=True)
    await asyncio.gather(*(one.pc.close() for call in calls.values() for one in call))


if __name__ == "__main__":
    asyncio.run(serve())
