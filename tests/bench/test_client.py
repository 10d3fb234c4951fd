"""The measuring client reads what arrives, however the network cuts it."""

import asyncio
from typing import Any

import orjson
import pytest

from bench.client import Client


class Wire(asyncio.Transport):
    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []

    def write(self, data: Any) -> None:
        self.written.append(bytes(data))


def frame(text: bytes) -> bytes:
    size = len(text)
    if size < 126:
        return bytes((0x81, size)) + text
    if size < 2**16:
        return b"\x81\x7e" + size.to_bytes(2) + text
    return b"\x81\x7f" + size.to_bytes(8) + text


TEXTS = ["短", "中" * 100, "长" * 30_000]
STREAM = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n" + b"".join(
    frame(text)
    for text in (
        b'0{"sid":"s"}',
        b'40{"sid":"c"}',
        b"2",
        *(b"42" + orjson.dumps(["message:new", {"text": text}]) for text in TEXTS),
        b'431[{"ok":true}]',
    )
)


@pytest.mark.parametrize("size", [1, 2, 7, 1000, len(STREAM)])
async def test_frames_are_read_whole_in_whatever_pieces_they_come(size: int) -> None:
    client, wire = Client("token"), Wire()
    heard: list[Any] = []
    answers: list[Any] = []
    client.on_event = lambda event, data: heard.append((event, data["text"]))
    client.connection_made(wire)
    client.emit("message:send", {}, answers.append)

    for i in range(0, len(STREAM), size):
        client.data_received(STREAM[i : i + size])

    await client.connected
    assert heard == [("message:new", text) for text in TEXTS]
    assert answers == [{"ok": True}]
    assert wire.written[-1].endswith(b"3"), "a ping wants a pong"
