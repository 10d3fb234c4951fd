"""The server is killed at each step of a payment and of a refund; the money agrees afterwards."""

import asyncio
import secrets
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from dataclasses import dataclass
from functools import partial

import pytest
import pytest_asyncio

from realtime.secrets import MAKERS
from storage.database import Database
from storage.embedded import TRANSACTION_SECONDS
from tests.scenarios.crashing import (
    AROUND_SECONDS,
    PAID,
    STAND_SECONDS,
    Case,
    at_some_moment,
    chance,
    survive,
)
from tests.scenarios.people import OPERATOR, enter
from tests.scenarios.test_payments import Till, open_till

KILLS = 20
LEASE_SECONDS = 10
"""How long what a killed process held is left to it (storage/outbox.py)."""
ASK_SECONDS = 61
"""When a provider is first asked for a notification that didn't come."""
STRIDE_SECONDS = 200.0
"""The clock's steps: WeChat accepts no request from further off than five minutes."""
SETTLE_SECONDS = 20.0
POLL_SECONDS = 0.2

Step = AsyncGenerator[None, None]
"""Runs to where the consultation is to stand; then until the kill; then, after the restart, what
clients and WeChat do again."""


async def prepay(case: Case, *, booked: bool) -> Step:
    """WeChat has the order, or will never have it; we have no answer."""
    case.wanted = PAID
    await case.ask()
    hold = case.till.standin.hold("jsapi", case.order, booked=booked)
    case.leave(case.begin_payment())
    await asyncio.wait_for(hold.reached.wait(), STAND_SECONDS)
    yield
    yield
    assert (case.order in case.till.standin.orders) == booked
    await case.begin_payment()
    case.till.standin.pay(case.order)
    await case.tell_paid()


async def payment_notified(case: Case) -> Step:
    """The notification is being handled; it comes again, or never."""
    case.wanted = PAID
    await case.pay()
    yield
    await at_some_moment()
    answered = await survive(case.tell_paid())
    yield
    if not answered and chance.randrange(2):
        await case.tell_paid()


async def payment_notified_in_vain(case: Case) -> Step:
    """The only notification comes while the server is down."""
    case.wanted = PAID
    await case.pay()
    yield
    await case.crashed.wait()
    assert not await survive(case.tell_paid())
    yield


async def payment_acknowledged(case: Case) -> Step:
    """WeChat has its 204 and will not tell again."""
    case.wanted = PAID
    await case.pay()
    yield
    await asyncio.sleep(AROUND_SECONDS / 2)
    if await survive(case.tell_paid()):
        case.ready.set()
    yield


async def refund(case: Case, *, booked: bool) -> Step:
    """WeChat has given the money back, or will never hear of it; we have no answer."""
    await case.paid()
    await case.close_until(booked=booked)
    yield
    yield


async def refund_answered(case: Case) -> Step:
    """WeChat's answer is out; our own note may be."""
    await case.paid()
    hold = await case.close_until(booked=True)
    yield
    await at_some_moment()
    hold.released.set()
    yield


async def closing_acknowledged(case: Case) -> Step:
    """The closing was answered while WeChat took no refund."""
    await case.paid()
    hold = case.till.standin.hold("refunds", case.order, booked=False)
    hold.released.set()
    await case.close()
    yield
    yield


async def closing(case: Case) -> Step:
    await case.paid()
    yield
    await at_some_moment()
    await survive(case.close())
    yield
    if (await case.look())["state"] == "awaiting_doctor":
        await case.close()


async def expired(case: Case) -> Step:
    """Its deadline closed it; nobody asked for that, so nobody asks again."""
    await case.paid()
    hold = case.till.standin.hold("refunds", case.order, booked=bool(chance.randrange(2)))
    await case.till.doctor.post(f"/consultations/{case.consultation['id']}/accept")
    await asyncio.wait_for(hold.reached.wait(), STAND_SECONDS)
    yield
    yield


async def refund_notified(case: Case) -> Step:
    await case.paid()
    await case.refund_slowly()
    yield
    await at_some_moment()
    answered = await survive(case.tell_refunded())
    yield
    if not answered:
        await case.tell_refunded()


async def refund_noted(case: Case) -> Step:
    """Our note of the refund is written, its notice is not, or just."""
    await case.paid()
    await case.refund_slowly()
    yield
    await asyncio.sleep(AROUND_SECONDS / 2)
    case.leave(case.tell_refunded())
    await case.until_noted("refunded")
    case.ready.set()
    yield


async def refund_notified_in_vain(case: Case) -> Step:
    """The only notification comes while the server is down."""
    await case.paid()
    await case.refund_slowly()
    yield
    await case.crashed.wait()
    assert not await survive(case.tell_refunded())
    yield


STEPS: list[Callable[[Case], Step]] = [
    partial(prepay, booked=False),
    partial(prepay, booked=True),
    payment_notified,
    payment_notified_in_vain,
    payment_acknowledged,
    payment_acknowledged,
    partial(refund, booked=False),
    partial(refund, booked=True),
    refund_answered,
    closing_acknowledged,
    closing,
    expired,
    refund_notified,
    refund_noted,
    refund_noted,
    refund_notified_in_vain,
]
KILLED_AT = ((payment_acknowledged, asyncio.ALL_COMPLETED), (refund_noted, asyncio.FIRST_COMPLETED))
"""By turns, what the kill follows upon: with two of each, either is met as often as the others."""


