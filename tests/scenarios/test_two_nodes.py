"""Two servers on one database: a room's members may be on either, and notice nothing of it."""

import asyncio
import os
import secrets
import signal
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from redis.asyncio import Redis

from realtime.secrets import MAKERS
from storage.database import Database
from storage.embedded_valkey import EmbeddedValkey
from tests.scenarios.people import PASSWORD, form, register
from tests.scenarios.records import read_whole
from tests.scenarios.talkers import Talker
from tests.scenarios.wire import SECONDS, Wire, load_rooms, log_in
from tests.server import ServerProcess

REVOKED_SECONDS = 5.0
OPENING_LINES = 3


@dataclass(frozen=True)
class Nodes:
    a: ServerProcess
    b: ServerProcess
    valkey: EmbeddedValkey
    database: Database


@dataclass(frozen=True)
class Room:
    id: str
    patient: str
    doctor: str
    """The members' tokens."""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def nodes(mongo_uri: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Nodes]:
    folder = tmp_path_factory.mktemp("nodes")
    name = f"nodes_{secrets.token_hex(4)}"
    valkey, database = EmbeddedValkey(), Database(mongo_uri, name)
    await valkey.start()
    a, b = (_node(folder / node, mongo_uri, name, valkey.url) for node in ("a", "b"))
    try:
        # at once: neither may mind that the other makes the same indexes and demo data
        await asyncio.gather(a.start(), b.start())
        yield Nodes(a, b, valkey, database)
    finally:
        await asyncio.gather(a.close(), b.close())
        await database.client.drop_database(name)
        await database.close()
        await valkey.stop()


KEYS = {f"WENZHEN_SECRET_{name.upper()}": make() for name, make in MAKERS.items()}


def _node(data: Path, mongo_uri: str, name: str, redis_url: str) -> ServerProcess:
    servers = {
        "WENZHEN_MONGODB__URI": mongo_uri,
        "WENZHEN_MONGODB__DATABASE": name,
        "WENZHEN_REDIS__URL": redis_url,
    }
    return ServerProcess(data, env={**KEYS, **servers})


@pytest_asyncio.fixture
async def room(nodes: Nodes, http: aiohttp.ClientSession) -> Room:
    (made,) = await load_rooms(http, nodes.a.url, 1)
    return Room(made["room"], made["patient_token"], made["doctor_token"])


class Doors:
    """Opens sockets on either node, and closes them after the test."""

    def __init__(self, http: aiohttp.ClientSession) -> None:
        self.http = http
        self._open: list[Wire] = []

    async def enter(self, node: ServerProcess, token: str) -> Wire:
        self._open.append(await Wire.enter(self.http, node.url, token))
        return self._open[-1]

    async def talker(self, node: ServerProcess, token: str, room: Room, name: str) -> Talker:
        talker = Talker(self.http, node.url, token, room.id, name)
        self._open.append(await talker.enter())
        return talker

    async def close(self) -> None:
        for wire in self._open:
            await wire.close()


@pytest_asyncio.fixture
async def doors(http: aiohttp.ClientSession) -> AsyncIterator[Doors]:
    doors = Doors(http)
    yield doors
    await doors.close()


def text(room: Room, client_id: str) -> dict[str, Any]:
    return {"room": room.id, "client_id": client_id, "kind": "text", "body": {"text": client_id}}


def called(client_id: str) -> Callable[[Any], bool]:
    return lambda message: bool(message["client_id"] == client_id)


async def heard_seqs(wire: Wire, count: int) -> list[int]:
    """Give the seqs of the messages a socket was told of, in the order of arrival."""
    return [message["seq"] for message in await wire.heard("message:new", count)]


