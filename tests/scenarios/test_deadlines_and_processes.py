"""A clock that runs out while no server runs, or while two do (C3, C4, C6)."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from care.record import read_time
from realtime.secrets import MAKERS
from storage.database import Database
from storage.embedded_valkey import EmbeddedValkey
from tests.scenarios.people import HUATUO, User, ask, enter, pay, register
from tests.scenarios.records import database_of, read_whole
from tests.scenarios.views import CLOSED, lines, shown, templates
from tests.scenarios.wire import Wire, load_rooms
from tests.server import ServerProcess

PAYMENT_SECONDS, ACCEPTANCE_SECONDS, REPLY_SECONDS = 6, 8, 25
CLOSING_SECONDS = 30.0
"""A lease of ten seconds that a killed server left must run out first."""
ROOMS = 40
"""So many that one server is still closing them when the other looks, too."""
CONNECTING_SECONDS = 60
"""In which all are made and connected, on a busy machine too."""
LEAD = timedelta(seconds=2)


async def passed(deadline: datetime) -> None:
    """Let the real clock pass a deadline."""
    await asyncio.sleep((deadline - datetime.now(UTC)).total_seconds())


async def closed(user: User, consultation: str) -> Any:
    """Wait until a server that has just started closed it; no socket is there to be told."""
    async with asyncio.timeout(CLOSING_SECONDS):
        while (now := await shown(user, consultation))["state"] not in CLOSED:  # noqa: ASYNC110  another process's doing
            await asyncio.sleep(0.1)
    return now


def closes_alike(before: Any, after: Any) -> bool:
    return bool(
        (after["closed_reason"]["at"], after["closed_reason"]["because"], after["ended_at"])
        == (before["closes_at"], before["closes_because"], before["closes_at"])
    )


@pytest.mark.rule("C2", "C3", "C4", "C6", "C12", "M2")
async def test_what_ran_out_while_the_server_was_down_is_closed_once_at_its_own_time(
    tmp_path: Path, http: aiohttp.ClientSession
) -> None:
    server = ServerProcess(
        tmp_path / "data",
        env={
            "WENZHEN_CONSULTATIONS__PAYMENT_SECONDS": str(PAYMENT_SECONDS),
            "WENZHEN_CONSULTATIONS__ACCEPTANCE_SECONDS": str(ACCEPTANCE_SECONDS),
            "WENZHEN_CONSULTATIONS__REPLY_SECONDS": str(REPLY_SECONDS),
        },
    )
    try:
        await server.start()
        doctor = await enter(server.url, http, HUATUO)
        patients = [await register(server.url, http) for _ in range(3)]
        talker, waiter, debtor = patients
        asked = [(await ask(patient, doctor))["id"] for patient in patients]
        for patient, consultation in zip(patients[:2], asked, strict=False):
            await pay(patient, consultation)
        await doctor.post(f"/consultations/{asked[0]}/accept")
        talk, wait, debt = [
            await shown(patient, c) for patient, c in zip(patients, asked, strict=True)
        ]
        await server.stop()
        await passed(max(read_time(c["closes_at"]) for c in (wait, debt)))
        await server.start()
        assert closes_alike(wait, await closed(waiter, wait["id"]))
        assert closes_alike(debt, await closed(debtor, debt["id"]))
        still = await shown(talker, talk["id"])
        assert (still["state"], still["closes_at"]) == ("in_progress", talk["closes_at"])
        await server.kill9()
        await passed(read_time(talk["closes_at"]))
        await server.start()
        assert closes_alike(talk, await closed(talker, talk["id"]))
        # another start finds nothing left to do
        await server.restart()
        async with database_of(server) as database:
            await everything_carried_out(database)
        for patient, before, money in [
            (talker, talk, "refunded"), (waiter, wait, "refunded"), (debtor, debt, None),
        ]:  # fmt: skip
            await closed_once(patient, before, money)
        await doctor.close()
    finally:
        await server.close()


async def closed_once(patient: User, before: Any, money: str | None) -> None:
    after = await shown(patient, before["id"])
    assert closes_alike(before, after)
    assert (after["payment"] and after["payment"]["state"]) == money
    told = await templates(patient)
    refused, refunded = told.count("consultation_refused"), told.count("refunded")
    assert (refused, refunded) == ((1, 1) if money else (0, 0)), told
    if money:
        await patient.client.connect()
        room = await lines(patient, before["room"])
        assert [m["body"].get("text") for m in room].count(after["closed_reason"]["text"]) == 1
        await patient.close()


@dataclass(frozen=True)
class Two:
    urls: tuple[str, str]
    database: Database


@pytest_asyncio.fixture
async def two(mongo_uri: str, tmp_path: Path) -> AsyncIterator[Two]:
    valkey, database = EmbeddedValkey(), Database(mongo_uri, f"two_{secrets.token_hex(4)}")
    await valkey.start()
    env = {f"WENZHEN_SECRET_{key.upper()}": make() for key, make in MAKERS.items()} | {
        "WENZHEN_MONGODB__URI": mongo_uri,
        "WENZHEN_MONGODB__DATABASE": database.db.name,
        "WENZHEN_REDIS__URL": valkey.url,
        "WENZHEN_CONSULTATIONS__REPLY_SECONDS": str(CONNECTING_SECONDS),
    }
    a, b = (ServerProcess(tmp_path / node, env=env) for node in ("a", "b"))
    try:
        await asyncio.gather(a.start(), b.start())
        yield Two((a.url, b.url), database)
    finally:
        await asyncio.gather(a.close(), b.close())
        await database.client.drop_database(database.db.name)
        await database.close()
        await valkey.stop()


@pytest.mark.rule("C6", "C2", "N1")
async def test_of_two_servers_that_see_a_clock_run_out_one_closes(two: Two) -> None:
    # a socket for each member on each server is more than aiohttp would open by itself
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
        await _one_closes(two, http)


async def _one_closes(two: Two, http: aiohttp.ClientSession) -> None:
    rooms = await load_rooms(http, two.urls[0], ROOMS)
    wires = [
        (room, await Wire.enter(http, url, room[token]))
        for room in rooms
        for url in two.urls
        for token in ("patient_token", "doctor_token")
    ]
    await run_out_at(two.database, datetime.now(UTC) + LEAD)
    for _, wire in wires:
        await wire.event("consultation:updated", lambda c: c["state"] == "expired")
        await wire.event("message:new", lambda m: m["client_id"].startswith("closed:"))
    await everything_carried_out(two.database)
    for room, wire in wires:
        # what was pushed twice would have come before this answer
        await wire.ask("room:sync", {"room": room["room"], "after_seq": 0})
        heard = [data for name, data in wire.events if name == "consultation:updated"]
        assert [c["state"] for c in heard].count("expired") == 1
        await wire.close()
    notices = two.database["notices"]
    for room in rooms:
        record = await two.database["consultations"].find_one({"_id": room["consultation"]})
        assert record is not None
        assert record["ended_at"] == record["closed_reason"]["at"]
        written = [m.client_id for m in await read_whole(two.database, room["room"])]
        assert [line for line in written if line.startswith("closed:")] == written[-1:]
        refusals = {"user": record["patient"], "template": "consultation_refused"}
        assert await notices.count_documents(refusals) == 1


async def run_out_at(database: Database, at: datetime) -> None:
    """Let all have been accepted at one moment, so that their clocks run out at one."""
    accepted = at - timedelta(seconds=CONNECTING_SECONDS)
    times = {"accepted_at": accepted, "check_at": at}
    await database["consultations"].update_many({"open": True}, {"$set": times})


async def everything_carried_out(database: Database) -> None:
    async with asyncio.timeout(CLOSING_SECONDS):
        while await database["outbox"].find_one({}):  # noqa: ASYNC110  other processes' doing
            await asyncio.sleep(0.1)
