"""JSON on the socket, and the Socket.IO packets the gateway writes itself.

A frame is what one WebSocket text message carries: an Engine.IO type (`4`, a message), a Socket.IO
type, for acknowledgements the client's number, then JSON. Frames are bytes, so that a broadcast
is encoded once for all its receivers.
"""

import json
from collections.abc import Mapping
from typing import Any

import orjson
import socketio.packet

DISCONNECT = b"41"


def encode(value: Any) -> bytes:
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError:
        # half a surrogate pair or an integer over 64 bits, which the standard library can write
        return json.dumps(value, allow_nan=False).encode()


def decode(text: bytes) -> Any:
    """Read JSON. Raises ValueError, also for NaN, half surrogate pairs and invalid UTF-8."""
    return orjson.loads(text)


def event_frame(event: str, data: Mapping[str, Any]) -> bytes:
    return b"42" + encode([event, data])


def ack_frame(number: bytes, answer: Mapping[str, Any]) -> bytes:
    return b"43" + number + encode([answer])


class _Json:
    """What python-socketio asks of a JSON module."""

    @staticmethod
    def dumps(value: Any, **_style: Any) -> str:
        return encode(value).decode()

    @staticmethod
    def loads(text: str) -> Any:
        return orjson.loads(text)


class Packet(socketio.packet.Packet):  # type: ignore[misc]  # the library ships no types
    """A packet with its own JSON: the library's `json` option would change the whole process."""

    json = _Json
    uses_binary_events = False
