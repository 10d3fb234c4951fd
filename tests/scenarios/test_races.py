"""Two servers, one consultation, two wishes at once: one comes true, the other is a conflict."""

import asyncio
import random
import secrets
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

import aiohttp
import pytest
import pytest_asyncio

from realtime.secrets import MAKERS
from storage.database import Database, Document
from storage.embedded_valkey import EmbeddedValkey
from tests.scenarios.people import form
from tests.scenarios.records import read_whole
from tests.scenarios.wire import load_rooms
from tests.server import ServerProcess

TIMES = 200
AT_ONCE = 16
ACCEPTANCE_SECONDS = 6
AROUND_SECONDS = (-0.6, 0.2)
"""When an acceptance is sent, from the deadline: mostly before the servers next look."""
SETTLE_SECONDS = 30
REFUNDED, KEPT, CLOSED = "refunded", "paid", "closed"

Answer = tuple[int, Any]
T = TypeVar("T")
R = TypeVar("R")

chance = random.Random(20261123)  # noqa: S311  who begins, and when: no secret


@dataclass(frozen=True)
class Pair:
    """A patient and a doctor whose consultations cost something; no other has to do with them."""

    http: aiohttp.ClientSession
    urls: tuple[str, str]
    patient: str
    doctor: str
    doctor_id: str
    person: str

    async def post(self, path: str, token: str, node: int = 0, **body: Any) -> Answer:
        headers = {"Authorization": f"Bearer {token}"}
        url = f"{self.urls[node]}/api/v1{path}"
        async with self.http.post(url, json=body, headers=headers) as answer:
            return answer.status, await answer.json()

    async def move(self, made: str, action: str, token: str, node: int, **body: Any) -> Answer:
        return await self.post(f"/consultations/{made}/{action}", token, node, **body)

    async def ask(self) -> str:
        wanted = form(self.doctor_id, self.person)
        status, made = await self.post("/consultations", self.patient, **wanted)
        assert status == 201, made
        return str(made["id"])

    async def begin_payment(self, made: str) -> str:
        status, begun = await self.move(made, "pay", self.patient, 0)
        assert status == 200, begun
        return str(begun["payment"]["id"])

    async def arrive(self, payment: str, node: int = 0) -> None:
        """Let the money arrive."""
        status, told = await self.post(f"/payments/sandbox/{payment}/succeed", "", node)
        assert status == 200, told

    async def ask_and_pay(self) -> str:
        made = await self.ask()
        await self.arrive(await self.begin_payment(made))
        return made


@dataclass(frozen=True)
class Field:
    database: Database
    pairs: list[Pair]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def field(mongo_uri: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Field]:
    folder, name = tmp_path_factory.mktemp("races"), f"races_{secrets.token_hex(4)}"
    valkey, database = EmbeddedValkey(), Database(mongo_uri, name)
    await valkey.start()
    env = {f"WENZHEN_SECRET_{key.upper()}": make() for key, make in MAKERS.items()} | {
        "WENZHEN_MONGODB__URI": mongo_uri,
        "WENZHEN_MONGODB__DATABASE": name,
        "WENZHEN_REDIS__URL": valkey.url,
        "WENZHEN_CONSULTATIONS__ACCEPTANCE_SECONDS": str(ACCEPTANCE_SECONDS),
    }
    a, b = (ServerProcess(folder / node, env=env) for node in ("a", "b"))
    try:
        await asyncio.gather(a.start(), b.start())
        async with aiohttp.ClientSession() as http:
            yield Field(database, await _pairs(http, (a.url, b.url), database))
    finally:
        await asyncio.gather(a.close(), b.close())
        await database.client.drop_database(name)
        await database.close()
        await valkey.stop()


