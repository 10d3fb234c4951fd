"""What was acknowledged outlives a killed server, and a killed database with it (I1–I7, N1)."""

import asyncio
import os
import random
import signal
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from tests.command import wenzhen
from tests.scenarios.people import form
from tests.scenarios.records import database_of, read_whole
from tests.scenarios.talkers import Talker
from tests.scenarios.wire import SECONDS, Wire, load_rooms
from tests.server import ServerProcess

LEASE_SECONDS = 10
"""How long the effects of a killed process are left to it (storage/outbox.py)."""

chance = random.Random(20261122)  # noqa: S311  moments to kill at: the same in every run


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ServerProcess]:
    process = ServerProcess(tmp_path_factory.mktemp("durable") / "data", "--virtual-clock")
    try:
        await process.start()
        yield process
    finally:
        await process.close()


def kill_database(server: ServerProcess) -> None:
    pid = int((server.data / "mongodb" / "mongod.lock").read_text())
    os.kill(pid, signal.SIGKILL)


@pytest.mark.rule("R2", "S1")
async def test_nothing_acknowledged_is_lost_when_the_server_is_killed_under_load(
    server: ServerProcess, http: aiohttp.ClientSession
) -> None:
    rooms = await load_rooms(http, server.url, 3)
    talkers = [
        Talker(http, server.url, room[f"{role}_token"], room["room"], f"{role}-{device}")
        for room in rooms
        for role, device in (("patient", "phone"), ("patient", "tablet"), ("doctor", "desktop"))
    ]
    for life in range(4):
        await asyncio.gather(*(talker.enter() for talker in talkers))
        # everything since the beginning, whether it was acknowledged before the crash or not
        await asyncio.gather(*(talker.repeat() for talker in talkers))
        assert all(talker.receipts.keys() == talker.said.keys() for talker in talkers)
        if life < 3:
            await _kill_in_mid_talk(server, talkers)
            await server.start()
    assert not [talker.refused for talker in talkers if talker.refused]
    async with database_of(server) as database:
        for room in rooms:
            messages = await read_whole(database, room["room"])
            _check_receipts(messages, [t for t in talkers if t.room == room["room"]])
            await _check_resume(talkers, room["room"], [m.seq for m in messages])
    verified = await _run("record", "verify", rooms[0]["consultation"], "--data", str(server.data))
    assert "whole" in verified


async def _kill_in_mid_talk(server: ServerProcess, talkers: list[Talker]) -> None:
    """Kill it after some hundred answers, with as many messages on their way."""
    answers = iter(range(chance.randrange(100, 600)))

    def count() -> None:
        # at once: whoever wakes up later, on a busy machine, may find everything answered
        if next(answers, None) is None:
            os.kill(server.pid, signal.SIGKILL)

    await asyncio.gather(*(talker.talk(200, count) for talker in talkers))
    await server.kill9()
    assert any(talker.receipts.keys() != talker.said.keys() for talker in talkers)


def _check_receipts(messages: Iterable[Any], talkers: list[Talker]) -> None:
    stored = {(m.sender.role, m.client_id): m for m in messages}
    for talker in talkers:
        role = talker.name.partition("-")[0]
        kept = [stored[role, client_id] for client_id in talker.said]
        assert [m.receipt() for m in kept] == [talker.receipts[m.client_id] for m in kept]
        seqs = [m.seq for m in kept]
        assert seqs == sorted(seqs), f"{talker.name}'s order was lost"


async def _check_resume(talkers: list[Talker], room: str, seqs: list[int]) -> None:
    """Read the room again through the socket, from a random place to its end."""
    wire = next(talker.wire for talker in talkers if talker.room == room)
    assert wire is not None
    after = chance.randrange(len(seqs))
    got: list[int] = []
    more = True
    while more:
        last = got[-1] if got else after
        answer = await wire.ask("room:sync", {"room": room, "after_seq": last})
        got += [m["seq"] for m in answer["messages"]]
        more = answer["has_more"]
    assert got == seqs[after:]


@pytest.mark.rule("R2")
async def test_a_killed_database_loses_nothing_and_the_server_goes_on(
    server: ServerProcess, http: aiohttp.ClientSession
) -> None:
    (room,) = await load_rooms(http, server.url, 1)
    talkers = [
        Talker(http, server.url, room[f"{role}_token"], room["room"], f"{role}-d")
        for role in ("patient", "doctor")
    ]
    await asyncio.gather(*(talker.enter() for talker in talkers))
    talks = asyncio.gather(*(talker.talk(400) for talker in talkers))
    await asyncio.sleep(0)
    kill_database(server)
    await talks
    await asyncio.gather(*(talker.repeat() for talker in talkers))
    async with database_of(server) as database:
        messages = await read_whole(database, room["room"])
    assert len(messages) == 3 + 2 * 400


