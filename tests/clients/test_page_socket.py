"""The page's own Socket.IO client, against the reference server implementation."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import socketio
from aiohttp import web

from tests.clients.node import HERE, run_driver

CLIENT = Path("companion/rest/pages/socket.js").resolve()


class Peer:
    """A stock server that lets in only "good" tokens, and does to clients what it is told."""

    def __init__(self) -> None:
        # heartbeats quick enough for a test to live through several
        self.io = socketio.AsyncServer(
            async_mode="aiohttp", ping_interval=1, ping_timeout=1, transports=["websocket"]
        )
        self.forbidden = False
        self.auths: list[Any] = []
        for handler in (self.connect, self.echo, self.refuse, self.hang, self.cut, self.forbid):
            self.io.on(handler.__name__, handler)

    async def connect(self, sid: str, _environ: object, auth: Any) -> None:
        self.auths.append(auth)
        if self.forbidden:
            raise socketio.exceptions.ConnectionRefusedError("no", {"code": "forbidden"})
        if auth["token"] != "good":
            raise socketio.exceptions.ConnectionRefusedError("late", {"code": "unauthenticated"})
        await self.io.emit("greeting", {"text": "早"}, to=sid)

    async def echo(self, _sid: str, data: Any) -> Any:
        return {"ok": True, **data}

    async def refuse(self, _sid: str, _data: Any) -> Any:
        error = {"code": "closed", "message": "会话已结束", "retry": False}
        return {"ok": False, "error": error}

    async def hang(self, sid: str, _data: Any) -> Any:
        # the client loses the socket meanwhile; an answer after that goes nowhere
        await self.io.eio.sockets[self.io.manager.eio_sid_from_sid(sid, "/")].wait()

    async def cut(self, sid: str, _data: Any) -> None:
        await self.io.disconnect(sid)

    async def forbid(self, _sid: str, _data: Any) -> Any:
        self.forbidden = True
        return {"ok": True}


@pytest.fixture
async def peer() -> AsyncIterator[tuple[Peer, str]]:
    peer = Peer()
    app = web.Application()
    peer.io.attach(app)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    yield peer, f"http://{host}:{port}"
    await peer.io.shutdown()
    await runner.cleanup()


async def test_the_pages_client_speaks_with_a_stock_server_through_every_kind_of_loss(
    peer: tuple[Peer, str],
) -> None:
    server, url = peer

    lines = await run_driver(
        HERE / "page_socket.mjs", url, CLIENT.as_uri(), flags=("--experimental-websocket",)
    )

    def said(what: str) -> list[Any]:
        return [line.get("detail") for line in lines if line["what"] == what]

    assert said("refused") == ["unauthenticated", "forbidden"]
    assert server.auths[:2] == [
        {"token": "expired", "device": "h5"},
        {"token": "good", "device": "h5"},
    ]
    assert said("answer") == [{"ok": True, "text": "您好"}]
    assert said("error") == [{"code": "closed", "message": "会话已结束", "retry": False}]
    assert said("answers") == [list(range(10))]
    assert said("alive") == ["connected"]
    assert said("lost") == [{"code": "unavailable", "retry": True}]
    assert said("after") == ["unavailable"]
    assert said("greeting") == [{"text": "早"}] * 3
    assert said("state") == [
        "connecting", "waiting", "connecting", "connected",
        "waiting", "connecting", "connected",
        "waiting", "connecting", "connected",
        "waiting", "connecting", "refused",
    ]  # fmt: skip
