"""The log when the database, or the way to it, is lost."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from care.errors import Unavailable
from care.rooms import Draft, Message
from storage import log as log_module
from storage.database import Database
from storage.embedded import EmbeddedMongo
from tests.freezing import freeze
from tests.storage.link import Link, linked
from tests.storage.rooms import Node, fence, heads_of, new_room, nodes, text


@pytest.fixture
async def link(mongo_uri: str) -> AsyncIterator[Link]:
    async with linked(mongo_uri) as link:
        yield link


@pytest.fixture
async def node(link: Link, database: Database) -> AsyncIterator[Node]:
    """A log that reaches the test's database through the link."""
    through = Database(link.uri, database.db.name)
    (node,) = await nodes(through)
    yield node
    await through.close()


@pytest.fixture
async def private_mongo(tmp_path: Path) -> AsyncIterator[EmbeddedMongo]:
    mongo = EmbeddedMongo(tmp_path)
    await mongo.start()
    yield mongo
    await mongo.stop()


async def give_up(link: Link, node: Node, draft: Draft) -> None:
    """Have the draft stored, yet refused."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(log_module, "ATTEMPT_SECONDS", 0.3)
        patch.setattr(log_module, "PATIENCE_SECONDS", 0.3)
        link.lose_answer(b"insert")
        with pytest.raises(Unavailable):
            await node.log.append(draft)


@pytest.mark.parametrize("size", [1, 3])
async def test_a_write_whose_answer_is_lost_is_stored_told_and_answered_once(
    link: Link, node: Node, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """I3, I4, I5"""
    await node.open("r")
    monkeypatch.setattr(log_module, "ATTEMPT_SECONDS", 0.3)
    link.lose_answer(b"insert")
    drafts = [text("r") for _ in range(size)]

    answers = await asyncio.gather(*[node.log.append(draft) for draft in drafts])

    assert sum(node.batches) == 1  # the others were found
    assert [m.id for m in answers] == [draft.id for draft in drafts]
    assert [m.seq for m in answers] == list(range(2, size + 2))
    assert await node.read("r") == [node.told[0][0], *answers]
    assert node.told_of("r") == list(range(1, size + 2))


async def test_what_was_stored_when_the_log_gave_up_is_told_at_the_resend(
    link: Link, node: Node
) -> None:
    """I3, I5"""
    await node.open("r")
    await give_up(link, node, text("r", client_id="c"))

    assert node.told_of("r") == [1]
    first = await node.log.append(text("r", client_id="c"))
    again = await node.log.append(text("r", client_id="c"))

    assert first == again
    assert node.told_of("r") == [1, 2]


async def test_a_hanging_database_is_unavailable_to_all_who_wait_until_it_answers_again(
    private_mongo: EmbeddedMongo, monkeypatch: pytest.MonkeyPatch
) -> None:
    """I1, I2, I4"""
    monkeypatch.setattr(log_module, "ATTEMPT_SECONDS", 0.3)
    monkeypatch.setattr(log_module, "PATIENCE_SECONDS", 0.5)
    database = Database(private_mongo.uri)
    (node,) = await nodes(database)
    await node.open("r")

    freeze(private_mongo.pid)
    sent = [node.log.append(text("r", client_id=f"{n}")) for n in range(3)]
    async with asyncio.timeout(5):
        answers = await asyncio.gather(*sent, return_exceptions=True)
    os.kill(private_mongo.pid, signal.SIGCONT)
    monkeypatch.undo()

    assert [type(answer) for answer in answers] == [Unavailable] * 3
    resent = await asyncio.gather(*[node.log.append(text("r", client_id=f"{n}")) for n in range(3)])
    assert [m.seq for m in resent] == [2, 3, 4]
    assert await node.read("r") == [node.told[0][0], *resent]
    await database.close()


async def test_nothing_acknowledged_is_lost_when_the_database_is_killed_under_load(
    private_mongo: EmbeddedMongo,
) -> None:
    """I1, I2, I3, I4, I7"""
    database = Database(private_mongo.uri)
    (node,) = await nodes(database)
    rooms = [new_room() for _ in range(5)]
    sent = [node.log.append(fence(room)) for room in rooms]
    answers: list[Message] = []

    for _ in range(40):
        sent += [node.log.append(text(room)) for room in rooms for _ in range(20)]
    await sent[500]
    os.kill(private_mongo.pid, signal.SIGKILL)
    async with asyncio.timeout(60):
        answers = await asyncio.gather(*sent)

    for room in rooms:
        stored = await node.read(room)
        heads_of(stored)
        assert stored == [m for m in answers if m.room == room]
        assert node.told_of(room) == list(range(1, 802))
    await database.close()
