"""The bus between nodes over Redis publish/subscribe: one channel a user, and one for all nodes.

Redis is a hint and the rooms' log the truth. So nothing here fails or holds a caller, and what may
have been lost is said: a node whose subscription broke calls its own `on_gap`, and one that could
not send tells the others.
"""

import asyncio
import contextlib
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from typing import Any

import orjson
import structlog
from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from realtime.gateway.bus import Envelope
from realtime.gateway.codec import encode
from realtime.gateway.metrics import Metrics

USERS = "wz:u:"
NODES = "wz:nodes"
GAP = b"gap"

BUFFER_MAX = 10_000
BATCH_MAX = 256
FOLLOW_SECONDS = 1.0
SILENCE_SECONDS = 5.0
CANCEL_SECONDS = 0.2
CANCELS_MAX = 5
CLOSE_SECONDS = 1.0
BACKOFF_SECONDS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
FAILURES = (RedisError, OSError, TimeoutError)

logger = structlog.get_logger(__name__)


class RedisBus:
    """Implements `Bus`. `node` is this process's name, unlike any other's."""

    def __init__(self, url: str, node: str, metrics: Metrics) -> None:
        # it must fail at once: reconnecting by itself would hide that something was missed
        retry = Retry(NoBackoff(), 0)
        self._redis: Redis = Redis.from_url(url, retry=retry, socket_connect_timeout=2)
        self._mark = node.encode() + b" "
        self._metrics = metrics
        self._outgoing: deque[tuple[str, bytes]] = deque(maxlen=BUFFER_MAX)
        self._more = asyncio.Event()
        self._dropped = False
        self._subscriber = Subscriber(self._redis, self._take)
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self, receive: Callable[[Envelope], None], on_gap: Callable[[], None]) -> None:
        """Begin, without waiting for Redis."""
        self._receive, self._on_gap = receive, on_gap
        self._tasks = [
            asyncio.create_task(self._send(), name="bus-sender"),
            asyncio.create_task(self._subscriber.run(self._gap), name="bus-receiver"),
        ]

    async def close(self) -> None:
        """End within a few seconds, whatever Redis and its client do."""
        await _end(self._tasks)
        await self._subscriber.close()
        with contextlib.suppress(*FAILURES):
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._redis.aclose()

    def publish(self, envelope: Envelope) -> None:
        body = self._mark + encode([envelope.event, envelope.data, envelope.skip, envelope.only])
        for user in envelope.users:
            if len(self._outgoing) == BUFFER_MAX:
                self._drop(1)
            self._outgoing.append((USERS + user, body))
        self._more.set()

    async def follow(self, user: str) -> None:
        await self._subscriber.follow(user)

    def unfollow(self, user: str) -> None:
        self._subscriber.unfollow(user)

    async def _send(self) -> None:
        """Publish what was asked for, in order and at most once, for as long as this node lives."""
        while True:
            await self._more.wait()
            batch = [self._outgoing.popleft() for _ in range(min(BATCH_MAX, len(self._outgoing)))]
            if not batch:
                self._more.clear()
                continue
            if self._dropped:
                self._dropped = False
                batch.append((NODES, self._mark + GAP))
            try:
                await self._publish(batch)
            except FAILURES as error:
                # how much of it arrived is unknown, and sending it again could repeat it
                logger.warning("bus_send_failed", error=type(error).__name__)
                self._drop(len(batch))
                await self._until_back()

    async def _publish(self, batch: list[tuple[str, bytes]]) -> None:
        async with self._redis.pipeline(transaction=False) as pipeline:
            for channel, body in batch:
                pipeline.publish(channel, body)
            await pipeline.execute()

    async def _until_back(self) -> None:
        for seconds in _backoff():
            await asyncio.sleep(seconds)
            with contextlib.suppress(*FAILURES):
                await self._redis.ping()
                # what was dropped must be told even if nothing else is sent
                self._outgoing.append((NODES, self._mark))
                return

    def _drop(self, count: int) -> None:
        self._dropped = True
        self._metrics.bus_dropped.inc(count)

    def _take(self, channel: str, body: bytes) -> None:
        """Hand on what another node published."""
        if body.startswith(self._mark):
            return
        body = body.partition(b" ")[2]
        if channel != NODES:
            event, data, skip, only = orjson.loads(body)
            users = (channel.removeprefix(USERS),)
            self._receive(Envelope(users, event, data, skip, only))
        elif body == GAP:
            self._gap()

    def _gap(self) -> None:
        self._metrics.bus_gaps.inc()
        self._on_gap()