class Course:
    """A patient and a doctor who go through one consultation after another."""

    def __init__(self, http: aiohttp.ClientSession, url: str, room: dict[str, str]) -> None:
        self._http = http
        self._api = f"{url}/api/v1"
        self.tokens = {"patient": room["patient_token"], "doctor": room["doctor_token"]}
        self._first = room["consultation"]
        self._form: dict[str, Any] = {}

    async def ask(self, role: str, method: str, path: str, body: Any = None) -> Any:
        headers = {"Authorization": f"Bearer {self.tokens[role]}"}
        async with self._http.request(
            method, self._api + path, json=body, headers=headers
        ) as answer:
            assert answer.status < 300, (path, await answer.text())
            return await answer.json()

    async def prepare(self) -> None:
        doctor = (await self.ask("doctor", "GET", "/me"))["id"]
        person = (await self.ask("patient", "GET", "/people"))["items"][0]["id"]
        self._form = form(doctor, person)

    async def run(self) -> None:
        """Take step after step until the server is gone."""
        try:
            while True:
                (newest,) = (await self.ask("patient", "GET", "/consultations?limit=1"))["items"]
                await self._step(newest)
        except aiohttp.ClientError:
            return

    async def _step(self, newest: Any) -> None:
        match newest["state"]:
            case "awaiting_doctor":
                await self.ask("doctor", "POST", f"/consultations/{newest['id']}/accept")
            case "in_progress":
                await self.ask("patient", "POST", f"/consultations/{newest['id']}/end")
            case _:
                await self.ask("patient", "POST", "/consultations", self._form)

    async def all(self) -> list[Any]:
        page = await self.ask("patient", "GET", "/consultations?limit=100")
        assert page["cursor"] is None
        return list(page["items"])


LINES = {
    "awaiting_doctor": ["case", "温馨提示"],
    "in_progress": ["case", "温馨提示", "问诊已开始"],
    "ended": ["case", "温馨提示", "问诊已开始", "患者结束了问诊"],
}


@pytest.mark.rule("C10", "N1", "R2")
async def test_a_change_and_its_lines_survive_a_kill_between_them(
    server: ServerProcess, http: aiohttp.ClientSession
) -> None:
    courses = [Course(http, server.url, room) for room in await load_rooms(http, server.url, 6)]
    for course in courses:
        await course.prepare()
    left_over = 0
    for _ in range(3):
        runs = asyncio.gather(*(course.run() for course in courses))
        # no event marks the moments between a commit and its effects: any moment will do
        await asyncio.sleep(chance.uniform(0.2, 0.8))
        await server.kill9()
        await runs
        await server.start()
        async with database_of(server) as database:
            left_over += await database["outbox"].count_documents({})
    assert left_over, "no kill came between a change and its effects"
    await _finish_what_was_left(server, http)
    seen: Counter[str] = Counter()
    for course in courses:
        wire = await Wire.enter(http, server.url, course.tokens["patient"])
        for consultation in await course.all():
            seen[consultation["state"]] += 1
            room = {"room": consultation["room"], "after_seq": 0}
            found = (await wire.ask("room:sync", room))["messages"]
            said = [m["body"].get("card") or m["body"]["text"] for m in found]
            wanted = LINES[consultation["state"]]
            told = [line[: len(start)] for line, start in zip(said, wanted, strict=False)]
            assert told == wanted, (consultation["state"], said)
            assert len(said) == len(wanted), said
        await wire.close()
    assert seen["ended"] > len(courses)


async def _finish_what_was_left(server: ServerProcess, http: aiohttp.ClientSession) -> None:
    """Let the leases of the killed run out, and wait until nothing is left to do."""
    url = f"{server.url}/test/clock/advance"
    async with http.post(url, json={"seconds": 2 * LEASE_SECONDS}) as answer:
        assert answer.status == 200
    async with database_of(server) as database, asyncio.timeout(SECONDS):
        # another process's work has nothing to await: poll, bounded
        while await database["outbox"].count_documents({}):  # noqa: ASYNC110 - see above
            await asyncio.sleep(0.05)


async def _run(*words: str) -> str:
    code, out, err = await wenzhen(*words)
    assert code == 0, err
    return out
