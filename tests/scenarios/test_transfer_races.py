"""A transfer's answers at one moment, on two servers: one outcome, money agrees (T1–T3)."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio

from care.record import read_time
from storage.database import Document
from tests.scenarios.racing import (
    AROUND_SECONDS,
    KEPT,
    REFUNDED,
    TRANSFER_SECONDS,
    Field,
    Pair,
    both_won,
    chance,
    each,
    field,
    settled,
    soon,
)
from tests.scenarios.records import read_whole
from tests.scenarios.wire import Wire

__all__ = ["field"]

OK, CONFLICT = "ok", "conflict"
LIMIT = timedelta(seconds=TRANSFER_SECONDS)
TOGETHER = 50
"""How many wait for their expiry at a time."""


@dataclass(frozen=True)
class Stage:
    """A paid talk, its people on sockets of either server, and the doctor it may go to."""

    consultation: str
    patient: tuple[Wire, Wire]
    old: tuple[Wire, Wire]
    new: Wire
    new_id: str

    async def propose(self, node: int = 0) -> tuple[str, Any]:
        wanted = {"consultation": self.consultation, "to_doctor": self.new_id, "reason": "转外科"}
        answer = await self.old[node].ask("transfer:propose", wanted)
        return _outcome(answer), answer.get("transfer")

    async def end(self, by: Wire) -> str:
        return _outcome(await by.ask("consultation:end", {"consultation": self.consultation}))


def _outcome(answer: Any) -> str:
    return OK if answer["ok"] else str(answer["error"]["code"])


async def move(by: Wire, action: str, transfer: str) -> str:
    return _outcome(await by.ask(f"transfer:{action}", {"transfer": transfer}))


@asynccontextmanager
async def staged(field: Field, pair: Pair) -> AsyncIterator[Stage]:
    made = await pair.ask_and_pay()
    status, told = await pair.move(made, "accept", pair.doctor, 0)
    assert status == 200, told
    taker = field.pairs[field.pairs.index(pair) - 1]
    tokens = (pair.patient, 0), (pair.patient, 1), (pair.doctor, 0), (pair.doctor, 1)
    wires = [
        await Wire.enter(pair.http, pair.urls[node], token)
        for token, node in (*tokens, (taker.doctor, 1))
    ]
    try:
        yield Stage(made, (wires[0], wires[1]), (wires[2], wires[3]), wires[4], taker.doctor_id)
    finally:
        for wire in wires:
            await wire.close()


async def _both(first: Awaitable[str], second: Awaitable[str]) -> tuple[str, str]:
    one, other = await asyncio.gather(soon(first), soon(second))
    assert {one, other} <= {OK, CONFLICT}
    return one, other


async def _check(field: Field, made: list[str]) -> list[Document]:
    """Check that each record's transfers, doctor, room and money agree; give the records."""
    await settled(field, made)
    return await each(made, lambda m: _agrees(field, m))


async def _agrees(field: Field, made: str) -> Document:
    c = await field.database["consultations"].find_one({"_id": made})
    assert c is not None
    (payment,) = await field.database["payments"].find({"consultation": made}).to_list()
    assert payment["state"] == (REFUNDED if c["state"] == "refused_transfer" else KEPT), c["state"]
    (transfer,) = c["transfers"]
    taken = transfer["state"] == "accepted"
    assert c["doctor"]["id"] == transfer["to_doctor" if taken else "from_doctor"]["id"]
    messages = await read_whole(field.database, c["room"])
    steps = [m.body["transfer"]["state"] for m in messages if m.client_id.startswith("transfer:")]
    # the refusal and the end have the consultation's closing line
    wanted = ["proposed"] + ["agreed"] * (transfer["confirmed_at"] is not None)
    wanted += [s for s in [transfer["state"]] if s in {"accepted", "declined", "expired"}]
    assert steps == wanted
    if not c["open"]:
        assert transfer["state"] not in {"proposed", "agreed"}
    last = messages[-1].fence
    writers = [c["patient"], c["doctor"]["id"]] if c["open"] else []
    assert last is not None
    assert list(last.writers) == writers
    return dict(c)


@pytest_asyncio.fixture(autouse=True)
async def nothing_left(field: Field) -> AsyncIterator[None]:
    """Let no talk of one race be in the way of the next one's (C14)."""
    yield
    over: Document = {"$set": {"open": False, "state": "ended"}}
    await field.database["consultations"].update_many({"open": True}, over)


