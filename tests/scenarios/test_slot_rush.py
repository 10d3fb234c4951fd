"""A thousand patients want one slot at once, on two servers: one gets it, again and again (B2)."""

import asyncio
import secrets
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from care.accounts import Account, Role
from care.people import Family, Person
from care.policy import Policy
from care.record import new_id
from companion.sessions import Sessions
from companion.tokens import AccessTokens, SigningKeys
from realtime.clock import SystemClock
from realtime.secrets import MAKERS, Secrets, parse
from realtime.stores import Stores
from storage.database import Database
from storage.embedded_valkey import EmbeddedValkey
from tests.scenarios.people import HUATUO, form, id_card
from tests.scenarios.wire import log_in
from tests.server import ServerProcess

TAKERS, ROUNDS = 1000, 20
MADE_AT_ONCE = 32
LIMIT_SECONDS = 180


@dataclass(frozen=True)
class Taker:
    url: str
    token: str
    person: str


@dataclass(frozen=True)
class Rush:
    http: aiohttp.ClientSession
    database: Database
    doctor: str
    slot: str
    takers: list[Taker]

    async def post(self, taker: Taker, path: str, body: Any) -> tuple[int, Any]:
        headers = {"Authorization": f"Bearer {taker.token}"}
        url = f"{taker.url}/api/v1{path}"
        async with self.http.post(url, json=body, headers=headers) as answer:
            return answer.status, await answer.json()

    async def take(self, taker: Taker) -> tuple[Taker, int, Any]:
        wanted = form(self.doctor, taker.person, mode="video", slot=self.slot)
        return taker, *await self.post(taker, "/bookings", wanted)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def rush(mongo_uri: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Rush]:
    folder, name = tmp_path_factory.mktemp("rush"), f"rush_{secrets.token_hex(4)}"
    valkey, database = EmbeddedValkey(), Database(mongo_uri, name)
    await valkey.start()
    values = {key: make() for key, make in MAKERS.items()}
    env = {f"WENZHEN_SECRET_{key.upper()}": value for key, value in values.items()} | {
        "WENZHEN_MONGODB__URI": mongo_uri,
        "WENZHEN_MONGODB__DATABASE": name,
        "WENZHEN_REDIS__URL": valkey.url,
    }
    a, b = (ServerProcess(folder / node, env=env) for node in ("a", "b"))
    connections = aiohttp.TCPConnector(limit=0)
    try:
        await asyncio.gather(a.start(), b.start())
        async with aiohttp.ClientSession(connector=connections) as http:
            takers = await _gather(Crowd(database, parse(values, {})), (a.url, b.url))
            yield await _choose(http, database, takers)
    finally:
        await asyncio.gather(a.close(), b.close())
        await database.client.drop_database(name)
        await database.close()
        await valkey.stop()


class Crowd:
    """Makes patients as the servers would, without the passwords that take most of the time."""

    def __init__(self, database: Database, keys: Secrets) -> None:
        policy = Policy()
        self._clock = SystemClock()
        self._stores = Stores(database, keys, self._clock, policy, "crowd")
        signing = SigningKeys(keys.jwt_keys, keys.jwt_current)
        tokens = AccessTokens(signing, self._stores.sessions, self._clock, policy.accounts)
        self._sessions = Sessions(
            self._stores.sessions, self._stores.accounts, tokens, self._clock, policy.accounts,
            lambda _session, _user: None,
        )  # fmt: skip

    async def taker(self, number: int, url: str) -> Taker:
        now = self._clock.now()
        account = Account(
            id=new_id(now), role=Role.PATIENT, name="患者", phone=f"198{number:08d}", created_at=now
        )
        await self._stores.accounts.add(account)
        person = Person(
            id=new_id(now), owner=account.id, name="炎帝", id_card=id_card("19900307", "041"),
            created_at=now,
        )  # fmt: skip
        nobody = Family(owner=account.id)
        assert await self._stores.people.replace(nobody, nobody.add(person, 1))
        granted = await self._sessions.open(account)
        return Taker(url, granted.access_token, person.id)


async def _gather(crowd: Crowd, urls: tuple[str, str]) -> list[Taker]:
    """Make the takers, half of them at each server."""
    places = asyncio.Semaphore(MADE_AT_ONCE)

    async def one(number: int) -> Taker:
        async with places:
            return await crowd.taker(number, urls[number % 2])

    return await asyncio.gather(*map(one, range(TAKERS)))


async def _choose(http: aiohttp.ClientSession, database: Database, takers: list[Taker]) -> Rush:
    """Choose a slot that costs something."""
    url = takers[0].url
    entered = await log_in(http, url, HUATUO)
    strip = f"{url}/api/v1/doctors/{entered['user']['id']}/slots?mode=video"
    headers = {"Authorization": f"Bearer {entered['access_token']}"}
    async with http.get(strip, headers=headers) as answer:
        date = (await answer.json())["items"][0]["date"]
    async with http.get(f"{strip}&date={date}", headers=headers) as answer:
        slot = (await answer.json())["items"][0]["id"]
    return Rush(http, database, entered["user"]["id"], slot, takers)


@pytest.mark.rule("B2", "B3")
async def test_of_a_thousand_takers_one_gets_the_slot(rush: Rush) -> None:
    async with asyncio.timeout(LIMIT_SECONDS):
        for n in range(ROUNDS):
            answers = await asyncio.gather(*(rush.take(taker) for taker in rush.takers))
            assert Counter(status for _, status, _ in answers) == {201: 1, 409: TAKERS - 1}, n
            refusals = {(body["code"], body["detail"]) for _, s, body in answers if s == 409}
            assert refusals == {("conflict", "该时段已被预约")}
            ((winner, _, booking),) = [answer for answer in answers if answer[1] == 201]
            assert booking["state"] == "held"
            assert await rush.database["slots"].distinct("consultation") == [booking["id"]]
            # the next round takes what this one lets go
            status, left = await rush.post(winner, f"/bookings/{booking['id']}/cancel", {})
            assert (status, left["state"]) == (200, "cancelled")
    assert await rush.database["slots"].count_documents({}) == 0
    booked = {"slot": {"$ne": None}}
    assert await rush.database["consultations"].count_documents(booked) == ROUNDS
