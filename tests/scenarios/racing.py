"""What races have in common: two servers on one database, and pairs of people who pay."""

import asyncio
import random
import secrets
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

import aiohttp
import pytest
import pytest_asyncio

from realtime.secrets import MAKERS
from storage.database import Database, Document
from storage.embedded_valkey import EmbeddedValkey
from tests.scenarios.people import form
from tests.scenarios.wire import load_rooms
from tests.server import ServerProcess

TIMES = 200
AT_ONCE = 16
ACCEPTANCE_SECONDS = 6
"""For the races of acceptances, whose module imports it; others aren't to run out on the way."""
LONG_SECONDS = 600
TRANSFER_SECONDS = 8
AROUND_SECONDS = (-0.6, 0.2)
"""When an answer is sent, from its deadline: mostly before the servers next look."""
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
async def field(
    mongo_uri: str, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> AsyncIterator[Field]:
    acceptance = getattr(request.module, "ACCEPTANCE_SECONDS", LONG_SECONDS)
    folder, name = tmp_path_factory.mktemp("races"), f"races_{secrets.token_hex(4)}"
    valkey, database = EmbeddedValkey(), Database(mongo_uri, name)
    await valkey.start()
    env = {f"WENZHEN_SECRET_{key.upper()}": make() for key, make in MAKERS.items()} | {
        "WENZHEN_MONGODB__URI": mongo_uri,
        "WENZHEN_MONGODB__DATABASE": name,
        "WENZHEN_REDIS__URL": valkey.url,
        "WENZHEN_CONSULTATIONS__ACCEPTANCE_SECONDS": str(acceptance),
        "WENZHEN_CONSULTATIONS__TRANSFER_SECONDS": str(TRANSFER_SECONDS),
    }
    a, b = (ServerProcess(folder / node, env=env) for node in ("a", "b"))
    try:
        await asyncio.gather(a.start(), b.start())
        # a socket holds its connection, so a limit on them would have wishes wait for wires
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
            yield Field(database, await pairs(http, (a.url, b.url), database))
    finally:
        await asyncio.gather(a.close(), b.close())
        await database.client.drop_database(name)
        await database.close()
        await valkey.stop()


async def pairs(
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


async def each(items: Iterable[T], work: Callable[[T], Awaitable[R]]) -> list[R]:
    places = asyncio.Semaphore(AT_ONCE)

    async def one(item: T) -> R:
        async with places:
            return await work(item)

    return list(await asyncio.gather(*map(one, items)))


async def soon(wish: Awaitable[T], within: float = 0.01) -> T:
    """Let a wish go at some moment, so that it isn't always the same that comes first."""
    await asyncio.sleep(chance.random() * within)
    return await wish


async def settled(field: Field, made: Iterable[str]) -> None:
    """Wait until the clock closed what it must, and every effect was carried out."""
    undecided = ["awaiting_payment", "awaiting_doctor"]
    waiting: Document = {"_id": {"$in": list(made)}, "state": {"$in": undecided}}
    consultations, outbox = field.database["consultations"], field.database["outbox"]
    async with asyncio.timeout(SETTLE_SECONDS):
        while await consultations.find_one(waiting) or await outbox.find_one({}):  # noqa: ASYNC110  other processes
            await asyncio.sleep(0.1)


def both_won(outcomes: Iterable[Any]) -> None:
    """Check that it was a race: in all of it each side came first at least sometimes."""
    won = Counter(outcomes)
    assert len(won) == 2, won
