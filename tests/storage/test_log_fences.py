"""The log where a fence shuts a sender out."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from care.errors import CareError, Closed, Forbidden
from care.rooms import SYSTEM, Draft, Message, Sender
from storage.database import Database
from storage.log import MessageLog
from storage.messages import Messages, to_document
from tests.storage.rooms import (
    DOCTOR,
    PATIENT,
    Node,
    TickingClock,
    chain,
    fence,
    nodes,
    text,
)


@pytest.fixture
async def node(database: Database) -> Node:
    return (await nodes(database))[0]


@pytest.fixture
async def pair(database: Database) -> Sequence[Node]:
    """Two processes on one database."""
    return await nodes(database, 2)


async def test_a_closed_room_takes_nothing_from_its_members(node: Node) -> None:
    await node.open("r")
    await node.log.append(fence("r", [], version=2))

    with pytest.raises(Closed):
        await node.log.append(text("r"))

    assert (await node.log.append(fence("r", [], version=2))).seq == 3


async def test_nothing_follows_a_closing_line_of_the_same_batch(node: Node) -> None:
    await node.open("r")
    lines = [text("r"), fence("r", [], version=2), text("r"), text("r", DOCTOR)]

    before, closing, *after = await asyncio.gather(
        *[node.log.append(line) for line in lines], return_exceptions=True
    )

    assert isinstance(before, Message)
    assert isinstance(closing, Message)
    assert [type(answer) for answer in after] == [Closed, Closed]
    assert [m.seq for m in await node.read("r")] == [1, 2, 3]


async def test_a_fence_that_lost_its_place_shuts_nobody_out(database: Database, node: Node) -> None:
    """The closing line here meets a newer state that another process is just writing."""
    await node.open("r")
    newer = to_document(chain(fence("r"), fence("r", version=3))[1])
    async with database.transaction() as session:
        await database.db["messages"].insert_one(newer, session=session)
        lines = [node.log.append(d) for d in (fence("r", [], version=2), text("r"))]
        await insert_waits(database)

    closing, after = await asyncio.gather(*lines)

    assert (closing.seq, after.seq) == (3, 4)


async def insert_waits(database: Database) -> None:
    """Poll until an insert of this database is under way: the server tells nobody of it."""
    running: dict[str, Any] = {"currentOp": 1, "active": True, "op": "insert"}
    running["ns"] = f"{database.db.name}.messages"
    async with asyncio.timeout(5):
        while not (await database.client.admin.command(running))["inprog"]:  # noqa: ASYNC110 (see above)
            await asyncio.sleep(0.01)


async def test_who_is_shut_out_gets_the_refusal_of_the_record(database: Database) -> None:
    async def refusal(draft: Draft) -> CareError:
        return Closed() if draft.sender == PATIENT else Forbidden()

    messages = Messages(database)
    await messages.ensure_indexes()
    log = MessageLog(messages, TickingClock(), lambda _: None, refusal=refusal)

    answers = await asyncio.gather(
        log.append(text("r", PATIENT)), log.append(text("r", DOCTOR)), return_exceptions=True
    )

    assert [type(answer) for answer in answers] == [Closed, Forbidden]


async def test_a_room_another_process_closed_is_closed_here(pair: Sequence[Node]) -> None:
    here, elsewhere = pair
    await here.open("r")
    await elsewhere.log.append(fence("r", [], version=2))

    with pytest.raises(Closed):
        await here.log.append(text("r"))


async def test_a_room_another_process_opened_is_open_here(pair: Sequence[Node]) -> None:
    here, elsewhere = pair
    with pytest.raises(Closed):
        await here.log.append(text("r"))
    await elsewhere.open("r")

    assert (await here.log.append(text("r"))).seq == 2


async def test_a_refused_message_never_overtakes_a_later_one(pair: Sequence[Node]) -> None:
    """I4: the fence in memory is old, and the batch itself brings a newer one."""
    here, elsewhere = pair
    await here.log.append(fence("r", [], version=1))
    await elsewhere.log.append(fence("r", version=2))

    lines = [text("r"), fence("r", version=3), text("r")]
    first, _, second = await asyncio.gather(*[here.log.append(line) for line in lines])

    assert first.seq < second.seq


async def test_a_resend_after_the_close_is_answered_with_the_first_receipt(node: Node) -> None:
    """I3"""
    await node.open("r")
    first = await node.log.append(text("r", client_id="c"))
    await node.log.append(fence("r", [], version=2))

    assert await node.log.append(text("r", client_id="c")) == first


async def test_a_late_older_fence_does_not_reopen(pair: Sequence[Node]) -> None:
    here, elsewhere = pair
    await here.log.append(fence("r", [], version=3))
    await here.log.append(fence("r", version=2))

    for node in (here, elsewhere):
        with pytest.raises(Closed):
            await node.log.append(text("r"))


async def test_a_name_and_a_role_do_not_make_one_the_system(node: Node) -> None:
    impostor = Sender(PATIENT.id, SYSTEM.role, SYSTEM.name)

    with pytest.raises(Closed):
        await node.log.append(text("r", impostor))
