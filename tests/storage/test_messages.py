from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pymongo.errors import BulkWriteError, PyMongoError

from care.rooms import Activity, Draft, Fence, Head, Kind, Message, find_break
from storage.database import Database
from storage.messages import Messages, duplicate_positions
from tests.storage.rooms import (
    BOTH,
    DOCTOR,
    PATIENT,
    START,
    chain,
    fence,
    heads_of,
    new_room,
    text,
)


@pytest.fixture
async def messages(database: Database) -> Messages:
    messages = Messages(database)
    await messages.ensure_indexes()
    return messages


async def stored(messages: Messages, *drafts: Draft) -> list[Message]:
    run = chain(*drafts)
    assert await messages.insert(run) == set()
    return run


def seqs(found: list[Message]) -> list[int]:
    return [message.seq for message in found]


async def test_a_message_reads_back_as_it_was_written(messages: Messages) -> None:
    run = await stored(messages, fence("r"), text("r"))

    assert await messages.after("r", 0, 10) == run
    assert await messages.one("r", 2) == run[1]
    assert await messages.one("r", 3) is None


@settings(
    max_examples=40,
    deadline=None,
    # each example has a room of its own
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    body=st.dictionaries(
        st.text(st.characters(codec="utf-8", exclude_characters="\0")),
        st.none()
        | st.booleans()
        | st.integers(-(2**63), 2**63 - 1)
        | st.floats(allow_nan=False)
        | st.text()
        | st.lists(st.text(), max_size=3),
        max_size=4,
    )
)
async def test_whatever_the_body_a_stored_message_keeps_its_hash(
    messages: Messages, body: dict[str, Any]
) -> None:
    """I7"""
    room = new_room()
    await stored(messages, replace(text(room), body=body))

    (found,) = await messages.after(room, 0, 10)

    assert find_break(Head(), found) is None


async def test_a_taken_place_costs_only_its_own_room(messages: Messages) -> None:
    """I2"""
    await stored(messages, fence("b"))
    three = [*chain(fence("a")), *chain(fence("b")), *chain(fence("c"))]

    assert await messages.insert(three) == {1}
    assert [seqs(await messages.after(room, 0, 10)) for room in "abc"] == [[1], [1], [1]]


async def test_a_second_message_of_one_client_id_is_not_stored(messages: Messages) -> None:
    """I3"""
    run = chain(fence("r"), text("r", client_id="c"), text("r", client_id="c"))
    await messages.insert(run[:2])

    assert await messages.insert(run[2:]) == {0}


async def test_a_run_that_meets_a_taken_place_stops_there(messages: Messages) -> None:
    """I2: what came after it would leave a hole."""
    await stored(messages, fence("a"), text("a"))
    run = [*chain(fence("b"), text("b")), *chain(fence("a"), text("a"), text("a"))]

    assert await messages.insert(run) == {2, 3, 4}
    assert seqs(await messages.after("a", 0, 10)) == [1, 2]
    assert seqs(await messages.after("b", 0, 10)) == [1, 2]


async def test_a_run_of_a_room_stops_where_another_writer_is_in_between(
    messages: Messages,
) -> None:
    """I2"""
    first = chain(fence("r"), text("r"))
    second = chain(fence("r"), text("r"), text("r"), text("r"))
    await messages.insert(first)

    assert await messages.insert(second[1:]) == {0, 1, 2}
    assert await messages.after("r", 0, 10) == first


async def test_an_error_that_is_no_conflict_is_raised() -> None:
    error = BulkWriteError({"writeErrors": [{"index": 0, "code": 10334}]})
    with pytest.raises(PyMongoError):
        duplicate_positions(error)
    error = BulkWriteError({"writeErrors": [], "writeConcernErrors": [{"code": 64}]})
    with pytest.raises(PyMongoError):
        duplicate_positions(error)


async def test_the_head_is_where_the_log_ends_with_the_fence_in_force(messages: Messages) -> None:
    run = await stored(messages, fence("r"), text("r"), fence("r", [DOCTOR.id], 2), text("r"))

    heads = await messages.heads(["r", "empty"])

    assert heads == {"r": heads_of(run)[-1], "empty": Head()}
    assert heads["r"].fence == Fence(2, BOTH, (DOCTOR.id,))