async def _pairs(
    http: aiohttp.ClientSession, urls: tuple[str, str], database: Database
) -> list[Pair]:
    """Have people made, take away what they were made with, and give each doctor a price."""
    loads = await asyncio.gather(*(load_rooms(http, url, TIMES // 4) for url in urls * 2))
    rooms = [room for load in loads for room in load]
    consultations = database["consultations"]
    ids: Document = {"_id": {"$in": [room["consultation"] for room in rooms]}}
    made = {c["_id"]: c async for c in consultations.find(ids)}
    pairs = []
    for room in rooms:
        c = made[room["consultation"]]
        tokens = room["patient_token"], room["doctor_token"]
        pairs.append(Pair(http, urls, *tokens, c["doctor"]["id"], c["person"]["id"]))
    await consultations.delete_many(ids)
    doctors: Document = {"_id": {"$in": [pair.doctor_id for pair in pairs]}}
    await database["doctors"].update_many(doctors, {"$set": {"prices.text": 100}})
    return pairs


async def _each(items: Iterable[T], work: Callable[[T], Awaitable[R]]) -> list[R]:
    places = asyncio.Semaphore(AT_ONCE)

    async def one(item: T) -> R:
        async with places:
            return await work(item)

    return list(await asyncio.gather(*map(one, items)))


async def _soon(wish: Awaitable[T], within: float = 0.01) -> T:
    """Let a wish go at some moment, so that it isn't always the same that comes first."""
    await asyncio.sleep(chance.random() * within)
    return await wish


async def _race(first: Awaitable[Answer], second: Awaitable[Answer]) -> tuple[int, int]:
    """Let both wishes go at once; exactly one must come true, the other meets a conflict."""
    (one, told), (other, also_told) = await asyncio.gather(_soon(first), _soon(second))
    assert sorted([one, other]) == [200, 409], (told, also_told)
    assert (also_told if one == 200 else told)["code"] == "conflict"
    return one, other


async def _settled(field: Field, made: Iterable[str]) -> None:
    """Wait until the clock closed what it must, and every effect was carried out."""
    undecided = ["awaiting_payment", "awaiting_doctor"]
    waiting: Document = {"_id": {"$in": list(made)}, "state": {"$in": undecided}}
    consultations, outbox = field.database["consultations"], field.database["outbox"]
    async with asyncio.timeout(SETTLE_SECONDS):
        while await consultations.find_one(waiting) or await outbox.find_one({}):  # noqa: ASYNC110  other processes
            await asyncio.sleep(0.1)


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
    await _settled(field, made)
    found = await _each(made, lambda m: _outcome(field, m, money))
    ended: Counter[str] = Counter()
    async for c in field.database["consultations"].find({"state": "ended"}):
        ended[c["doctor"]["id"]] += 1
    ours = {"_id": {"$in": [pair.doctor_id for pair in field.pairs]}}
    async for doctor in field.database["doctors"].find(ours):
        assert doctor["consultation_count"] == ended[doctor["_id"]]
    return found


def _both_won(outcomes: Iterable[Any]) -> None:
    """Check that it was a race: in all of it each side came first at least sometimes."""
    won = Counter(outcomes)
    assert len(won) == 2, won


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

    raced = await _each(field.pairs, race)
    _both_won(accepted for _, accepted in raced)
    money = {"declined": REFUNDED, "ended": KEPT}
    found = await _outcomes(field, [made for made, _ in raced], money)
    _both_won(c["state"] for c in found)


@pytest.mark.rule("C3", "M1", "M2")
async def test_money_that_arrives_at_the_moment_of_cancellation_goes_back(field: Field) -> None:
    async def race(pair: Pair) -> str:
        made = await pair.ask()
        payment = await pair.begin_payment(made)
        # money takes longer to open a consultation than a cancellation to close it
        _, (status, told) = await asyncio.gather(
            pair.arrive(payment, 0), _soon(pair.move(made, "cancel", pair.patient, 1), 0.06)
        )
        assert status == 200, told
        return made

    made = await _each(field.pairs, race)
    # whichever came first, the money came and the consultation is off
    found = await _outcomes(field, made, {"cancelled": REFUNDED})
    _both_won(c["waiting_since"] is None for c in found)


@pytest.mark.rule("C3", "M1")
async def test_a_payment_begun_at_the_moment_of_cancellation_is_closed(field: Field) -> None:
    async def race(pair: Pair) -> tuple[str, int]:
        made = await pair.ask()
        (begun, told), (cancelled, _) = await asyncio.gather(
            pair.move(made, "pay", pair.patient, 0),
            _soon(pair.move(made, "cancel", pair.patient, 1), 0.004),
        )
        assert cancelled == 200
        assert begun == 200 or (begun, told["code"]) == (409, "conflict")
        return made, begun

    raced = await _each(field.pairs[: TIMES // 2], race)
    made = [m for m, _ in raced]
    await _settled(field, made)
    _both_won(begun for _, begun in raced)
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
    _both_won(c["state"] for c in found)
    for c, (_, status) in zip(found, raced, strict=True):
        closes_at = c["waiting_since"].timestamp() + ACCEPTANCE_SECONDS
        if status == 200:
            assert c["state"] == "in_progress"
            assert c["accepted_at"].timestamp() < closes_at
        else:
            assert c["state"] == "expired"
            assert c["ended_at"].timestamp() == pytest.approx(closes_at)
