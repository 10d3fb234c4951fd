"""The WebSocket under Socket.IO: engineio's handshake, with a socket of our own behind it.

engineio's socket waits with a timer and a task for every frame, compresses, queues without bound,
and keeps sessions whose handshake failed. Ours reads in one task and writes in another, each for
as long as the socket lives. A client's death never cancels the reader, so what a command has begun
it finishes.
"""

import asyncio
import contextlib
from collections.abc import Mapping
from typing import Any

import engineio
from aiohttp import WSMsgType, web
from engineio.packet import OPEN
from engineio.packet import Packet as EnginePacket

from realtime.gateway.errors import BadFrame
from realtime.gateway.metrics import Metrics
from realtime.gateway.outbound import Outbound
from realtime.gateway.settings import GatewaySettings

CLOSE, PING, PONG, MESSAGE = b"1", b"2", b"3", b"4"
POLICY_VIOLATION = 1008


class EngineSocket:
    """One WebSocket. Has the attributes that `engineio.AsyncServer` reads of its sockets."""

    connected = True
    upgraded = True

    def __init__(self, server: "EngineServer", sid: str) -> None:
        self.sid = sid
        self.closed = False
        self.ending = False
        """Nothing more is read from it; what is queued may still go out."""
        self._server = server
        self._settings = server.settings
        self._metrics = server.metrics
        self._loop = asyncio.get_running_loop()
        self._outbound = Outbound(self._settings.outbound_max_bytes)
        self._transport: asyncio.Transport | None = None
        self._close_code = 1000
        self._bad_frames = 0
        self.life: asyncio.Task[None] | None = None
        self._connecting = self._loop.call_later(self._settings.connect_seconds, self.hang_up)
        # one at a time: until the next ping, for its pong, or for the goodbye
        self._timer = self._loop.call_later(self._settings.ping_interval_seconds, self._ping)

    @property
    def queued_bytes(self) -> int:
        return self._outbound.size

    def push(self, frame: bytes) -> None:
        """Queue a frame; a client too slow to take what is queued is cut. Never waits."""
        if not self._outbound.put(frame):
            self._metrics.slow_clients.inc()
            self.cut()

    async def send(self, packet: Any) -> None:
        """Queue an Engine.IO packet: how the libraries above write."""
        self.push(packet.encode().encode())

    def established(self) -> None:
        """Lift the limit on the time to connect."""
        self._connecting.cancel()

    def hang_up(self, code: int = 1000) -> None:
        """Close once what is queued went out; cut a client that doesn't take it in time."""
        if self.ending:
            return
        self.ending = True
        self._close_code = code
        self._stop_timers()
        self._outbound.finish()
        self._timer = self._loop.call_later(self._settings.goodbye_seconds, self.cut)

    def cut(self) -> None:
        """Drop the connection now, without a word."""
        self.ending = True
        self._stop_timers()
        self._outbound.discard()
        if self._transport is not None:
            self._transport.abort()

    async def serve(self, ws: web.WebSocketResponse[Any], transport: asyncio.Transport) -> None:
        """Read and write until the connection ends."""
        self._transport = transport
        # a task of its own: the web server may cancel this request, not a command half-way
        self.life = self._loop.create_task(self._live(ws), name=f"socket-{self.sid}")
        try:
            await asyncio.shield(self.life)
        finally:
            self.hang_up()

    async def close(self) -> None:
        """End the session above, once."""
        if self.closed:
            return
        self.closed = True
        self.hang_up()
        del self._server.sockets[self.sid]
        reason = self._server.reason.TRANSPORT_CLOSE
        await self._server.handlers["disconnect"](self.sid, reason)

    async def _live(self, ws: web.WebSocketResponse[Any]) -> None:
        writer = self._loop.create_task(self._write(ws), name=f"writer-{self.sid}")
        try:
            await self._read(ws)
        finally:
            await self.close()
            await writer
            self._stop_timers()

    async def _read(self, ws: web.WebSocketResponse[Any]) -> None:
        async for message in ws:
            # answers to a client that doesn't read them must not pile up
            await self._outbound.ready()
            # an oversized frame has closed the socket already, with code 1009
            if self.ending or message.type is WSMsgType.ERROR:
                break
            try:
                await self._receive(message.type, message.data)
            except BadFrame:
                self._count_bad_frame()

    async def _receive(self, kind: WSMsgType, frame: bytes) -> None:
        if kind is not WSMsgType.TEXT:
            raise BadFrame
        if frame.startswith(MESSAGE):
            await self._server.handlers["message"](self.sid, frame[1:])
        elif frame == PONG:
            self._timer.cancel()
            interval = self._settings.ping_interval_seconds
            self._timer = self._loop.call_later(interval, self._ping)
        elif frame == CLOSE:
            self.hang_up()
        else:
            raise BadFrame

    def _count_bad_frame(self) -> None:
        self._metrics.bad_frames.inc()
        self._bad_frames += 1
        if self._bad_frames >= self._settings.bad_frames_max:
            self.hang_up(POLICY_VIOLATION)

    async def _write(self, ws: web.WebSocketResponse[Any]) -> None:
        with contextlib.suppress(ConnectionError):
            while frames := await self._outbound.take():
                for frame in frames:
                    await ws.send_frame(frame, WSMsgType.TEXT)
                    self._outbound.written(frame)
        await ws.close(code=self._close_code)

    def _ping(self) -> None:
        self.push(PING)
        if not self.ending:
            timeout = self._settings.ping_timeout_seconds
            self._timer = self._loop.call_later(timeout, self.cut)

    def _stop_timers(self) -> None:
        self._connecting.cancel()
        self._timer.cancel()


