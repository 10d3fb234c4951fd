import asyncio
from collections.abc import Sequence
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest

from care.rooms import Break, Head, find_break
from storage.database import Database
from storage.log import MessageLog
from storage.messages import Messages
from tests.storage.rooms import (
    DOCTOR,
    PATIENT,
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


@pytest.fixture
async def pair(database: Database) -> Sequence[Node]:
    """Two processes on one database."""
    return await nodes(database, 2)


async def test_pipelined_messages_are_stored_in_the_order_of_the_calls(node: Node) -> None:
    """I2, I4, I7"""
    sent = [node.log.append(d) for d in (fence("r"), *[text("r") for _ in range(50)])]

    answers = await asyncio.gather(*sent)

    assert [m.seq for m in answers] == list(range(1, 52))
    assert await node.read("r") == answers
    assert len(heads_of(answers)) == 52
    assert node.told_of("r") == list(range(1, 52))
    assert sum(node.batches) == 51
    assert node.log.waiting == 0


async def test_what_arrives_during_a_write_is_one_batch(node: Node) -> None:
    await node.open("a", "b")
    node.batches.clear()
    first = node.log.append(text("a"))
    await asyncio.sleep(0)  # the writer takes it
    rest = [node.log.append(text(room)) for room in "abab"]

    await asyncio.gather(first, *rest)

    assert node.batches == [1, 4]


async def test_a_message_is_told_of_before_its_sender_has_the_answer(database: Database) -> None:
    """I5"""
    messages = Messages(database)
    await messages.ensure_indexes()
    events: list[str] = []
    log = MessageLog(messages, TickingClock(), lambda _: events.append("told"))
    sent = log.append(fence("r"))
    sent.add_done_callback(lambda _: events.append("answered"))

    await sent

    assert events == ["told", "answered"]


async def test_each_message_is_told_with_the_head_behind_it(node: Node) -> None:
    lines = [fence("r"), text("r"), fence("r", [], version=2)]

    await asyncio.gather(*[node.log.append(line) for line in lines])

    assert [head for _, head in node.told] == heads_of(await node.read("r"))[1:]


async def test_a_resend_is_answered_with_the_first_ones_receipt(node: Node) -> None:
    """I3"""
    await node.open("r")
    first = await node.log.append(text("r", client_id="c"))
    await node.log.append(text("r"))

    again = await node.log.append(text("r", client_id="c"))

    assert again == first
    assert node.told_of("r") == [1, 2, 3]


async def test_copies_in_one_batch_are_stored_once(node: Node) -> None:
    """I3"""
    await node.open("r")
    copies = [text("r", client_id="c") for _ in range(3)]

    answers = await asyncio.gather(*[node.log.append(c) for c in copies])

    assert {m.id for m in answers} == {copies[0].id}
    assert node.told_of("r") == [1, 2]


async def test_one_client_id_sent_through_two_processes_at_once_is_stored_once(
    pair: Sequence[Node],
) -> None:
    """I3"""
    one, other = pair
    await one.open("r")

    for n in range(20):
        sent = [node.log.append(text("r", client_id=f"c{n}")) for node in pair]
        first, second = await asyncio.gather(*sent)
        assert first == second

    assert [m.seq for m in await one.read("r")] == list(range(1, 22))
    assert sorted(one.told_of("r") + other.told_of("r")) == list(range(1, 22))


async def test_a_client_id_is_the_senders_own(node: Node) -> None:
    """I3"""
    await node.open("r")

    mine, theirs = await asyncio.gather(
        node.log.append(text("r", PATIENT, client_id="c")),
        node.log.append(text("r", DOCTOR, client_id="c")),
    )

    assert (mine.seq, theirs.seq) == (2, 3)


async def test_two_processes_pipelining_into_one_room_leave_it_dense(pair: Sequence[Node]) -> None:
    """I2, I4, I7"""
    await pair[0].open("r")
    senders = (PATIENT, DOCTOR)

    sent = [
        pair[i].log.append(text("r", senders[i], client_id=f"{i}-{n}"))
        for n in range(300)
        for i in (0, 1)
    ]
    answers = await asyncio.gather(*sent)

    stored = await pair[0].read("r")
    heads_of(stored)
    assert [m.seq for m in stored] == list(range(1, 602))
    for mine in (answers[0::2], answers[1::2]):
        assert all(a.seq < b.seq for a, b in pairwise(mine))
    assert sorted(pair[0].told_of("r") + pair[1].told_of("r")) == list(range(1, 602))
    assert all(node.told_of("r") == sorted(node.told_of("r")) for node in pair)


async def test_a_conflict_costs_only_its_own_room(pair: Sequence[Node]) -> None:
    """I2, I4"""
    here, elsewhere = pair
    rooms = [new_room() for _ in range(5)]
    await here.open(*rooms)
    await asyncio.gather(*[elsewhere.log.append(text(rooms[2], DOCTOR)) for _ in range(3)])
    here.batches.clear()

    sent = [here.log.append(text(room)) for _ in range(3) for room in rooms]
    answers = await asyncio.gather(*sent)

    # up to the conflict; then one a room; then what was left
    assert here.batches == [2, 5, 8]
    assert [m.seq for m in answers[2::5]] == [5, 6, 7]
    assert [m.seq for m in answers[0::5]] == [2, 3, 4]


async def test_a_conflict_among_single_messages_leaves_the_others_stored(
    pair: Sequence[Node],
) -> None:
    """I2"""
    here, elsewhere = pair
    await here.open("a", "b", "c")
    await elsewhere.log.append(text("b", DOCTOR))
    here.batches.clear()

    answers = await asyncio.gather(*[here.log.append(text(room)) for room in "abc"])

    assert here.batches == [2, 1]
    assert [m.seq for m in answers] == [2, 3, 2]


async def test_a_process_that_observes_the_other_need_not_collide(pair: Sequence[Node]) -> None:
    here, elsewhere = pair
    await here.open("r")
    here.log.observe(await elsewhere.log.append(text("r", DOCTOR)))
    here.batches.clear()

    await here.log.append(text("r"))

    assert here.batches == [1]


async def test_an_observed_message_of_another_chain_is_not_believed(node: Node) -> None:
    """I2: it would leave a hole behind it."""
    await node.open("r")
    stranger = chain(fence("r"), text("r"))[1]
    node.log.observe(stranger)

    stored = await node.log.append(text("r"))

    assert stored.seq == 2


async def test_a_rooms_time_never_runs_backwards_between_processes(
    database: Database, pair: Sequence[Node]
) -> None:
    class SlowClock(TickingClock):
        _now = START - timedelta(minutes=1)

    ahead, _ = pair
    behind = MessageLog(Messages(database), SlowClock(), lambda _: None)
    first = await ahead.log.append(fence("r"))

    assert (await behind.append(text("r"))).at == first.at


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"$set": {"body.text": "没有说过"}}, Break(3, "altered")),
        ({"$set": {"sender.name": "别人"}}, Break(3, "altered")),
        ({"$set": {"at": START}}, Break(3, "altered")),
        ({"$set": {"prev": "0" * 64}}, Break(3, "not chained to its predecessor")),
        (None, Break(3, "missing")),
    ],
)
async def test_tampering_in_the_database_is_found(
    database: Database, node: Node, change: dict[str, Any] | None, found: Break
) -> None:
    """I7"""
    await node.open("r")
    await asyncio.gather(*[node.log.append(text("r")) for _ in range(4)])
    third = {"room": "r", "seq": 3}
    collection = database["messages"]
    await (collection.update_one(third, change) if change else collection.delete_one(third))

    head, first = Head(), None
    for message in await node.read("r"):
        first = first or find_break(head, message)
        head = head.after(message)

    assert first == found
