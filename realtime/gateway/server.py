"""The Socket.IO server: who is let in, and what becomes of each packet.

python-socketio would let a client emit `connect` as an event, acknowledges events it doesn't know
and says nothing when a handler fails. Here an event reaches the command table and nothing else,
and whoever asked for an acknowledgement gets one (`dispatch`).
"""

import asyncio
import contextlib
import functools
import logging
from collections.abc import Mapping
from typing import Any

import socketio
import structlog
from aiohttp import web
from pydantic import Field
from socketio.packet import CONNECT, CONNECT_ERROR

from care.accounts import require_own_password
from care.errors import BadRequest, CareError, Unauthenticated, Unavailable
from care.fields import refuse_unstorable
from care.ports import Clock, Tokens
from realtime.gateway.bus import Bus
from realtime.gateway.codec import Packet
from realtime.gateway.connections import Connection, Connections, Device
from realtime.gateway.dispatch import Dispatcher
from realtime.gateway.errors import BadFrame, parse, to_care
from realtime.gateway.metrics import Metrics
from realtime.gateway.settings import GatewaySettings
from realtime.gateway.table import Payload
from realtime.gateway.transport import EngineServer, EngineSocket

GOING_AWAY = 1001
"""WebSocket's code for a server that goes down: clients come back, to another process."""

_LIBRARY = logging.getLogger("wenzhen.socketio")
"""Where the libraries log; given none, they would put a handler of their own on stderr."""
_LIBRARY.setLevel(logging.ERROR)

logger = structlog.get_logger(__name__)


class Auth(Payload):
    token: str = Field(min_length=1, max_length=4096)
    device: Device = "h5"
    device_id: str = Field(default="unnamed", min_length=1, max_length=128)


class Gateway(socketio.AsyncServer):  # type: ignore[misc]  # the library ships no types
    """Serve the command table over Socket.IO.

    The library does the handshake and knows the packets' format. Its handlers, rooms and `emit`
    are not used: `Connections` pushes.
    """

    def __init__(
        self,
        settings: GatewaySettings,
        dispatcher: Dispatcher,
        tokens: Tokens,
        connections: Connections,
        bus: Bus,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self._settings = settings
        self._dispatcher = dispatcher
        self._tokens = tokens
        self._connections = connections
        self._bus = bus
        self._clock = clock
        self._metrics = metrics
        self._live: dict[str, Connection] = {}
        self.draining = False
        super().__init__(
            serializer=Packet, async_handlers=False, logger=_LIBRARY, engineio_logger=_LIBRARY
        )

    def attach(self, app: web.Application, socketio_path: str = "socket.io") -> None:
        """Serve on `/socket.io/`: a WebSocket's handshake is a GET."""
        app.router.add_get(f"/{socketio_path}/", self.handle_request)

    async def handle_request(self, request: web.Request) -> web.StreamResponse:
        if self.draining:
            return web.Response(status=503, headers={"Retry-After": "1"})
        response: web.StreamResponse = await self.eio.handle_request(request)
        return response

    async def drain(self) -> None:
        """Take nothing new, acknowledge what was accepted, and send everyone away."""
        self.draining = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._settings.drain_seconds):
                await self._dispatcher.drain()
        sockets: list[EngineSocket] = list(self.eio.sockets.values())
        for socket in sockets:
            socket.hang_up(GOING_AWAY)
        lives = [socket.life for socket in sockets if socket.life is not None]
        if lives:
            # each is cut after `goodbye_seconds`; one that a command still holds is left behind
            await asyncio.wait(lives, timeout=2 * self._settings.goodbye_seconds)

    def _engineio_server_class(self) -> Any:
        return functools.partial(EngineServer, self._settings, self._metrics)

    async def _handle_eio_message(self, eio_sid: str, packet: bytes) -> None:
        """Take one packet. Raises BadFrame for what a client of ours wouldn't send.

        Attachments are among that, and acknowledgements: the server never asks for one.
        """
        connection = self._live.get(eio_sid)
        kind = packet[:1]
        if kind == b"2" and connection is not None:
            await self._dispatcher.handle(connection, packet)
        elif kind == b"0":
            await self._connect(self.eio.sockets[eio_sid], packet)
        elif kind == b"1" and connection is not None:
            self.eio.sockets[eio_sid].hang_up()
        else:
            raise BadFrame

    async def _handle_eio_disconnect(self, eio_sid: str, reason: str) -> None:
        self.environ.pop(eio_sid, None)
        connection = self._live.pop(eio_sid, None)
        if connection is None:
            return
        self._connections.remove(connection)
        self._bus.unfollow(connection.user)
        logger.info("connection_closed", reason=reason)

    async def _connect(self, socket: EngineSocket, packet: bytes) -> None:
        """Answer a CONNECT, once a socket; nothing is pushed before the answer."""
        namespace, auth = _read_connect(packet)
        if namespace != "/":
            await self._refuse(socket, BadRequest("没有这个命名空间"), namespace)
            raise BadFrame
        if socket.sid in self._live:
            raise BadFrame
        try:
            connection = await self._admit(socket, auth)
        except Exception as error:
            await self._refuse(socket, to_care(error, connection=socket.sid, command="connect"))
            socket.hang_up()
            return
        socket.established()
        await self._send_packet(socket.sid, Packet(CONNECT, {"sid": connection.id}))
        self._live[socket.sid] = connection
        self._connections.add(connection)
        # the reader's context: everything its commands log carries these
        structlog.contextvars.bind_contextvars(connection=connection.id, user=connection.user)
        logger.info("connection_opened", device=connection.device)

    async def _admit(self, socket: EngineSocket, auth: Any) -> Connection:
        """Check who this is. Raises a CareError that says why it is not let in."""
        if self.draining:
            raise Unavailable
        refuse_unstorable(auth)
        if not (isinstance(auth, dict) and auth.get("token")):
            raise Unauthenticated
        hello = parse(Auth, auth)
        caller = await self._tokens.verify(hello.token)
        require_own_password(caller)
        await self._bus.follow(caller.user)
        try:
            # last, and without waiting until it is added: the count must hold
            self._connections.admit(caller.user)
        except CareError:
            self._bus.unfollow(caller.user)
            raise
        return Connection(
            id=self.eio.generate_id(),
            wire=socket,
            caller=caller,
            device=hello.device,
            device_id=hello.device_id,
            opened_at=self._clock.now(),
        )

    async def _refuse(self, socket: EngineSocket, error: CareError, namespace: str = "/") -> None:
        code: Mapping[str, Any] = error.to_wire()
        reason = {"message": error.message, "data": {k: code[k] for k in code if k != "message"}}
        await self._send_packet(socket.sid, Packet(CONNECT_ERROR, reason, namespace))
        self._metrics.errors.labels(error.code).inc()


def _read_connect(packet: bytes) -> tuple[str, Any]:
    try:
        read = Packet(encoded_packet=packet.decode())
    except ValueError:
        raise BadFrame from None
    return read.namespace or "/", read.data
