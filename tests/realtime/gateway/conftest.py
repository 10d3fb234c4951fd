"""A gateway on a real port with a small command table, and clients of two kinds: one that keeps
the protocol (python-socketio's) and one that writes whatever the test says.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from datetime import timedelta
from typing import Any

import aiohttp
import pytest
import socketio
from aiohttp import web
from prometheus_client import CollectorRegistry
from pydantic import Field

from care.accounts import Caller, Role
from care.errors import Closed, Unauthenticated
from care.policy import AccountPolicy
from realtime.gateway.bus import Bus, Fanout, LocalBus
from realtime.gateway.connections import Connection, Connections
from realtime.gateway.dispatch import Dispatcher
from realtime.gateway.limits import RateLimiter
from realtime.gateway.metrics import Metrics
from realtime.gateway.server import Gateway
from realtime.gateway.sessions import Refresh, SessionGuard
from realtime.gateway.settings import GatewaySettings, Limits, Rate
from realtime.gateway.table import Accepted, Command, Payload
from tests.clock import ManualClock

SECONDS = 20.0
"""How long a test waits for what must come."""

ANN = "ann"
"""The token of the user `ann`."""

UNLIMITED = Limits(default=Rate(burst=1_000_000, per_second=1_000_000), commands={})


class Text(Payload):
    text: str = Field(min_length=1, max_length=20)


class Nothing(Payload):
    pass


class Signer:
    """A Tokens port: `user`, `user/role` or `user/role/session`, good for a quarter of an hour."""

    def __init__(self, clock: ManualClock) -> None:
        self._clock = clock
        self.revoked: set[str] = set()

    async def verify(self, token: str) -> Caller:
        if token == "forged":
            raise Unauthenticated
        if token == "broken":
            raise RuntimeError("the key file is gone")
        user, role, session = (*token.split("/"), "", "")[:3]
        expires_at = self._clock.now() + timedelta(minutes=15)
        return Caller(user, Role(role or "patient"), user, session or f"s-{user}", expires_at)

    async def revoked_among(self, sessions: Collection[str]) -> Collection[str]:
        return self.revoked & set(sessions)


class Book:
    """Commands that show when they were run, and wait until the test lets them go on."""

    def __init__(self) -> None:
        self.ran: list[str] = []
        self.released: dict[str, asyncio.Future[str]] = {}
        self.finished = asyncio.Event()
        self.gate = asyncio.Event()

    def table(self) -> list[Command[Any]]:
        return [
            Command("echo", Text, self.echo),
            Command("nothing", Nothing, self.nothing),
            Command("later", Text, self.later),
            Command("hold", Text, self.hold),
            Command("fail", Text, self.fail),
            Command("closed", Nothing, self.closed),
            Command("unwritable", Nothing, self.unwritable),
            Command("large", Nothing, self.large),
            Command("given_up", Nothing, self.given_up),
            Command("doctors", Nothing, self.nothing, roles=frozenset({Role.DOCTOR})),
        ]

    def future(self, text: str) -> "asyncio.Future[str]":
        if text not in self.released:
            self.released[text] = asyncio.get_running_loop().create_future()
        return self.released[text]

    async def echo(self, _at: Connection, asked: Text) -> Mapping[str, Any]:
        self.ran.append(asked.text)
        return {"text": asked.text}

    async def nothing(self, _at: Connection, _asked: Nothing) -> Mapping[str, Any]:
        self.ran.append("nothing")
        return {}

    async def later(self, _at: Connection, asked: Text) -> Accepted[str]:
        self.ran.append(asked.text)
        return Accepted(self.future(asked.text), lambda text: {"text": text})

    async def hold(self, _at: Connection, asked: Text) -> Mapping[str, Any]:
        self.ran.append(asked.text)
        await self.gate.wait()
        self.finished.set()
        return {"text": asked.text}

    async def fail(self, _at: Connection, _asked: Text) -> Mapping[str, Any]:
        raise RuntimeError("a detail nobody outside may see")

    async def closed(self, _at: Connection, _asked: Nothing) -> Mapping[str, Any]:
        raise Closed

    async def unwritable(self, _at: Connection, _asked: Nothing) -> Mapping[str, Any]:
        return {"what": object()}

    async def large(self, _at: Connection, _asked: Nothing) -> Mapping[str, Any]:
        self.ran.append("large")
        return {"text": "x" * 2_000_000}

    async def given_up(self, _at: Connection, _asked: Nothing) -> Mapping[str, Any]:
        raise asyncio.CancelledError


class Raw:
    """A WebSocket that says exactly what it is told to, and keeps what it hears in order."""

    def __init__(self, ws: aiohttp.ClientWebSocketResponse) -> None:
        self.ws = ws
        self.heard: list[str] = []
        self.close_code: int | None = None

    async def receive(self) -> str | None:
        """Give the next frame, or None when the server closed."""
        message = await self.ws.receive(SECONDS)
        if message.type is aiohttp.WSMsgType.CLOSE:
            self.close_code = message.data
        if message.type is not aiohttp.WSMsgType.TEXT:
            return None
        self.heard.append(message.data)
        return str(message.data)

    async def connect(self, token: str = ANN, **auth: Any) -> str:
        """Send CONNECT and give the server's answer to it."""
        hello = {"token": token, "device": "h5", "device_id": "d1", **auth}
        await self.say("40" + json.dumps(hello))
        answer = await self.receive()
        assert answer is not None
        return answer

    async def say(self, frame: str) -> None:
        await self.ws.send_str(frame)

    async def emit(self, number: int | None, name: Any, *arguments: Any) -> None:
        prefix = "42" if number is None else f"42{number}"
        await self.say(prefix + json.dumps([name, *arguments]))

    async def acknowledgement(self) -> tuple[int, dict[str, Any]]:
        frame = await self.receive()
        assert frame is not None
        assert frame.startswith("43"), frame
        number, bracket, rest = frame[2:].partition("[")
        (answer,) = json.loads(bracket + rest)
        return int(number), answer

    async def call(self, name: Any, *arguments: Any) -> dict[str, Any]:
        """Emit and give the acknowledgement's answer."""
        await self.emit(7, name, *arguments)
        number, answer = await self.acknowledgement()
        assert number == 7
        return answer

    async def event(self) -> tuple[str, Any]:
        frame = await self.receive()
        assert frame is not None
        assert frame.startswith("42["), frame
        name, data = json.loads(frame[2:])
        return name, data

    def vanish(self) -> None:
        """Break the connection without a word."""
        connection = self.ws._response.connection
        assert connection is not None
        assert connection.transport is not None
        connection.transport.abort()

    async def closed(self) -> int | None:
        """Hear everything until the server closes, and give its code; None when it said none."""
        while await self.receive() is not None:
            pass
        return self.close_code


