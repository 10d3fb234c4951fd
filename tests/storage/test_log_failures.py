"""The log when a caller, a draft, a listener or its own task fails, and its bounds."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from care.errors import Unavailable
from care.rooms import Message
from storage import log as log_module
from storage.database import Database
from storage.log import MessageLog
from storage.messages import Messages, to_document
from tests.storage.rooms import (
    START,
    Node,
    TickingClock,
    chain,
    fence,
    heads_of,
    new_room,
    nodes,
    text,
)


@pytest.fixture
async def node(database: Database) -> Node:
    return (await nodes(database))[0]


async def test_a_caller_that_stops_waiting_neither_loses_its_message_nor_others(
    node: Node,
) -> None:
    await node.open("r")
    node.batches.clear()
    left = node.log.append(text("r"))
    other = node.log.append(text("r"))
    left.cancel()

    assert (await other).seq == 3
    assert node.batches == [2]


@pytest.mark.parametrize("place", [0, 1, 6])
@pytest.mark.parametrize("content", ["\ud800", START, 2**70])
async def test_a_draft_that_cannot_be_written_is_refused_alone(
    node: Node, content: Any, place: int
) -> None:
    await node.open("r")
    lines = [text("r", client_id=f"{n}") for n in range(7)]
    lines[place] = replace(lines[place], body={"text": content})

    answers = await asyncio.gather(
        *[node.log.append(line) for line in lines], return_exceptions=True
    )

    failed = [n for n, answer in enumerate(answers) if isinstance(answer, BaseException)]
    assert failed == [place]
    assert not isinstance(answers[place], Unavailable)
    assert node.told_of("r") == list(range(1, 8))


async def test_a_listener_that_fails_costs_no_acknowledgement(database: Database) -> None:
    def fail(_: object) -> None:
        raise ZeroDivisionError

    messages = Messages(database)
    await messages.ensure_indexes()
    writes: list[int] = []
    log = MessageLog(messages, TickingClock(), fail, lambda size, _seconds: writes.append(size))

    lines = [log.append(line) for line in (fence("r"), text("r"), text("r"))]

    assert [m.seq for m in await asyncio.gather(*lines)] == [1, 2, 3]
    await log.close()
    assert writes == [3]


async def test_a_full_queue_refuses_at_once(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_module, "WAITING_MAX", 3)
    sent = [node.log.append(line) for line in (fence("r"), text("r"), text("r"))]

    with pytest.raises(Unavailable):
        node.log.append(text("r"))

    assert [m.seq for m in await asyncio.gather(*sent)] == [1, 2, 3]
    assert (await node.log.append(text("r"))).seq == 4


async def test_more_rooms_than_heads_are_kept_in_memory(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    """I2"""
    monkeypatch.setattr(log_module, "HEADS_MAX", 2)
    rooms = [new_room() for _ in range(5)]
    await node.open(*rooms)

    for _ in range(2):
        await asyncio.gather(*[node.log.append(text(room)) for room in rooms])

    assert [[m.seq for m in await node.read(room)] for room in rooms] == [[1, 2, 3]] * 5


async def test_close_waits_for_everything_accepted(node: Node) -> None:
    sent = [node.log.append(line) for line in (fence("r"), *[text("r") for _ in range(30)])]

    await node.log.close()

    assert all(future.done() for future in sent)
    assert len(await node.read("r")) == 31


async def test_a_cancelled_writer_leaves_no_caller_waiting(database: Database, node: Node) -> None:
    await node.open("r")
    async with database.transaction() as session:
        # whoever writes to the room now waits
        taken = to_document(chain(fence("r"), text("r"))[1])
        await database.db["messages"].insert_one(taken, session=session)
        sent = [node.log.append(text("r")) for _ in range(3)]
        (writer,) = [t for t in asyncio.all_tasks() if t.get_name() == "message-log"]
        while not writer.done():
            await asyncio.sleep(0)  # it begins, and ends
            # again: Python 3.11's wait_for, in the driver, may swallow one
            writer.cancel()
        await session.abort_transaction()

    answers = await asyncio.gather(*sent, return_exceptions=True)

    assert [type(answer) for answer in answers] == [Unavailable] * 3
    assert isinstance(await node.log.append(text("r")), Message)
    heads_of(await node.read("r"))
