"""Who gets a socket at all."""

import asyncio
import json
from collections import Counter

import aiohttp
import pytest
import socketio

from realtime.gateway.bus import LocalBus
from realtime.gateway.settings import GatewaySettings
from tests.realtime.gateway.conftest import Hub, Start, until

WEBSOCKET = "EIO=4&transport=websocket"


def refusal(frame: str) -> tuple[str, str]:
    assert frame.startswith("44"), frame
    reason = json.loads(frame[2:])
    return reason["data"]["code"], reason["message"]


async def test_a_client_with_a_token_is_let_in_and_gets_its_answers(hub: Hub) -> None:
    client = await hub.client()
    assert await client.call("echo", {"text": "您好"}) == {"ok": True, "text": "您好"}
    (connection,) = hub.connections.of("ann")
    assert (connection.device, connection.device_id) == ("desktop", "d1")
    assert connection.id == client.get_sid()


@pytest.mark.parametrize(
    ("auth", "code"),
    [
        ({"token": "forged"}, "unauthenticated"),
        ({"token": ""}, "unauthenticated"),
        ({"device": "fridge"}, "bad_request"),
        ({"device_id": "x" * 129}, "bad_request"),
        ({"role": "admin"}, "bad_request"),
        ({"token": "broken"}, "internal"),
    ],
)
async def test_a_refused_client_reads_why_and_is_closed(
    hub: Hub, auth: dict[str, str], code: str
) -> None:
    raw = await hub.open()
    answer = await raw.connect(**auth)
    assert refusal(answer)[0] == code
    assert "key file" not in answer
    assert await raw.closed() == 1000
    assert len(hub.connections) == 0


async def test_a_client_without_auth_is_refused(hub: Hub) -> None:
    raw = await hub.open()
    await raw.say("40")
    assert refusal(await raw.receive() or "")[0] == "unauthenticated"


async def test_the_reference_client_reads_the_refusal(hub: Hub) -> None:
    refusals: list[dict[str, object]] = []
    client = socketio.AsyncClient(reconnection=False, http_session=hub.http)
    client.on("connect_error", refusals.append)
    auth = {"token": "forged", "device": "h5", "device_id": "d1"}
    with pytest.raises(socketio.exceptions.ConnectionError):
        await client.connect(f"http://{hub.host}", auth=auth, transports=["websocket"])
    (refused,) = refusals
    assert refused["message"] == "请先登录"
    assert refused["data"] == {"code": "unauthenticated", "retry": False}


async def test_a_socket_that_never_connects_is_closed(start: Start) -> None:
    hub = await start(connect_seconds=0.05)
    silent = await hub.open()
    connected = await hub.raw()
    assert await silent.closed() == 1000
    await until(lambda: hub.sockets == 1)
    assert (await connected.call("nothing", {}))["ok"]


async def test_another_namespace_is_refused_and_the_first_lives_on(hub: Hub) -> None:
    raw = await hub.raw()
    await raw.say('40/admin,{"token":"ann"}')
    answer = await raw.receive() or ""
    assert answer.startswith("44/admin,")
    assert json.loads(answer.partition(",")[2])["data"]["code"] == "bad_request"
    assert (await raw.call("nothing", {}))["ok"]


async def test_a_second_connect_changes_nothing(hub: Hub) -> None:
    raw = await hub.raw("ann")
    await raw.say('40{"token":"bob","device":"h5","device_id":"d1"}')
    assert (await raw.call("nothing", {}))["ok"]
    assert not hub.connections.of("bob")
    assert len(hub.connections.of("ann")) == 1


async def test_events_before_connect_reach_nothing(hub: Hub) -> None:
    raw = await hub.open()
    await raw.emit(1, "echo", {"text": "early"})
    assert (await raw.connect()).startswith("40")
    assert (await raw.call("echo", {"text": "now"}))["ok"]
    assert hub.book.ran == ["now"]


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://[", "https://good.example.evil"]
)
async def test_a_foreign_web_page_is_refused(start: Start, origin: str) -> None:
    hub = await start(origins=("https://good.example",))
    with pytest.raises(aiohttp.WSServerHandshakeError):
        await hub.open(origin=origin)
    assert hub.sockets == 0