@pytest.mark.rule("R2")
async def test_messages_cross_both_ways_in_the_order_of_the_room(
    nodes: Nodes, room: Room, doors: Doors
) -> None:
    patient = await doors.enter(nodes.a, room.patient)
    doctor = await doors.enter(nodes.b, room.doctor)
    for turn in range(20):
        speaker, listener = (patient, doctor) if turn % 2 else (doctor, patient)
        sent = await speaker.ask("message:send", text(room, f"t{turn}"))
        seen = await listener.event("message:new", called(f"t{turn}"))
        assert {k: seen[k] for k in ("id", "seq", "at")} == sent["message"]
        assert seen["seq"] == OPENING_LINES + 1 + turn


@pytest.mark.rule("R2", "R7")
async def test_every_socket_of_every_member_on_either_node_is_told(
    nodes: Nodes, room: Room, doors: Doors
) -> None:
    phone = await doors.enter(nodes.a, room.patient)
    others = [
        await doors.enter(node, token)
        for node in (nodes.a, nodes.b)
        for token in (room.patient, room.doctor)
    ]
    for i in range(10):
        await phone.ask("message:send", text(room, f"m{i}"))
    wanted = [OPENING_LINES + 1 + i for i in range(10)]
    for wire in others:
        assert await heard_seqs(wire, 10) == wanted
    # its own messages would have come before this answer
    await phone.ask("room:sync", {"room": room.id, "after_seq": 0})
    assert not [data for name, data in phone.events if name == "message:new"]


@pytest.mark.rule("R3", "R4", "R7")
async def test_typing_reading_and_recalling_cross_too(
    nodes: Nodes, room: Room, doors: Doors
) -> None:
    patient = await doors.enter(nodes.a, room.patient)
    doctor = await doors.enter(nodes.b, room.doctor)
    await patient.ask("typing:set", {"room": room.id, "on": True})
    assert (await doctor.event("typing"))["on"] is True
    sent = (await patient.ask("message:send", text(room, "oops")))["message"]
    await doctor.ask("message:read", {"room": room.id, "seq": sent["seq"]})
    assert (await patient.event("message:read"))["seq"] == sent["seq"]
    await patient.ask("message:recall", {"room": room.id, "seq": sent["seq"]})
    assert (await doctor.event("message:recalled"))["seq"] == sent["seq"]


@pytest.mark.rule("R2")
async def test_one_message_sent_on_both_nodes_at_once_is_one(
    nodes: Nodes, room: Room, doors: Doors
) -> None:
    phone, tablet = [await doors.enter(node, room.patient) for node in (nodes.a, nodes.b)]
    doctor = await doors.enter(nodes.b, room.doctor)
    for i in range(20):
        answers = await asyncio.gather(
            *(wire.ask("message:send", text(room, f"same{i}")) for wire in (phone, tablet))
        )
        assert answers[0]["ok"]
        assert answers[0] == answers[1]
    assert len(await read_whole(nodes.database, room.id)) == OPENING_LINES + 20
    assert len(await heard_seqs(doctor, 20)) == 20


@pytest.mark.rule("R2", "S1")
async def test_a_room_flooded_from_both_nodes_stays_one_dense_chain(
    nodes: Nodes, room: Room, doors: Doors
) -> None:
    watchers = [await doors.enter(node, room.doctor) for node in (nodes.a, nodes.b)]
    talkers = [
        await doors.talker(nodes.a, room.patient, room, "patient-a"),
        await doors.talker(nodes.b, room.patient, room, "patient-b"),
        await doors.talker(nodes.a, room.doctor, room, "doctor-a"),
        await doors.talker(nodes.b, room.doctor, room, "doctor-b"),
    ]
    await asyncio.gather(*(talker.talk(200) for talker in talkers))
    assert not [talker.refused for talker in talkers if talker.refused]
    messages = await read_whole(nodes.database, room.id)
    assert len(messages) == OPENING_LINES + 4 * 200
    for talker in talkers:
        seqs = [talker.receipts[client_id]["seq"] for client_id in talker.said]
        assert seqs == sorted(seqs)
    everything = [message.seq for message in messages[OPENING_LINES:]]
    for watcher in watchers:
        assert await heard_seqs(watcher, len(everything)) == everything


