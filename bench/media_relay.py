"""aiortc's own MediaRelay as a process: what our relay is measured against.

Reads `{"call", "user", "sdp"}` a line, and answers with `{"sdp"}`. Everybody in a call is sent
what all others send, over the sections that his offer has for them. `{"call", "record"}` records
everybody by aiortc's MediaRecorder, into the folder it is given.
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
from aiortc.contrib.media import MediaRecorder, MediaRelay


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


async def record(call: str, participants: list[Participant], relay: MediaRelay) -> MediaRecorder:
    recorder = MediaRecorder(f"{sys.argv[1]}/{call}.mp4")
    for one in participants:
        for track in one.tracks:
            recorder.addTrack(relay.subscribe(track, buffered=False))
    await recorder.start()
    return recorder


async def serve() -> None:
    calls: dict[str, list[Participant]] = defaultdict(list)
    relay, loop = MediaRelay(), asyncio.get_running_loop()
    recorders: list[MediaRecorder] = []
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        asked = json.loads(line)
        if "record" in asked:
            recorders.append(await record(asked["call"], calls[asked["call"]], relay))
            print("{}", flush=True)
            continue
        new, others = Participant(), calls[asked["call"]]
        sdp = await new.answer(asked["sdp"])
        for other in others:
            new.give(other, relay)
            other.give(new, relay)
        others.append(new)
        print(json.dumps({"sdp": sdp}), flush=True)
    for recorder in recorders:
        await recorder.stop()
    await asyncio.gather(*(one.pc.close() for call in calls.values() for one in call))


if __name__ == "__main__":
    asyncio.run(serve())