async def test_listed_and_own_origins_and_none_are_let_in(start: Start) -> None:
    hub = await start(origins=("https://good.example",))
    for origin in ("https://good.example", f"http://{hub.host}", None):
        await hub.open(origin=origin)
    assert hub.sockets == 3


async def test_an_opaque_origin_is_not_the_own_one_of_a_request_without_host(hub: Hub) -> None:
    host, _, port = hub.host.partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(
        b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.0\r\nOrigin: null\r\n"
        b"Upgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n"
    )
    assert b" 400 " in await reader.readline()
    writer.close()
    await writer.wait_closed()


class CountingBus(LocalBus):
    def __init__(self) -> None:
        self.followers: Counter[str] = Counter()

    async def follow(self, user: str) -> None:
        self.followers[user] += 1

    def unfollow(self, user: str) -> None:
        self.followers[user] -= 1


async def test_the_bus_follows_a_user_as_often_as_there_are_sockets(start: Start) -> None:
    bus = CountingBus()
    hub = await start(bus, connections_per_user=1)
    raw = await hub.raw("ann")
    assert bus.followers == {"ann": 1}
    await (await hub.open()).connect("ann")
    await until(lambda: hub.sockets == 1)
    assert bus.followers == {"ann": 1}
    await raw.ws.close()
    await until(lambda: hub.sockets == 0)
    assert bus.followers["ann"] == 0


async def test_no_listed_origin_still_means_the_check(hub: Hub) -> None:
    assert GatewaySettings().origins == ()
    with pytest.raises(aiohttp.WSServerHandshakeError):
        await hub.open(origin="https://evil.example")


@pytest.mark.parametrize(
    "query", ["EIO=4&transport=polling", "EIO=3&transport=websocket", "EIO=4", WEBSOCKET + "&sid=x"]
)
async def test_only_websocket_of_this_protocol_is_served(hub: Hub, query: str) -> None:
    async with hub.http.get(f"http://{hub.host}/socket.io/?{query}") as answer:
        assert answer.status == 400
    async with hub.http.post(f"http://{hub.host}/socket.io/?{query}") as answer:
        assert answer.status == 405
    assert hub.sockets == 0


async def test_a_failed_handshake_leaves_nothing_behind(hub: Hub) -> None:
    headers = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "1"}
    url = f"http://{hub.host}/socket.io/?{WEBSOCKET}"
    async with hub.http.get(url, headers=headers) as answer:
        assert answer.status == 400
    assert hub.sockets == 0
    assert not hub.gateway.environ


async def test_compression_is_not_agreed_to(hub: Hub) -> None:
    raw = await hub.open(compress=15)
    assert not raw.ws.compress


async def test_a_user_has_only_so_many_sockets(start: Start) -> None:
    hub = await start(connections_per_user=2)
    first = await hub.raw("ann")
    await hub.raw("ann")
    third = await hub.open()
    assert refusal(await third.connect("ann"))[0] == "rate_limited"
    await hub.raw("bob")
    await first.ws.close()
    await until(lambda: len(hub.connections.of("ann")) == 1)
    await hub.raw("ann")


async def test_a_dead_client_is_found_by_the_ping(start: Start) -> None:
    hub = await start(ping_interval_seconds=1, ping_timeout_seconds=1)
    answering, dead = await hub.raw("ann"), await hub.raw("bob")
    assert await answering.receive() == "2"
    await answering.say("3")
    assert await answering.receive() == "2"
    await answering.say("3")
    assert await dead.receive() == "2"
    assert await dead.receive() is None
    assert len(hub.connections.of("ann")) == 1
    await until(lambda: not hub.connections.of("bob"))


async def test_a_client_leaves_by_disconnect_by_close_and_by_vanishing(hub: Hub) -> None:
    polite, brief, rude = [await hub.raw(name) for name in ("ann", "bob", "cid")]
    await polite.say("41")
    await brief.say("1")
    rude.vanish()
    await until(lambda: len(hub.connections) == 0 and hub.sockets == 0)
    assert await polite.closed() == 1000
    assert await brief.closed() == 1000