@dataclass
class Hall:
    till: Till
    database: Database
    cases: list[Case]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def hall(mongo_uri: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Hall]:
    name = f"crashes_{secrets.token_hex(4)}"
    database = Database(mongo_uri, name)
    env = {f"WENZHEN_SECRET_{key.upper()}": make() for key, make in MAKERS.items()} | {
        "WENZHEN_MONGODB__URI": mongo_uri,
        "WENZHEN_MONGODB__DATABASE": name,
        "WENZHEN_CONSULTATIONS__REPLY_SECONDS": "1",
    }
    try:
        await _limit_transactions(database, 1)
        async with open_till(tmp_path_factory.mktemp("crashes"), env=env) as till:
            operator = await enter(till.server.url, till.http, OPERATOR)
            cases = await asyncio.gather(*(Case.of(till, database, operator) for _ in STEPS))
            yield Hall(till, database, cases)
            till.standin.let_go()
    finally:
        await _limit_transactions(database, TRANSACTION_SECONDS)
        await database.client.drop_database(name)
        await database.close()


async def _limit_transactions(database: Database, seconds: int) -> None:
    """Set how long a killed server's transactions keep others from what they wrote."""
    await database.client.admin.command("setParameter", 1, transactionLifetimeLimitSeconds=seconds)


@pytest.mark.rule("M1", "M2", "N1", "N2")
async def test_after_a_kill_at_any_step_money_states_and_notices_agree(hall: Hall) -> None:
    left: Counter[str] = Counter()
    for kill in range(KILLS):
        await asyncio.gather(*(case.begin() for case in hall.cases))
        steps = [step(case) for step, case in zip(STEPS, hall.cases, strict=True)]
        await asyncio.gather(*(case.connect() for case in hall.cases[kill % 2 :: 2]))
        await asyncio.gather(*(anext(step) for step in steps))

        await _kill(hall, steps, *KILLED_AT[kill % 2])
        left += await _left_undone(hall)
        await _return(hall)
        await asyncio.gather(*(anext(step, None) for step in steps))

        await _settle(hall)
        await _give_the_rest_back(hall)
    await hall.till.advance(ASK_SECONDS)
    for case in hall.cases:
        await case.check_all(KILLS)
    # the kills came where they were meant to: before a refund's notice, and amid other effects
    assert left["told of nothing"] >= KILLS / 4, left
    assert left["effects"] >= KILLS, left


async def _kill(hall: Hall, steps: list[Step], asking: Callable[[Case], Step], when: str) -> None:
    """Kill the server as soon as the steps that ask for it are there."""
    going_on = [asyncio.ensure_future(anext(step)) for step in steps]
    ready = [
        asyncio.ensure_future(case.ready.wait())
        for step, case in zip(STEPS, hall.cases, strict=True)
        if step is asking
    ]
    done, waiting = await asyncio.wait(ready, timeout=STAND_SECONDS, return_when=when)
    assert done, "no step came to its end"
    await hall.till.server.kill9()
    for case in hall.cases:
        case.crashed.set()
    for never in waiting:
        never.cancel()
    await asyncio.gather(*going_on, *(task for case in hall.cases for task in case.left))
    hall.till.standin.let_go()


async def _left_undone(hall: Hall) -> Counter[str]:
    """Count what the killed server had begun and not finished."""
    refunded = hall.database["payments"].find({"state": "refunded"})
    payers = Counter([p["payer"] async for p in refunded])
    told = hall.database["notices"].find({"template": "refunded"})
    payers.subtract([n["user"] async for n in told])
    effects = await hall.database["outbox"].count_documents({})
    return Counter({"told of nothing": payers.total(), "effects": effects})


async def _return(hall: Hall) -> None:
    """Start the server again at the hospital's time, past the leases of the killed one."""
    ahead, hall.till.time.ahead = hall.till.time.ahead + LEASE_SECONDS + 1, 0.0
    await hall.till.server.start()
    while (missing := ahead - hall.till.time.ahead) > 0:
        await hall.till.advance(min(missing, STRIDE_SECONDS))
    await asyncio.gather(*(case.connect() for case in hall.cases if case.wires))


async def _settle(hall: Hall) -> None:
    """Let time pass until all is done, and check each."""
    await asyncio.gather(*(case.look() for case in hall.cases))
    await hall.till.advance(ASK_SECONDS)
    waited = 0.0
    while unsettled := await _unsettled(hall):
        assert waited < SETTLE_SECONDS, unsettled
        # another process's work has nothing to await: poll, bounded
        await asyncio.sleep(POLL_SECONDS)
        await hall.till.advance(LEASE_SECONDS)
        waited += POLL_SECONDS
    await asyncio.gather(*(case.check() for case in hall.cases))


async def _unsettled(hall: Hall) -> list[str]:
    payments = hall.database["payments"].find(
        {"consultation": {"$in": [case.consultation["id"] for case in hall.cases]}}
    )
    states = {p["consultation"]: p["state"] async for p in payments}
    money = [
        f"{step}: {state}, not {case.wanted}"
        for step, case in zip(STEPS, hall.cases, strict=True)
        if (state := states.get(case.consultation["id"])) != case.wanted
    ]
    return money + [str(row["_id"]) async for row in hall.database["outbox"].find()]


async def _give_the_rest_back(hall: Hall) -> None:
    """Close what was paid and is open: also after a crash its money goes back once."""
    await asyncio.gather(*(case.close() for case in hall.cases if case.wanted == PAID))
