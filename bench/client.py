"""A client cheap enough to be run by the thousand beside the server it measures.

Speaks WebSocket, Engine.IO 4 and Socket.IO 5 frames directly: only what this server sends, and
without a task or a future for each message.
"""

import asyncio
import base64
import os
import struct
from collections.abc import Callable
from typing import Any, cast

import orjson

UNMASKED_KEY = bytes(4)
"""A masking key of zeros leaves the payload as it is; the server unmasks it all the same."""
TEXT = 1
CONNECT_SECONDS = 30.0

Handler = Callable[[dict[str, Any]], None]


class RefusedError(Exception):
    """The server wouldn't have the connection, or refused a call."""


class Client(asyncio.Protocol):
    """One connection. `on_event` gets every event the server pushes."""

    def __init__(self, token: str) -> None:
        self.on_event: Callable[[str, dict[str, Any]], None] = lambda _event, _data: None
        self.connected: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._token = token
        self._buffer = b""
        self._upgraded = False
        self._number = 0
        self._waiting: dict[int, Handler] = {}
        self._transport: asyncio.Transport

    def emit(self, event: str, data: dict[str, Any], answered: Handler) -> None:
        """Send a command; `answered` gets its acknowledgement."""
        self._number += 1
        self._waiting[self._number] = answered
        self._send(b"42%d%b" % (self._number, orjson.dumps([event, data])))

    async def call(self, event: str, **data: Any) -> dict[str, Any]:
        """Send a command and wait. Raises RefusedError when it wasn't done."""
        answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self.emit(event, data, answer.set_result)
        result = await answer
        if not result["ok"]:
            raise RefusedError(f"{event}: {result['error']}")
        return result

    def close(self) -> None:
        self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports have the methods, not the base class
        self._transport = cast(asyncio.Transport, transport)
        key = base64.b64encode(os.urandom(16))
        self._transport.write(
            b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: bench\r\n"
            b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Key: %b\r\n\r\n" % key
        )

    def connection_lost(self, _error: Exception | None) -> None:
        if not self.connected.done():
            self.connected.set_exception(RefusedError("closed before it was connected"))

    def data_received(self, data: bytes) -> None:
        data = self._buffer + data if self._buffer else data
        at = 0 if self._upgraded else self._end_of_handshake(data)
        size = len(data)
        while self._upgraded and size - at >= 2:
            length, start = data[at + 1], at + 2
            if length == 126 and size - at >= 4:
                length, start = int.from_bytes(data[at + 2 : at + 4]), at + 4
            elif length == 127 and size - at >= 10:
                length, start = int.from_bytes(data[at + 2 : at + 10]), at + 10
            elif length > 125:
                break
            if size < start + length:
                break
            if data[at] & 15 == TEXT:
                self._receive(data[start : start + length])
            at = start + length
        self._buffer = data[at:]

    def _end_of_handshake(self, data: bytes) -> int:
        end = data.find(b"\r\n\r\n") + 4
        if end < 4:
            return 0
        if not data.startswith(b"HTTP/1.1 101"):
            self.connected.set_exception(RefusedError(data.partition(b"\r\n")[0].decode()))
        self._upgraded = True
        return end

    def _receive(self, frame: bytes) -> None:
        kind = frame[:2]
        if kind == b"42":
            event, data = orjson.loads(frame[2:])
            self.on_event(event, data)
        elif kind == b"43":
            number, _, answer = frame[2:].partition(b"[")
            self._waiting.pop(int(number))(orjson.loads(b"[" + answer)[0])
        elif kind == b"2":
            self._send(b"3")
        elif kind.startswith(b"0"):
            self._send(b"40" + orjson.dumps({"token": self._token, "device": "bot"}))
        elif kind == b"40":
            self.connected.set_result(None)
        elif kind == b"44":
            self.connected.set_exception(RefusedError(frame.decode()))

    def _send(self, text: bytes) -> None:
        length = len(text)
        if length < 126:
            header = bytes((0x81, 0x80 | length))
        else:
            header = b"\x81\xfe" + struct.pack(">H", length)
        self._transport.write(header + UNMASKED_KEY + text)


async def connect(port: int, token: str) -> Client:
    """Open one connection to a server on this machine. Raises RefusedError."""
    loop = asyncio.get_running_loop()
    _, client = await loop.create_connection(lambda: Client(token), "127.0.0.1", port)
    async with asyncio.timeout(CONNECT_SECONDS):
        await client.connected
    return client
