"""What the scenarios of calls have in common: the two sides' devices, and the way to a talk."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest_asyncio

from tests.scenarios.test_bad_input_socket import SDP
from tests.scenarios.wire import Wire, load_rooms
from tests.server import ServerProcess

SIGNALS = {"call:offer", "call:answer", "call:candidate", "call:media"}
CANDIDATE = "candidate:{} 1 udp 2122260223 192.0.2.7 53705 typ host"
REPORT_SECONDS = 25
"""How far the clock may go between two reports: a side not heard of for 30 s is lost."""

Answer = dict[str, Any]
Advance = Callable[[float], Awaitable[None]]


def sdp(name: str) -> str:
    """Make a description that can be told from others."""
    return SDP.replace("s=-", f"s={name}")


def candidate(number: int) -> Answer:
    return {"candidate": CANDIDATE.format(number), "sdpMid": "0", "sdpMLineIndex": 0}


class Device:
    """One socket of a user, under a device id of its own."""

    def __init__(self, wire: Wire, user: str) -> None:
        self.wire = wire
        self.user = user

    async def do(self, command: str, **data: Any) -> Answer:
        """Send what should succeed."""
        answer: Answer = await self.wire.ask(command, data)
        assert answer["ok"], (command, answer)
        return answer

    async def refused(self, command: str, **data: Any) -> str:
        """Send what should be refused; give the code."""
        answer = await self.wire.ask(command, data)
        assert not answer["ok"], f"{command} was not refused: {answer}"
        return str(answer["error"]["code"])

    async def report(self, call: str, connection: str = "connected", **measured: Any) -> None:
        await self.do("call:stats", call=call, stats={"connection": connection, **measured})

    async def state(self, state: str, **wanted: Any) -> Answer:
        """Wait until it is told of a call in this state."""

        def fits(call: Any) -> bool:
            return call["state"] == state and all(call[k] == v for k, v in wanted.items())

        told = await self.wire.event("call:updated", lambda data: fits(data["call"]))
        return dict(told["call"])

    def signals(self) -> list[tuple[str, Any]]:
        """List what it was passed on so far, in the order of arrival."""
        return [(name, data) for name, data in self.wire.events if name in SIGNALS]

    async def close(self) -> None:
        await self.wire.close()


@dataclass
class Hall:
    """Lets devices in and closes them after the test."""

    http: aiohttp.ClientSession
    url: str
    _open: list[Device] = field(default_factory=list)

    async def enter(self, token: str, device_id: str, url: str | None = None) -> Device:
        url = url or self.url
        user = (await self.rest(token, "GET", "/me", url=url))[1]["id"]
        wire = await Wire.open(self.http, url)
        refusal = await wire.connect({"token": token, "device": "h5", "device_id": device_id})
        assert refusal is None, refusal
        self._open.append(Device(wire, user))
        return self._open[-1]

    async def rest(
        self, token: str, method: str, path: str, body: Any = None, url: str | None = None
    ) -> tuple[int, Any]:
        headers = {"Authorization": f"Bearer {token}"}
        async with self.http.request(
            method, f"{url or self.url}/api/v1{path}", json=body, headers=headers
        ) as answer:
            return answer.status, await answer.json()

    async def close(self) -> None:
        for device in self._open:
            await device.close()


@dataclass
class Pair:
    """A doctor's desk and a patient's phone, of one consultation in progress."""

    hall: Hall
    row: dict[str, str]
    doctor: Device
    patient: Device

    @classmethod
    async def make(cls, hall: Hall, mode: str = "video") -> "Pair":
        (row,) = await load_rooms(hall.http, hall.url, 1, mode)
        doctor = await hall.enter(row["doctor_token"], "desk")
        return cls(hall, row, doctor, await hall.enter(row["patient_token"], "phone"))

    async def ring(self, media: str = "video") -> str:
        """Let the doctor call; give the call's id."""
        answer = await self.doctor.do("call:start", room=self.row["room"], media=media)
        return str(answer["call"]["id"])

    async def accepted(self, media: str = "video") -> str:
        call = await self.ring(media)
        await self.patient.do("call:accept", call=call)
        return call

    async def connected(self, media: str = "video") -> str:
        call = await self.accepted(media)
        await self.report(call)
        await self.patient.state("connected", id=call)
        return call

    async def report(self, call: str) -> None:
        for side in (self.doctor, self.patient):
            await side.report(call)

    async def talk(self, call: str, seconds: int, advance: Advance) -> None:
        """Let time pass while both sides report."""
        while seconds > 0:
            await advance(min(seconds, REPORT_SECONDS))
            seconds -= REPORT_SECONDS
            await self.report(call)

    async def look_up(self, call: str, who: str = "doctor") -> Answer:
        status, body = await self.hall.rest(self.row[f"{who}_token"], "GET", f"/calls/{call}")
        assert status == 200, body
        return dict(body)

    async def line(self, call: str) -> Answer:
        """Wait for the call's line in the room; it must be there once."""
        told = await self.patient.wire.event("message:new", lambda message: _is_line(message, call))
        asked = await self.patient.do("room:sync", room=self.row["room"], after_seq=0)
        lines = [m for m in asked["messages"] if _is_line(m, call)]
        assert [m["seq"] for m in lines] == [told["seq"]]
        return dict(told["body"])


def _is_line(message: Any, call: str) -> bool:
    body = message["body"]
    return body.get("call") == call and "duration_s" in body


@pytest_asyncio.fixture
async def hall(clocked: ServerProcess, http: aiohttp.ClientSession) -> AsyncIterator[Hall]:
    hall = Hall(http, clocked.url)
    yield hall
    await hall.close()


@pytest_asyncio.fixture
async def pair(hall: Hall) -> Pair:
    return await Pair.make(hall)