class Hub:
    """The gateway under test."""

    def __init__(self, settings: GatewaySettings, bus: Bus, http: aiohttp.ClientSession) -> None:
        self.http = http
        self.clock = ManualClock()
        self.signer = Signer(self.clock)
        self.book = Book()
        self.registry = CollectorRegistry()
        self.metrics = Metrics(self.registry)
        self.connections = Connections(settings.connections_per_user)
        self.connections.watch(self.metrics)
        self.metrics.measure_queues(lambda: sum(c.wire.queued_bytes for c in self.connections))
        self.fanout = Fanout(self.connections, bus)
        self.guard = SessionGuard(
            self.connections,
            self.signer,
            self.clock,
            self.signer.revoked_among,
            AccountPolicy(),
            settings.sweep_seconds,
        )
        refresh = Command("session:refresh", Refresh, self.guard.refresh)
        dispatcher = Dispatcher(
            [*self.book.table(), refresh], RateLimiter(settings.limits), self.metrics
        )
        self.gateway = Gateway(
            settings, dispatcher, self.signer, self.connections, bus, self.clock, self.metrics
        )
        self._clients: list[socketio.AsyncClient] = []
        self.raws: list[Raw] = []

    async def start(self) -> None:
        app = web.Application()
        self.gateway.attach(app)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.host = f"127.0.0.1:{self._runner.addresses[0][1]}"

    async def stop(self) -> None:
        for client in self._clients:
            await client.disconnect()
        for raw in self.raws:
            await raw.ws.close()
        self.book.gate.set()
        await self.gateway.drain()
        await self.stop_serving()

    async def stop_serving(self) -> None:
        """Stop the web server, which cancels the requests that are still open."""
        await self._runner.cleanup()

    @property
    def sockets(self) -> int:
        return len(self.gateway.eio.sockets)

    def counted(self, name: str, **labels: str) -> float:
        return self.registry.get_sample_value(name, labels) or 0.0

    async def open(self, *, path: str = "EIO=4&transport=websocket", **options: Any) -> Raw:
        """Open a WebSocket up to Engine.IO's OPEN."""
        ws = await self.http.ws_connect(f"http://{self.host}/socket.io/?{path}", **options)
        raw = Raw(ws)
        self.raws.append(raw)
        opening = await raw.receive()
        assert opening is not None
        assert opening.startswith("0{")
        return raw

    async def raw(self, token: str = ANN, **auth: Any) -> Raw:
        """Open a WebSocket and CONNECT."""
        raw = await self.open()
        answer = await raw.connect(token, **auth)
        assert answer.startswith('40{"sid":'), answer
        return raw

    async def client(self, token: str = ANN) -> socketio.AsyncClient:
        """Connect as the reference client does."""
        client = socketio.AsyncClient(reconnection=False, http_session=self.http)
        self._clients.append(client)
        auth = {"token": token, "device": "desktop", "device_id": "d1"}
        await client.connect(f"http://{self.host}", auth=auth, transports=["websocket"])
        return client


Start = Callable[..., Awaitable[Hub]]


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """Start gateways with the settings a test needs."""
    hubs: list[Hub] = []
    async with aiohttp.ClientSession() as http:

        async def begin(bus: Bus | None = None, **settings: Any) -> Hub:
            values = {"limits": UNLIMITED, "goodbye_seconds": 0.2, **settings}
            hub = Hub(GatewaySettings(**values), bus or LocalBus(), http)
            hubs.append(hub)
            await hub.start()
            return hub

        yield begin
        for hub in hubs:
            await hub.stop()


@pytest.fixture
async def hub(start: Start) -> Hub:
    return await start()


async def until(condition: Callable[[], bool]) -> None:
    """Poll for what has no event to wait for, bounded."""
    async with asyncio.timeout(SECONDS):
        while not condition():  # noqa: ASYNC110  # the state of a server has no event
            await asyncio.sleep(0.005)
