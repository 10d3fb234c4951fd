"""Members of rooms who talk as fast as they are acknowledged, and the check that all arrived."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from bench.client import Client, connect
from bench.hub import Hub, Room

TEXT = "最近三天头疼，体温三十八度，没有咳嗽，请问需要吃药吗？"
CONNECTING_AT_ONCE = 20
PAGE = 200
ARRIVAL_SECONDS = 10.0


class LostError(Exception):
    """An acknowledged message is missing where it should be."""


@dataclass(slots=True)
class Tally:
    """What is counted while `open`."""

    open: bool = False
    latencies: list[float] = field(default_factory=list)
    refused: int = 0


class Member:
    """One of a room's two, noting what was acknowledged and heard."""

    def __init__(self, client: Client, room: str, tally: Tally, name: str) -> None:
        self.client = client
        self.room = room
        self.acknowledged: dict[int, str] = {}
        self.heard: dict[int, str] = {}
        self.outstanding = 0
        self.talking = False
        self._tally = tally
        self._name = name
        self._sent = 0
        client.on_event = self._hear

    def talk(self, outstanding: int) -> None:
        """Send, and send again whenever one is acknowledged."""
        self.talking = True
        for _ in range(outstanding):
            self._say()

    def _say(self) -> None:
        self._sent += 1
        self.outstanding += 1
        begun = time.perf_counter()

        def answered(answer: dict[str, Any]) -> None:
            self.outstanding -= 1
            self._count(answer, time.perf_counter() - begun)
            if self.talking:
                self._say()

        message = {
            "room": self.room, "client_id": f"{self._name}:{self._sent}",
            "kind": "text", "body": {"text": TEXT},
        }  # fmt: skip
        self.client.emit("message:send", message, answered)

    def _count(self, answer: dict[str, Any], seconds: float) -> None:
        if answer["ok"] is True:
            self.acknowledged[answer["message"]["seq"]] = answer["message"]["id"]
            if self._tally.open:
                self._tally.latencies.append(seconds)
        elif self._tally.open:
            self._tally.refused += 1

    def _hear(self, event: str, data: dict[str, Any]) -> None:
        if event == "message:new":
            self.heard[data["seq"]] = data["id"]


@dataclass(frozen=True, slots=True)
class Pair:
    patient: Member
    doctor: Member

    def missing(self) -> int:
        """Count what one was acknowledged and the other hasn't heard."""
        pairs = ((self.patient, self.doctor), (self.doctor, self.patient))
        return sum(len(a.acknowledged.items() - b.heard.items()) for a, b in pairs)


class Crowd:
    """Both members of every room, connected and joined."""

    def __init__(self, pairs: Sequence[Pair], tally: Tally) -> None:
        self.pairs = pairs
        self.members = [m for pair in pairs for m in (pair.patient, pair.doctor)]
        self.tally = tally

    def talk(self, outstanding: int) -> None:
        for member in self.members:
            member.talk(outstanding)

    async def fall_silent(self) -> None:
        """Stop, and wait for what is outstanding and until everything was heard."""
        for member in self.members:
            member.talking = False
        try:
            async with asyncio.timeout(ARRIVAL_SECONDS):
                # polled: an event set for each message would be paid for while measuring
                while any(m.outstanding for m in self.members) or self._missing():  # noqa: ASYNC110
                    await asyncio.sleep(0.1)
        except TimeoutError:
            raise LostError(f"{self._missing()} acknowledged messages weren't heard") from None

    async def check_rooms(self, sample: int) -> int:
        """Read some rooms back; return how many acknowledged messages were compared."""
        step = max(1, len(self.pairs) // sample)
        return sum([await _check_room(pair) for pair in self.pairs[::step]])

    def close(self) -> None:
        for member in self.members:
            member.client.close()

    def _missing(self) -> int:
        return sum(pair.missing() for pair in self.pairs)


async def gather_crowd(hub: Hub, rooms: Sequence[Room]) -> Crowd:
    tally = Tally()
    places = asyncio.Semaphore(CONNECTING_AT_ONCE)

    async def enter(token: str, room: str, name: str) -> Member:
        async with places:
            member = Member(await connect(hub.port, token), room, tally, name)
            await member.client.call("room:join", room=room)
            return member

    async def pair(row: Room) -> Pair:
        return Pair(
            await enter(row.patient_token, row.room, "patient"),
            await enter(row.doctor_token, row.room, "doctor"),
        )

    return Crowd(await asyncio.gather(*map(pair, rooms)), tally)


async def _check_room(pair: Pair) -> int:
    """Compare a room's log with what its members were told. Raises LostError."""
    stored: dict[int, str] = {}
    more, seq = True, 0
    while more:
        page = await pair.patient.client.call(
            "room:sync", room=pair.patient.room, after_seq=seq, limit=PAGE
        )
        stored |= {m["seq"]: m["id"] for m in page["messages"]}
        more, seq = page["has_more"], max(stored)
    if list(stored) != list(range(1, seq + 1)):
        raise LostError("the room's numbers aren't 1, 2, 3 …")
    acknowledged = pair.patient.acknowledged | pair.doctor.acknowledged
    if acknowledged.items() - stored.items():
        raise LostError("an acknowledged message isn't in its room")
    return len(acknowledged)
