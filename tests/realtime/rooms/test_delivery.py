"""A node with others beside it delivers every message once, in order, to whoever is here (I5)."""

import asyncio
from collections.abc import Collection, Mapping
from typing import Any

import pytest

from care.rooms import Head, Message
from realtime.rooms.delivery import Delivery
from realtime.rooms.gaps import READS_MAX
from realtime.rooms.views import MessageViews
from storage.database import Database
from storage.messages import Messages
from tests.clock import ManualClock
from tests.realtime.gateway.conftest import until
from tests.storage.rooms import BOTH, DOCTOR, PATIENT, fence, new_room, text


class NoFiles:
    """File URLs, of which text has none."""

    def urls(self, file: str, viewer: str, *, thumbnail: bool) -> dict[str, str]:
        raise AssertionError((file, viewer, thumbnail))


class Sockets:
    """A Channel that keeps the seqs it was given, and says when there are some."""

    def __init__(self) -> None:
        self.heard: list[int] = []
        self.pushes: list[tuple[Collection[str], str, str | None]] = []
        self._more = asyncio.Event()

    def push(
        self,
        users: Collection[str],
        event: str,
        data: Mapping[str, Any],
        *,
        skip: str | None = None,
        only: str | None = None,
    ) -> None:
        assert only is None
        self.heard.append(data["seq"])
        self.pushes.append((users, event, skip))
        self._more.set()

    async def until(self, seq: int) -> list[int]:
        async with asyncio.timeout(5):
            while seq not in self.heard:
                self._more.clear()
                await self._more.wait()
        return self.heard


class SlowMessages(Messages):
    """The real log; that there is nothing more can be held back on its way."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.reading = 0
        self.reads: list[str] = []
        self.reading_max = 0
        self.heads_read = 0
        self.asked = asyncio.Event()
        self.answer = asyncio.Event()
        self.answer.set()

    async def after(self, room: str, seq: int, limit: int) -> list[Message]:
        self.reads.append(room)
        self.reading += 1
        self.reading_max = max(self.reading_max, self.reading)
        found = await super().after(room, seq, limit)
        self.reading -= 1
        if not found:
            self.asked.set()
            await self.answer.wait()
        return found

    async def heads(self, rooms: Collection[str]) -> dict[str, Head]:
        heads = await super().heads(rooms)
        self.heads_read += 1
        return heads


class Node:
    """One node's delivery, and a room that other nodes write to."""

    def __init__(self, database: Database) -> None:
        self.clock = ManualClock()
        self.log = SlowMessages(database)
        self.sockets = Sockets()
        views = MessageViews(NoFiles())
        self.delivery = Delivery(self.log, views, self.sockets, self.clock, alone=False)
        self.room = new_room()
        self._head = Head()

    async def store(self, count: int) -> list[Message]:
        """Have another node store so many messages, a second apart."""
        stored = []
        for _ in range(count):
            self.clock.advance(1)
            draft = text(self.room) if self._head.seq else fence(self.room)
            stored.append(self._head.follow(draft, self.clock.now()))
            self._head = self._head.after(stored[-1])
        await self.log.insert(stored)
        return stored

    def hear(self, message: Message) -> None:
        self.delivery.deliver(message, BOTH)


@pytest.fixture
async def node(database: Database) -> Node:
    node = Node(database)
    await node.log.ensure_indexes()
    return node


async def test_a_hint_is_delivered_once_to_all_members(node: Node) -> None:
    node.delivery.came(PATIENT.id)
    node.delivery.came(DOCTOR.id)
    (first,) = await node.store(1)
    node.hear(first)
    await node.sockets.until(1)
    (second,) = await node.store(1)
    # one hint comes for each member
    node.hear(second)
    node.hear(second)
    assert node.sockets.heard == [1, 2]
    assert node.sockets.pushes == [(BOTH, "message:new", None)] * 2


async def test_a_gap_is_filled_before_what_showed_it(node: Node) -> None:
    node.delivery.came(PATIENT.id)
    messages = await node.store(6)
    node.hear(messages[0])
    await node.sockets.until(1)
    node.hear(messages[4])
    assert await node.sockets.until(6) == [1, 2, 3, 4, 5, 6]


async def test_what_is_heard_of_while_the_log_is_read_is_not_forgotten(node: Node) -> None:
    node.delivery.came(PATIENT.id)
    (first,) = await node.store(1)
    node.log.answer.clear()
    node.hear(first)
    await node.log.asked.wait()
    # the answer on its way doesn't know of this one, and no other hint will come
    (late,) = await node.store(1)
    node.hear(late)
    node.log.answer.set()
    assert await node.sockets.until(2) == [1, 2]


async def test_the_first_hint_of_a_room_may_not_be_the_first_message_since_a_member_came(
    node: Node,
) -> None:
    await node.store(5)
    node.clock.advance(1)
    node.delivery.came(PATIENT.id)
    messages = await node.store(3)
    node.hear(messages[-1])
    assert await node.sockets.until(8) == [6, 7, 8]


async def test_what_was_stored_while_no_member_was_here_is_not_repeated(node: Node) -> None:
    node.delivery.came(PATIENT.id)
    messages = await node.store(2)
    node.hear(messages[0])
    await node.sockets.until(2)
    node.delivery.left(PATIENT.id)
    away = await node.store(3)
    node.hear(away[0])
    node.clock.advance(1)
    node.delivery.came(DOCTOR.id)
    node.delivery.missed()
    (new,) = await node.store(1)
    node.hear(new)
    assert await node.sockets.until(6) == [1, 2, 6]


async def test_lost_hints_are_made_up_for_once_the_bus_is_back(node: Node) -> None:
    node.delivery.came(PATIENT.id)
    (first,) = await node.store(1)
    node.hear(first)
    await node.sockets.until(1)
    await node.store(4)
    node.delivery.missed()
    assert await node.sockets.until(5) == [1, 2, 3, 4, 5]


async def test_lost_hints_are_made_up_for_though_the_room_is_being_read(node: Node) -> None:
    node.delivery.came(PATIENT.id)
    (first,) = await node.store(1)
    node.log.answer.clear()
    node.hear(first)
    await node.log.asked.wait()
    # the answer on its way doesn't know of this one, and its hint is lost
    await node.store(1)
    before = node.log.heads_read
    node.delivery.missed()
    await until(lambda: node.log.heads_read > before)
    node.log.answer.set()
    assert await node.sockets.until(2) == [1, 2]


async def test_after_a_loss_only_rooms_that_moved_are_read_and_a_few_at_a_time(node: Node) -> None:
    node.delivery.came(PATIENT.id)
    rooms = [new_room() for _ in range(3 * READS_MAX)]
    moved = set(rooms[::2])
    heads = {}
    for room in rooms:
        node.room, node._head = room, Head()
        node.hear((await node.store(1))[0])
        heads[room] = node._head
    await until(lambda: node.sockets.heard.count(1) == len(rooms))
    await until(lambda: not node.log.reading)
    for room in moved:
        node.room, node._head = room, heads[room]
        await node.store(1)
    node.log.reads, node.log.reading_max = [], 0
    node.delivery.missed()
    await until(lambda: node.sockets.heard.count(2) == len(moved))
    assert set(node.log.reads) == moved
    assert node.log.reading_max <= READS_MAX