class EngineServer(engineio.AsyncServer):  # type: ignore[misc]  # the library ships no types
    """engineio's checks of a handshake (origin, transport, version), then our own socket."""

    sockets: dict[str, EngineSocket]

    def __init__(self, settings: GatewaySettings, metrics: Metrics, **options: Any) -> None:
        self.settings = settings
        self.metrics = metrics
        super().__init__(
            async_mode="aiohttp",
            transports=["websocket"],
            cors_allowed_origins=self._admits_origin,
            cors_credentials=False,
            max_http_buffer_size=settings.frame_max_bytes,
            ping_interval=settings.ping_interval_seconds,
            ping_timeout=settings.ping_timeout_seconds,
            # each socket keeps its own time
            monitor_clients=False,
            **options,
        )

    async def _handle_connect(
        self,
        environ: Mapping[str, Any],
        transport: str,  # noqa: ARG002  # engineio's signature; here it is always a WebSocket
        jsonp_index: int | None = None,  # noqa: ARG002  # of the transport that isn't offered
    ) -> web.StreamResponse:
        """Serve one WebSocket from its handshake to its end."""
        request: web.Request = environ["aiohttp.request"]
        socket = EngineSocket(self, self.generate_id())
        self.sockets[socket.sid] = socket
        try:
            await self.handlers["connect"](socket.sid, environ)
            await socket.send(EnginePacket(OPEN, self._open(socket.sid)))
            ws = web.WebSocketResponse(
                compress=False,
                decode_text=False,
                max_msg_size=self.settings.frame_max_bytes,
                timeout=self.settings.goodbye_seconds,
            )
            await ws.prepare(request)
            if request.transport is None:
                raise ConnectionResetError("lost during the handshake")
        except BaseException:
            # engineio keeps the session of a handshake that failed
            await socket.close()
            raise
        await socket.serve(ws, request.transport)
        return ws

    def _open(self, sid: str) -> dict[str, Any]:
        return {
            "sid": sid,
            "upgrades": [],
            "pingInterval": self.settings.ping_interval_seconds * 1000,
            "pingTimeout": self.settings.ping_timeout_seconds * 1000,
            "maxPayload": self.settings.frame_max_bytes,
        }

    def _admits_origin(self, origin: str | None, environ: Mapping[str, Any]) -> bool:
        """Admit the listed origins and the server's own; mini-programs and desktops send none."""
        if origin is None or origin in self.settings.origins:
            return True
        host = str(environ.get("HTTP_HOST", "")).lower()
        return bool(host) and origin.lower().partition("://")[2] == host