@pytest.mark.rule("T1", "T2", "T3", "M2")
async def test_of_two_proposals_one_stands_and_of_agreeing_and_refusing_one_counts(
    field: Field,
) -> None:
    async def race(pair: Pair) -> tuple[str, str]:
        async with staged(field, pair) as stage:
            proposals = await asyncio.gather(soon(stage.propose(0)), soon(stage.propose(1)))
            assert sorted(outcome for outcome, _ in proposals) == [CONFLICT, OK]
            (transfer,) = [made["id"] for _, made in proposals if made]
            answers = await _both(
                move(stage.patient[0], "agree", transfer),
                move(stage.patient[1], "refuse", transfer),
            )
            assert sorted(answers) == [CONFLICT, OK]
            return stage.consultation, answers[0]

    raced = await each(field.pairs, race)
    found = await _check(field, [made for made, _ in raced])
    both_won(agreed for _, agreed in raced)
    for c, (_, agreed) in zip(found, raced, strict=True):
        assert c["state"] == ("in_progress" if agreed == OK else "refused_transfer")


@pytest.mark.rule("T2", "T3")
async def test_the_patient_ends_while_the_new_doctor_accepts(field: Field) -> None:
    async def race(pair: Pair) -> tuple[str, str]:
        async with staged(field, pair) as stage:
            _, made = await stage.propose()
            assert await move(stage.patient[0], "agree", made["id"]) == OK
            ended, accepted = await _both(
                stage.end(stage.patient[0]), move(stage.new, "accept", made["id"])
            )
            # a talk that was taken over may be ended right after
            assert ended == OK
            return stage.consultation, accepted

    raced = await each(field.pairs, race)
    found = await _check(field, [made for made, _ in raced])
    both_won(accepted for _, accepted in raced)
    for c, (_, accepted) in zip(found, raced, strict=True):
        wanted = "accepted" if accepted == OK else "cancelled"
        assert (c["state"], c["transfers"][0]["state"]) == ("ended", wanted)


@pytest.mark.rule("T2", "T3")
async def test_the_doctor_ends_while_the_patient_agrees(field: Field) -> None:
    async def race(pair: Pair) -> tuple[str, str]:
        async with staged(field, pair) as stage:
            _, made = await stage.propose()
            ended, agreed = await _both(
                stage.end(stage.old[0]), move(stage.patient[1], "agree", made["id"])
            )
            assert ended == OK
            return stage.consultation, agreed

    raced = await each(field.pairs, race)
    found = await _check(field, [made for made, _ in raced])
    both_won(agreed for _, agreed in raced)
    for c, (_, agreed) in zip(found, raced, strict=True):
        transfer = c["transfers"][0]
        assert (c["state"], transfer["state"]) == ("ended", "cancelled")
        assert (transfer["confirmed_at"] is not None) == (agreed == OK)


def _groups(pairs: list[Pair]) -> Iterator[list[Pair]]:
    for first in range(0, len(pairs), TOGETHER):
        yield pairs[first : first + TOGETHER]


@pytest.mark.rule("T3")
async def test_agreeing_at_the_moment_of_expiry(field: Field) -> None:
    async def race(pair: Pair) -> tuple[str, str]:
        async with staged(field, pair) as stage:
            _, made = await stage.propose()
            left = read_time(made["expires_at"]) - datetime.now(UTC)
            await asyncio.sleep(left.total_seconds() + chance.uniform(*AROUND_SECONDS))
            agreed = await move(stage.patient[1], "agree", made["id"])
            assert agreed in {OK, CONFLICT}
            return stage.consultation, agreed

    raced = [r for group in _groups(field.pairs) for r in await asyncio.gather(*map(race, group))]
    both_won(agreed for _, agreed in raced)
    unanswered: Document = {"transfers.state": "proposed"}
    async with asyncio.timeout(30):
        while await field.database["consultations"].find_one(unanswered):  # noqa: ASYNC110  another process's work
            await asyncio.sleep(0.1)
    found = await _check(field, [made for made, _ in raced])
    for c, (_, agreed) in zip(found, raced, strict=True):
        transfer = c["transfers"][0]
        assert (transfer["confirmed_at"] is not None) == (agreed == OK)
        if agreed == OK:
            assert transfer["confirmed_at"] < transfer["proposed_at"] + timedelta(
                seconds=TRANSFER_SECONDS
            )
        else:
            assert transfer["state"] == "expired"