@pytest.mark.rule("R2")
async def test_who_comes_back_is_told_of_what_is_new_alone(
    nodes: Nodes, room: Room, doors: Doors
) -> None:
    patient = await doors.enter(nodes.a, room.patient)
    doctor = await doors.enter(nodes.b, room.doctor)
    await patient.ask("message:send", text(room, "first"))
    await doctor.event("message:new", called("first"))
    await doctor.close()
    for i in range(30):
        await patient.ask("message:send", text(room, f"missed{i}"))
    doctor = await doors.enter(nodes.b, room.doctor)
    # heard of so far: the three lines of the opening and the first message
    joined = await doctor.ask("room:join", {"room": room.id, "after_seq": OPENING_LINES + 1})
    assert [m["client_id"] for m in joined["messages"]] == [f"missed{i}" for i in range(30)]
    await patient.ask("message:send", text(room, "new"))
    await doctor.event("message:new", called("new"))
    assert await heard_seqs(doctor, 1) == [OPENING_LINES + 32]


class Hospital:
    """REST on either node, with a patient and a doctor of their own."""

    def __init__(self, http: aiohttp.ClientSession, nodes: Nodes, room: Room) -> None:
        self._http = http
        self._nodes = nodes
        self._room = room

    async def patient(self, method: str, path: str, body: Any = None) -> Any:
        return await self._ask(self._nodes.a, self._room.patient, method, path, body)

    async def doctor(self, method: str, path: str, body: Any = None) -> Any:
        return await self._ask(self._nodes.b, self._room.doctor, method, path, body)

    async def _ask(self, node: ServerProcess, token: str, method: str, path: str, body: Any) -> Any:
        headers = {"Authorization": f"Bearer {token}"}
        async with self._http.request(
            method, f"{node.url}/api/v1{path}", json=body, headers=headers
        ) as answer:
            assert answer.status < 300, await answer.text()
            return await answer.json()

    async def form(self) -> Any:
        person = (await self.patient("GET", "/people"))["items"][0]["id"]
        return form((await self.doctor("GET", "/me"))["id"], person)

    async def end(self) -> None:
        newest = (await self.patient("GET", "/consultations?limit=1"))["items"][0]
        await self.patient("POST", f"/consultations/{newest['id']}/end")


@pytest.mark.rule("C2", "C10")
async def test_accepted_on_both_nodes_at_once_it_is_accepted_once(
    nodes: Nodes, room: Room, doors: Doors
) -> None:
    hospital = Hospital(doors.http, nodes, room)
    wanted = await hospital.form()
    desks = [await doors.enter(node, room.doctor) for node in (nodes.a, nodes.b)]
    patient = await doors.enter(nodes.a, room.patient)
    for _ in range(5):
        await hospital.end()
        asked = await hospital.patient("POST", "/consultations", wanted)
        answers = await asyncio.gather(
            *(d.ask("consultation:accept", {"consultation": asked["id"]}) for d in desks)
        )
        assert sorted(answer["ok"] for answer in answers) == [False, True]
        refused = next(answer for answer in answers if not answer["ok"])
        assert refused["error"]["code"] == "conflict"
        assert await opening_lines(patient, asked["room"]) == ["case", "tips", "started"]


@pytest.mark.rule("C10")
async def test_a_doctor_quicker_than_the_case_card_finds_it_first_all_the_same(
    nodes: Nodes, room: Room, doors: Doors
) -> None:
    hospital = Hospital(doors.http, nodes, room)
    wanted = await hospital.form()
    patient = await doors.enter(nodes.a, room.patient)

    async def accept_at_once() -> None:
        while True:
            waiting = await hospital.doctor("GET", "/consultations?state=awaiting_doctor")
            for found in waiting["items"]:
                await hospital.doctor("POST", f"/consultations/{found['id']}/accept")
                return

    for _ in range(5):
        await hospital.end()
        async with asyncio.timeout(SECONDS):
            asked, _ = await asyncio.gather(
                hospital.patient("POST", "/consultations", wanted), accept_at_once()
            )
        assert await opening_lines(patient, asked["room"]) == ["case", "tips", "started"]