class Subscriber:
    """Keeps the subscription to the followed users through Redis's comings and goings."""

    def __init__(self, redis: Redis, take: Callable[[str, bytes], None]) -> None:
        self._redis = redis
        self._take = take
        self._followers: Counter[str] = Counter()
        self._confirmed: dict[str, asyncio.Future[None]] = {}
        self._pubsub: PubSub | None = None
        # what is sent for one channel must be sent in the order in which it was decided
        self._order = asyncio.Lock()
        self._unsubscribing: set[asyncio.Task[None]] = set()

    async def run(self, on_gap: Callable[[], None]) -> None:
        """Receive; after each loss of the subscription, once it is whole again, tell of the gap."""
        waits = _backoff()
        lost = False
        while True:
            try:
                async with self._subscription() as pubsub:
                    async for message in _messages(pubsub):
                        if message["type"] == "message":
                            self._hand_on(message)
                        elif message["type"] == "subscribe" and self._is_whole(message) and lost:
                            lost = False
                            waits = _backoff()
                            on_gap()
            except FAILURES as error:
                logger.warning("bus_lost", error=type(error).__name__)
            lost = True
            await asyncio.sleep(next(waits))

    async def follow(self, user: str) -> None:
        self._followers[user] += 1
        with contextlib.suppress(*FAILURES):
            async with asyncio.timeout(FOLLOW_SECONDS):
                async with self._order:
                    confirmed = self._confirmed.get(user)
                    if confirmed is None:
                        confirmed = asyncio.get_running_loop().create_future()
                        self._confirmed[user] = confirmed
                        if self._pubsub is not None:
                            await self._pubsub.subscribe(USERS + user)
                if self._pubsub is not None:
                    await asyncio.shield(confirmed)

    def unfollow(self, user: str) -> None:
        self._followers[user] -= 1
        if self._followers[user] == 0:
            task = asyncio.create_task(self._unsubscribe(user))
            self._unsubscribing.add(task)
            task.add_done_callback(self._unsubscribing.discard)

    async def close(self) -> None:
        await _end(self._unsubscribing)

    async def _unsubscribe(self, user: str) -> None:
        async with self._order:
            if self._followers[user] > 0:
                return
            del self._followers[user]
            self._confirmed.pop(user, None)
            if self._pubsub is not None:
                # redis-py drops its writer under a command that waits to be sent
                with contextlib.suppress(*FAILURES, AttributeError):
                    await self._pubsub.unsubscribe(USERS + user)

    @contextlib.asynccontextmanager
    async def _subscription(self) -> AsyncIterator[PubSub]:
        async with self._redis.pubsub() as pubsub:
            async with self._order:
                # confirmed in this order, so the last one says that all are
                await pubsub.subscribe(*(USERS + user for user in self._followers), NODES)
                self._pubsub = pubsub
            try:
                yield pubsub
            finally:
                self._pubsub = None

    def _is_whole(self, message: dict[str, Any]) -> bool:
        """Note a confirmed channel; say whether everything followed is subscribed again."""
        channel = message["channel"].decode()
        confirmed = self._confirmed.get(channel.removeprefix(USERS))
        if confirmed is not None and not confirmed.done():
            confirmed.set_result(None)
        return bool(channel == NODES)

    def _hand_on(self, message: dict[str, Any]) -> None:
        try:
            self._take(message["channel"].decode(), message["data"])
        except Exception:
            # one that can't be read, or whose receiver fails, must not end the subscription
            logger.exception("bus_message_failed")


async def _messages(pubsub: PubSub) -> AsyncIterator[dict[str, Any]]:
    """Give what arrives. Raises ConnectionError when Redis doesn't even answer a ping."""
    asked = False
    while True:
        message = await pubsub.get_message(timeout=SILENCE_SECONDS)
        if message is not None:
            asked = False
            yield message
        elif asked:
            raise ConnectionError("no answer to a ping")
        else:
            asked = True
            await pubsub.ping()


async def _end(tasks: Iterable[asyncio.Task[None]]) -> None:
    running = set(tasks)
    for _ in range(CANCELS_MAX):
        if not running:
            return
        for task in running:
            task.cancel()
        # the client library can swallow a cancellation: so ask again
        _, running = await asyncio.wait(running, timeout=CANCEL_SECONDS)
    if running:
        logger.error("bus_tasks_not_ended", tasks=[task.get_name() for task in running])


def _backoff() -> Iterator[float]:
    yield from BACKOFF_SECONDS
    while True:
        yield BACKOFF_SECONDS[-1]
