"""Two servers, one consultation, two wishes at once: one comes true, the other is a conflict."""

import asyncio
from collections import Counter
from collections.abc import Awaitable
from datetime import UTC, datetime

import pytest

from storage.database import Document
from tests.scenarios.racing import (
    ACCEPTANCE_SECONDS,
    AROUND_SECONDS,
    AT_ONCE,
    CLOSED,
    KEPT,
    REFUNDED,
    TIMES,
    Answer,
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

__all__ = ["field"]


async def _race(first: Awaitable[Answer], second: Awaitable[Answer]) -> tuple[int, int]:
    """Let both wishes go at once; exactly one must come true, the other meets a conflict."""
    (one, told), (other, also_told) = await asyncio.gather(soon(first), soon(second))
    assert sorted([one, other]) == [200, 409], (told, also_told)
    assert (also_told if one == 200 else told)["code"] == "conflict"
    return one, other


async def _outcome(field: Field, made: str, money: dict[str, str]) -> Document:
    """Check that a consultation's record, room and money agree; give the record."""
    c = await field.database["consultations"].find_one({"_id": made})
    assert c is not None
    (payment,) = await field.database["payments"].find({"consultation": made}).to_list()
    assert payment["state"] == money[c["state"]], (c["state"], payment)
    refund = f"R{payment['out_trade_no']}" if payment["state"] == REFUNDED else None
    assert payment["out_refund_no"] == refund
    closings = [m for m in await read_whole(field.database, c["room"]) if "closed" in m.client_id]
    # a consultation that nobody ever paid for has nothing in its room
    shown = c["waiting_since"] is not None and not c["open"]
    assert len(closings) == shown, c["state"]
    return dict(c)


async def _outcomes(field: Field, made: list[str], money: dict[str, str]) -> list[Document]:
    """Check everything a race left behind, the doctors' counts too."""
    await settled(field, made)
    found = await each(made, lambda m: _outcome(field, m, money))
    ended: Counter[str] = Counter()
    async for c in field.database["consultations"].find({"state": "ended"}):
        ended[c["doctor"]["id"]] += 1
    ours = {"_id": {"$in": [pair.doctor_id for pair in field.pairs]}}
    async for doctor in field.database["doctors"].find(ours):
        assert doctor["consultation_count"] == ended[doctor["_id"]]
    return found


@pytest.mark.rule("C2", "C7", "C8", "M2")
async def test_of_two_devices_one_accepts_and_of_decline_and_end_one_closes(field: Field) -> None:
    async def race(pair: Pair) -> tuple[str, int]:
        made = await pair.ask_and_pay()
        accepted, _ = await _race(
            pair.move(made, "accept", pair.doctor, 0), pair.move(made, "accept", pair.doctor, 1)
        )
        await _race(
            pair.move(made, "decline", pair.doctor, 0, reason="不在诊疗范围内"),
            pair.move(made, "end", pair.patient, 1),
        )
        return made, accepted

    raced = await each(field.pairs, race)
    both_won(accepted for _, accepted in raced)
    money = {"declined": REFUNDED, "ended": KEPT}
    found = await _outcomes(field, [made for made, _ in raced], money)
    both_won(c["state"] for c in found)


@pytest.mark.rule("C3", "M1", "M2")
async def test_money_that_arrives_at_the_moment_of_cancellation_goes_back(field: Field) -> None:
    async def race(pair: Pair) -> str:
        made = await pair.ask()
        payment = await pair.begin_payment(made)
        # money takes longer to open a consultation than a cancellation to close it
        _, (status, told) = await asyncio.gather(
            pair.arrive(payment, 0), soon(pair.move(made, "cancel", pair.patient, 1), 0.06)
        )
        assert status == 200, told
        return made

    made = await each(field.pairs, race)
    # whichever came first, the money came and the consultation is off
    found = await _outcomes(field, made, {"cancelled": REFUNDED})
    both_won(c["waiting_since"] is None for c in found)


@pytest.mark.rule("C3", "M1")
async def test_a_payment_begun_at_the_moment_of_cancellation_is_closed(field: Field) -> None:
    async def race(pair: Pair) -> tuple[str, int]:
        made = await pair.ask()
        (begun, told), (cancelled, _) = await asyncio.gather(
            pair.move(made, "pay", pair.patient, 0),
            soon(pair.move(made, "cancel", pair.patient, 1), 0.004),
        )
        assert cancelled == 200
        assert begun == 200 or (begun, told["code"]) == (409, "conflict")
        return made, begun

    raced = await each(field.pairs[: TIMES // 2], race)
    made = [m for m, _ in raced]
    await settled(field, made)
    both_won(begun for _, begun in raced)
    async for payment in field.database["payments"].find({"consultation": {"$in": made}}):
        assert payment["state"] == CLOSED


@pytest.mark.rule("C4", "C2", "M2")
async def test_accept_at_the_moment_of_expiry(field: Field) -> None:
    places = asyncio.Semaphore(AT_ONCE)

    async def race(pair: Pair) -> tuple[str, int]:
        async with places:
            made = await pair.ask_and_pay()
            c = await field.database["consultations"].find_one({"_id": made})
        assert c is not None
        left = ACCEPTANCE_SECONDS - (datetime.now(UTC) - c["waiting_since"]).total_seconds()
        await asyncio.sleep(left + chance.uniform(*AROUND_SECONDS))
        status, told = await pair.move(made, "accept", pair.doctor, 1)
        assert status == 200 or (status, told["code"]) == (409, "conflict")
        return made, status

    raced = await asyncio.gather(*map(race, field.pairs))
    money = {"in_progress": KEPT, "expired": REFUNDED}
    found = await _outcomes(field, [made for made, _ in raced], money)
    both_won(c["state"] for c in found)
    for c, (_, status) in zip(found, raced, strict=True):
        closes_at = c["waiting_since"].timestamp() + ACCEPTANCE_SECONDS
        if status == 200:
            assert c["state"] == "in_progress"
            assert c["accepted_at"].timestamp() < closes_at
        else:
            assert c["state"] == "expired"
            assert c["ended_at"].timestamp() == pytest.approx(closes_at)