async def opening_lines(wire: Wire, room: str) -> list[str]:
    """Name a room's lines by the key under which the system wrote each."""
    answer = await wire.ask("room:sync", {"room": room, "after_seq": 0})
    return [message["client_id"].partition(":")[0] for message in answer["messages"]]


@pytest.mark.rule("A7", "A9")
async def test_a_session_ended_on_one_node_closes_its_sockets_on_the_other(
    nodes: Nodes, doors: Doors
) -> None:
    user = await register(nodes.a.url, doors.http)
    here, there, third = [await log_in(doors.http, nodes.a.url, user.phone) for _ in range(3)]
    kept, changed, left = [
        await doors.enter(nodes.b, grant["access_token"]) for grant in (here, there, third)
    ]
    await _post(doors.http, nodes.a, third, "/auth/logout")
    await asyncio.wait_for(asyncio.shield(left.closed), REVOKED_SECONDS)
    change = {"old_password": PASSWORD, "new_password": "new-2026", "confirm_password": "new-2026"}
    await _post(doors.http, nodes.a, here, "/me/password", change)
    await asyncio.wait_for(asyncio.shield(changed.closed), REVOKED_SECONDS)
    assert (await kept.ask("room:list", {}))["ok"]


async def _post(
    http: aiohttp.ClientSession, node: ServerProcess, grant: Any, path: str, body: Any = None
) -> None:
    headers = {"Authorization": f"Bearer {grant['access_token']}"}
    async with http.post(f"{node.url}/api/v1{path}", json=body, headers=headers) as answer:
        assert answer.status == 204, await answer.text()


@pytest.mark.rule("R2")
async def test_a_killed_valkey_loses_nothing_and_what_is_live_comes_back(
    nodes: Nodes, room: Room, doors: Doors
) -> None:
    watcher = await doors.enter(nodes.b, room.doctor)
    patient = await doors.talker(nodes.a, room.patient, room, "patient-a")
    doctor = await doors.talker(nodes.b, room.doctor, room, "doctor-b")
    await asyncio.gather(patient.talk(50), doctor.talk(50))
    talks = asyncio.gather(patient.talk(150), doctor.talk(150))
    async with Redis.from_url(nodes.valkey.url) as client:
        os.kill(int((await client.info("server"))["process_id"]), signal.SIGKILL)
    await talks
    assert not patient.refused + doctor.refused
    messages = await read_whole(nodes.database, room.id)
    assert len(messages) == OPENING_LINES + 2 * 200
    # told late of what was said while the nodes couldn't talk, but of all of it and in order
    everything = [message.seq for message in messages[OPENING_LINES:]]
    assert await heard_seqs(watcher, len(everything)) == everything
    await patient.talk(1)
    assert (await heard_seqs(watcher, len(everything) + 1))[-1] == messages[-1].seq + 1


@pytest.mark.rule("R2")
async def test_when_a_node_dies_its_people_go_on_at_the_other(
    nodes: Nodes, room: Room, doors: Doors
) -> None:
    watcher = await doors.enter(nodes.b, room.doctor)
    patient = await doors.talker(nodes.a, room.patient, room, "patient")
    some = asyncio.Event()
    talk = asyncio.create_task(patient.talk(1000, some.set))
    await some.wait()
    await nodes.a.kill9()
    await talk
    assert len(patient.receipts) < 1000
    moved = await patient.move_to(nodes.b.url)
    await patient.repeat()
    await patient.talk(50)
    await nodes.a.start()
    messages = await read_whole(nodes.database, room.id)
    assert [m.client_id for m in messages[OPENING_LINES:]] == list(patient.said)
    assert all(m.receipt() == patient.receipts[m.client_id] for m in messages[OPENING_LINES:])
    everything = [message.seq for message in messages[OPENING_LINES:]]
    assert await heard_seqs(watcher, len(everything)) == everything
    await moved.close()
