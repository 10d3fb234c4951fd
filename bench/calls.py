"""What the server adds to a call's offer and answer, while so many calls a second are set up.

The media are not here: two sockets play the browsers, with a description of a browser's length.
"""

import asyncio
import os
import time
from dataclasses import dataclass, field
from typing import Any

from bench.client import Client, connect
from bench.hub import Hub, Room, running_hub
from bench.processes import cpu_seconds
from bench.report import Figure, percentile

SETUPS_A_SECOND = 50
SECONDS = 20.0
QUICK_SECONDS = 5.0
PAIRS = 150
CANDIDATES_A_SIDE = 5
ARRIVAL_SECONDS = 10.0

SDP = "\r\n".join(
    [
        "v=0", "o=- 1 2 IN IP4 127.0.0.1", "s=-", "t=0 0", "m=video 9 UDP/TLS/RTP/SAVPF 96",
        "c=IN IP4 0.0.0.0", "a=ice-ufrag:4ZcD", "a=ice-pwd:2/1muCWoOi3uLifh0NuRHlV3",
        "a=fingerprint:sha-256 AB:CD", "a=setup:actpass", "a=mid:0",
        *(f"a=rtpmap:{n} VP8/90000" for n in range(200)), "",
    ]
)  # fmt: skip
CANDIDATE = {
    "candidate": "candidate:1 1 udp 2122260223 192.0.2.7 53705 typ host",
    "sdpMid": "0", "sdpMLineIndex": 0,
}  # fmt: skip


class WrongError(Exception):
    """A call wasn't set up as it should be."""


@dataclass
class Times:
    """Seconds, from the sending to the peer's event or to the acknowledgement."""

    offer: list[float] = field(default_factory=list)
    answer: list[float] = field(default_factory=list)
    candidate: list[float] = field(default_factory=list)
    whole: list[float] = field(default_factory=list)


class Side:
    """One socket of a pair; tells when a signal arrives."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self._heard: asyncio.Queue[tuple[str, float]] = asyncio.Queue()
        client.on_event = self._hear

    def _hear(self, event: str, _data: dict[str, Any]) -> None:
        if event in {"call:offer", "call:answer", "call:candidate"}:
            self._heard.put_nowait((event, time.perf_counter()))

    async def arrival(self, event: str) -> float:
        """Give when the next signal arrived. Raises WrongError when it is another one."""
        async with asyncio.timeout(ARRIVAL_SECONDS):
            heard, at = await self._heard.get()
        if heard != event:
            raise WrongError(f"{heard} came in the place of {event}")
        return at


@dataclass
class Pair:
    room: str
    doctor: Side
    patient: Side

    @classmethod
    async def join(cls, hub: Hub, room: Room) -> "Pair":
        sides = [Side(await connect(hub.port, t)) for t in (room.doctor_token, room.patient_token)]
        return cls(room.room, *sides)

    async def set_up(self, times: Times) -> None:
        """Bring one call to the talk, and end it."""
        begun = time.perf_counter()
        doctor, patient = self.doctor, self.patient
        started = await doctor.client.call("call:start", room=self.room, media="video")
        call = started["call"]["id"]
        await patient.client.call("call:accept", call=call)
        times.offer.append(await self._pass(doctor, patient, "call:offer", call=call, sdp=SDP))
        times.answer.append(await self._pass(patient, doctor, "call:answer", call=call, sdp=SDP))
        for _ in range(CANDIDATES_A_SIDE):
            times.candidate += await asyncio.gather(
                self._trickle(doctor, patient, call), self._trickle(patient, doctor, call)
            )
        connected = {"connection": "connected", "rtt_ms": 20.5, "candidate": "host"}
        for side in (doctor, patient):
            await side.client.call("call:stats", call=call, stats=connected)
        times.whole.append(time.perf_counter() - begun)
        await doctor.client.call("call:hang_up", call=call)

    async def _trickle(self, one: Side, other: Side, call: str) -> float:
        return await self._pass(one, other, "call:candidate", call=call, candidate=CANDIDATE)

    async def _pass(self, one: Side, other: Side, event: str, **data: Any) -> float:
        begun = time.perf_counter()
        _, at = await asyncio.gather(one.client.call(event, **data), other.arrival(event))
        taken: float = at - begun
        return taken


async def measure(quick: bool) -> list[Figure]:
    async with running_hub() as hub:
        rooms = await hub.make_rooms(PAIRS, "video")
        pairs = [await Pair.join(hub, room) for room in rooms]
        times = Times()
        for pair in pairs[:10]:
            await pair.set_up(Times())
        pids = (hub.pid, hub.mongod, os.getpid())
        before, begun = [cpu_seconds(pid) for pid in pids], time.perf_counter()
        wanted = QUICK_SECONDS if quick else SECONDS
        await _at_a_rate(pairs, times, int(wanted * SETUPS_A_SECOND))
        seconds = time.perf_counter() - begun
        used = [cpu_seconds(pid) - b for pid, b in zip(pids, before, strict=True)]
    load = f"load average {os.getloadavg()[0]:.1f}"
    count = len(times.whole)
    note = f"{SETUPS_A_SECOND} wanted; {load}"
    figures = [Figure("calls set up", count / seconds, "/s", note)]
    for name in ("offer", "answer", "candidate"):
        taken = getattr(times, name)
        figures += [
            Figure(f"{name}, median", percentile(taken, 0.5) * 1000, "ms", "to the peer's event"),
            Figure(f"{name}, p99", percentile(taken, 0.99) * 1000, "ms"),
        ]
    figures.append(Figure("whole set-up, median", percentile(times.whole, 0.5) * 1000, "ms"))
    for who, cpu in zip(("the hub", "mongod", "the clients"), used, strict=True):
        note = f"{cpu / seconds:.0%} of a core"
        figures.append(Figure(f"CPU of {who}", cpu / count * 1000, "ms/call", note))
    return figures


async def _at_a_rate(pairs: list[Pair], times: Times, count: int) -> None:
    """Begin a call every 20 ms by a pair that is free."""
    loop = asyncio.get_running_loop()
    free: asyncio.Queue[Pair] = asyncio.Queue()
    for pair in pairs:
        free.put_nowait(pair)

    async def one(pair: Pair) -> None:
        await pair.set_up(times)
        free.put_nowait(pair)

    begun = loop.time()
    async with asyncio.TaskGroup() as tasks:
        for number in range(count):
            await asyncio.sleep(begun + number / SETUPS_A_SECOND - loop.time())
            tasks.create_task(one(await free.get()))