async def test_a_head_read_anew_ignores_a_late_fence_of_an_older_state(messages: Messages) -> None:
    run = await stored(messages, fence("r"), fence("r", [], version=3), fence("r", version=2))

    head = (await messages.heads(["r"]))["r"]

    assert head == heads_of(run)[-1]
    assert head.fence.version == 3


async def test_of_two_fences_of_one_state_the_later_is_in_force(messages: Messages) -> None:
    run = await stored(messages, fence("r", version=2), fence("r", [], version=2))

    head = (await messages.heads(["r"]))["r"]

    assert head == heads_of(run)[-1]
    assert head.fence.writers == ()


async def test_activity_tells_who_spoke_last_and_which_doctor_did(messages: Messages) -> None:
    await stored(messages, fence("asked"), text("asked"))
    await stored(messages, fence("answered"), text("answered", DOCTOR), text("answered"))
    await stored(messages, fence("silent"))

    assert await messages.activity(["asked", "answered", "silent", "empty"]) == {
        "asked": Activity(2, START, "patient"),
        "answered": Activity(3, START, "patient", last_doctor=DOCTOR.id),
        "silent": Activity(last_seq=1),
        "empty": Activity(),
    }


async def test_pages_go_forwards_and_backwards(messages: Messages) -> None:
    """I6"""
    await stored(messages, fence("r"), *[text("r") for _ in range(9)])
    await stored(messages, fence("other"))

    assert seqs(await messages.after("r", 4, 3)) == [5, 6, 7]
    assert seqs(await messages.after("r", 9, 3)) == [10]
    assert seqs(await messages.before("r", 4, 2)) == [2, 3]
    assert seqs(await messages.before("r", None, 2)) == [9, 10]


async def test_recalls_of_a_stretch_are_found(messages: Messages) -> None:
    recalls = [replace(text("r"), kind=Kind.RECALL, body={"seq": seq}) for seq in (2, 4)]
    await stored(messages, fence("r"), *[text("r") for _ in range(4)], *recalls)

    assert await messages.recalled("r", 1, 3) == {2}
    assert await messages.recalled("r", 1, 9) == {2, 4}


async def test_unread_is_what_others_said_after_the_mark(messages: Messages) -> None:
    await stored(messages, fence("r"), text("r"), text("r", DOCTOR), text("r", DOCTOR), fence("r"))
    await stored(messages, fence("read"), text("read", DOCTOR))

    assert await messages.unread(PATIENT.id, {"r": 3, "read": 2}) == {"r": 1}
    assert await messages.unread(DOCTOR.id, {"r": 0, "read": 0}) == {"r": 1}
    assert await messages.unread(DOCTOR.id, {}) == {}


async def test_sent_before_finds_by_sender_and_client_id(messages: Messages) -> None:
    """I3"""
    run = await stored(messages, fence("r"), text("r", client_id="a"), text("r", DOCTOR, "", "a"))
    keys = [("r", DOCTOR.id, "a"), ("r", PATIENT.id, "a"), ("r", PATIENT.id, "b")]

    assert await messages.sent_before(keys) == run[1:]


async def test_chinese_is_found_inside_a_sentence(messages: Messages) -> None:
    await stored(messages, text("r", words="昨天开始头疼，还有点发热"), text("r", words="没有咳嗽"))

    assert seqs(await messages.search(["r"], "头疼", None, 10)) == [1]
    assert seqs(await messages.search(["r"], "咳", None, 10)) == [2]
    assert await messages.search(["r"], "头发", None, 10) == []


async def test_search_takes_no_pattern_and_ignores_case(messages: Messages) -> None:
    await stored(messages, text("r", words="COVID (2 次)"), text("r", words="a.c"), text("r"))

    assert seqs(await messages.search(["r"], "covid (2", None, 10)) == [1]
    assert seqs(await messages.search(["r"], ".", None, 10)) == [2]
    assert await messages.search(["r"], ".*", None, 10) == []


async def test_search_sees_the_given_rooms_only_newest_first_page_by_page(
    messages: Messages,
) -> None:
    drafts = [replace(text("r", words="复诊"), id=f"{n:028x}") for n in range(5)]
    run = await stored(messages, *drafts)
    await stored(messages, text("hidden", words="复诊"))

    first = await messages.search(["r"], "复诊", None, 2)
    second = await messages.search(["r"], "复诊", first[-1].id, 2)

    assert [*first, *second] == run[:0:-1]
