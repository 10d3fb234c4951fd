from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from care.rooms import SYSTEM, Break, Fence, Head, Message, Sender, chain_hash, find_break
from tests.storage.rooms import DOCTOR, PATIENT, START, chain, fence, heads_of, text

# whole numbers as far as the database keeps them, and no infinity: JSON has none
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
)
json_values = st.recursive(
    scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8
)


def first_break(messages: list[Message]) -> Break | None:
    head = Head()
    for message in messages:
        if found := find_break(head, message):
            return found
        head = head.after(message)
    return None


def conversation() -> list[Message]:
    return chain(fence("r"), text("r"), text("r", DOCTOR), text("r"), text("r", DOCTOR))


def test_numbers_are_dense_and_the_chain_is_whole() -> None:
    messages = conversation()

    assert [m.seq for m in messages] == [1, 2, 3, 4, 5]
    assert first_break(messages) is None


@pytest.mark.parametrize(
    "change",
    [
        {"body": {"text": "没有说过"}},
        {"sender": DOCTOR},
        {"sender": Sender("patient", "patient", "别人")},
        {"at": START + timedelta(milliseconds=1)},
        {"id": "0"},
        {"client_id": "other"},
        {"room": "other"},
        {"fence": Fence(9, (), ())},
        {"hash": "f" * 64},
    ],
)
def test_an_edited_message_is_found(change: dict[str, Any]) -> None:
    """I7"""
    messages = conversation()
    messages[3] = replace(messages[3], **change)

    assert first_break(messages) == Break(4, "altered")


def test_an_edited_message_with_its_hash_made_anew_is_found_at_the_next() -> None:
    """I7"""
    messages = conversation()
    edited = replace(messages[1], body={"text": "没有说过"})
    messages[1] = replace(edited, hash=chain_hash(edited.prev, edited, edited.seq, edited.at))

    assert first_break(messages) == Break(3, "not chained to its predecessor")


def test_a_removed_message_is_found() -> None:
    """I7"""
    messages = conversation()
    del messages[2]

    assert first_break(messages) == Break(3, "missing")


def test_a_removed_message_is_found_though_the_others_were_renumbered() -> None:
    """I7"""
    messages = conversation()
    del messages[2]
    messages[2:] = [replace(m, seq=m.seq - 1) for m in messages[2:]]

    assert first_break(messages) == Break(3, "not chained to its predecessor")


def test_a_removed_beginning_is_found() -> None:
    """I7"""
    assert first_break(conversation()[2:]) == Break(1, "missing")


def test_exchanged_messages_are_found() -> None:
    """I7"""
    messages = conversation()
    messages[1], messages[2] = replace(messages[2], seq=2), replace(messages[1], seq=3)

    assert first_break(messages) == Break(2, "not chained to its predecessor")


@given(body=st.dictionaries(st.text(), json_values))
def test_the_hash_is_of_the_content_not_of_the_order_of_its_keys(body: dict[str, Any]) -> None:
    draft = replace(text("r"), body=body)
    turned = replace(draft, body=dict(reversed(body.items())))

    assert chain_hash("", draft, 1, START) == chain_hash("", turned, 1, START)


@given(one=scalars, other=scalars)
def test_different_contents_have_different_hashes(one: Any, other: Any) -> None:
    draft = text("r")
    hashes = {chain_hash("", replace(draft, body={"x": x}), 1, START) for x in (one, other)}

    assert len(hashes) == len({repr(one), repr(other)})


def test_time_never_runs_backwards_in_a_room() -> None:
    """Two processes' clocks may differ."""
    first = Head().follow(fence("r"), START)
    second = Head().after(first).follow(text("r"), START - timedelta(seconds=5))

    assert second.at == START


def test_an_empty_room_takes_a_system_line_only() -> None:
    assert not Head().admits(text("r"))
    assert Head().admits(fence("r"))


def test_the_last_fence_says_who_may_write() -> None:
    *_, opened, handed_over = heads_of(chain(fence("r"), fence("r", [DOCTOR.id], version=2)))

    assert opened.admits(text("r", PATIENT))
    assert not handed_over.admits(text("r", PATIENT))
    assert handed_over.admits(text("r", DOCTOR))
    assert handed_over.admits(text("r", SYSTEM))


def test_a_late_line_of_an_older_state_never_reopens_a_room() -> None:
    closed_then_opened = chain(fence("r", [], version=3), fence("r", version=2))

    assert not heads_of(closed_then_opened)[-1].admits(text("r"))


def test_a_receipt_is_what_the_acknowledgement_says() -> None:
    message = Head().follow(fence("r"), START)

    assert message.receipt() == {"id": message.id, "seq": 1, "at": "2026-11-22T08:00:00.000Z"}
