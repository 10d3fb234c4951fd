"""One socket as frames: says exactly what a test tells it to, and keeps what it hears in order.

python-socketio's client won't send nonsense, and hides when the server closed; this one doesn't.
"""

import asyncio
import contextlib
import itertools
import json
from collections.abc import Callable
from typing import Any, Self

import aiohttp

from tests.scenarios.people import PASSWORD

SECONDS = 30.0
"""How long a test waits for what must come."""

Test = Callable[[Any], bool]


class Lost(Exception):
    """The socket closed before the answer came."""


class Wire:
    """A WebSocket past Engine.IO's OPEN. `connect` makes it a socket of a user."""

    def __init__(self, ws: aiohttp.ClientWebSocketResponse) -> None:
        self._ws = ws
        self._numbers = itertools.count()
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._heard = asyncio.Condition()
        self.refusal: Any = None
        self.connected = False
        self.dismissed = False
        """Whether the server said DISCONNECT, after which a client must not come back by itself."""
        self.events: list[tuple[str, Any]] = []
        """Every event, in the order of arrival."""
        self.closed: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()
        """The close code once the server closed."""
        self._reader = asyncio.create_task(self._read())

    @classmethod
    async def open(cls, http: aiohttp.ClientSession, url: str) -> Self:
        return cls(await http.ws_connect(f"{url}/socket.io/?EIO=4&transport=websocket"))

    @classmethod
    async def enter(cls, http: aiohttp.ClientSession, url: str, token: str) -> Self:
        """Open a socket and CONNECT."""
        wire = await cls.open(http, url)
        refusal = await wire.connect({"token": token, "device": "h5", "device_id": "wire"})
        assert refusal is None, refusal
        return wire

    async def connect(self, auth: Any = None) -> Any:
        """Send CONNECT; give None when let in, else the refusal. Raises Lost."""
        await self.say("40" + ("" if auth is None else json.dumps(auth)))
        await self._until(lambda: self.connected or self.refusal is not None)
        return self.refusal

    async def say(self, frame: str) -> None:
        """Send a frame as it is."""
        try:
            await self._ws.send_str(frame)
        except ConnectionError:
            raise Lost from None

    async def send(self, name: Any, *arguments: Any) -> "asyncio.Future[Any]":
        """Send an event; the future gives its acknowledgement, or None when the socket closed."""
        return await self.send_text(json.dumps([name, *arguments], ensure_ascii=False))

    async def send_text(self, event: str) -> "asyncio.Future[Any]":
        """Send an event whose JSON is written out."""
        number, answer = next(self._numbers), asyncio.get_running_loop().create_future()
        self._answers[number] = answer
        if self.closed.done():
            raise Lost
        await self.say(f"42{number}{event}")
        return answer

    async def ask(self, name: Any, *arguments: Any) -> Any:
        """Send an event and give its acknowledgement. Raises Lost."""
        return await self.answer(await self.send(name, *arguments))

    async def answer(self, sent: "asyncio.Future[Any]") -> Any:
        answer = await asyncio.wait_for(sent, SECONDS)
        if answer is None:
            raise Lost
        return answer

    async def event(self, name: str, accept: Test = lambda _data: True) -> Any:
        """Give the first event of this name whose data fits, past or to come. Raises Lost."""

        def fitting() -> list[Any]:
            return [data for heard, data in self.events if heard == name and accept(data)]

        await self._until(lambda: bool(fitting()))
        return fitting()[0]

    async def heard(self, name: str, count: int) -> list[Any]:
        """Give the data of all events of this name once there are `count`. Raises Lost."""
        found: list[Any] = []

        def enough() -> bool:
            found[:] = [data for heard, data in self.events if heard == name]
            return len(found) >= count

        await self._until(enough)
        return found

    async def close(self) -> None:
        await self._ws.close()
        await self._reader

    async def _until(self, fulfilled: Callable[[], bool]) -> None:
        async with asyncio.timeout(SECONDS), self._heard:
            await self._heard.wait_for(lambda: fulfilled() or self.closed.done())
        if not fulfilled():
            raise Lost

    async def _read(self) -> None:
        with contextlib.suppress(ConnectionError):
            async for message in self._ws:
                async with self._heard:
                    await self._take(str(message.data))
                    self._heard.notify_all()
        async with self._heard:
            self.closed.set_result(self._ws.close_code)
            for answer in self._answers.values():
                answer.set_result(None)
            self._heard.notify_all()

    async def _take(self, frame: str) -> None:
        if frame == "2":
            await self._ws.send_str("3")
        elif frame.startswith("40"):
            self.connected = True
        elif frame == "41":
            self.dismissed = True
        elif frame.startswith("44"):
            self.refusal = json.loads(frame[2:])
        elif frame.startswith("42"):
            name, data = json.loads(frame[2:])
            self.events.append((name, data))
        elif frame.startswith("43"):
            number, bracket, rest = frame[2:].partition("[")
            answer = self._answers.pop(int(number))
            if not answer.done():
                answer.set_result(json.loads(bracket + rest)[0])


async def log_in(
    http: aiohttp.ClientSession, url: str, phone: str, password: str = PASSWORD
) -> Any:
    """Log in by REST; give the tokens and the user."""
    credentials = {"phone": phone, "password": password}
    async with http.post(f"{url}/api/v1/auth/login", json=credentials) as answer:
        assert answer.status == 200, await answer.text()
        return await answer.json()


async def load_rooms(
    http: aiohttp.ClientSession, url: str, rooms: int, mode: str = "text"
) -> list[dict[str, str]]:
    """Have the demo server make consultations in progress, each with people of its own."""
    wanted = {"rooms": rooms, "mode": mode}
    async with http.post(f"{url}/test/load-data", json=wanted) as answer:
        assert answer.status == 200, await answer.text()
        return list((await answer.json())["items"])
