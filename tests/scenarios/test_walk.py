"""A whole walk through the hospital: nobody's number is told, every answer is as described.

After it, everything that can be asked for with GET is asked for by everybody.
"""

import json
import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

import aiohttp
import jsonschema_rs
import pytest
import pytest_asyncio

from companion.demo import read_data
from storage.database import Document
from tests.scenarios.records import database_of
from tests.scenarios.walking import HOME_PHONE, People, Told, enter_all, walk
from tests.scenarios.wire import log_in
from tests.server import ServerProcess

API = "/api/v1"
ADDED = {"110101199003070417", "13412345678", HOME_PHONE}
"""Of the people that the walk adds itself."""
IN_FULL = re.compile(rf"{API}/(people|drug-orders|operator/(accounts|consultations))/.*/reveal")
"""Where a purpose is stated, and noted."""
UNSEEN = [
    "/operator/reconciliations", "/operator/reconciliations/{date}", "/calls/{id}",
    "/recordings/{id}", "/recordings/{id}/content",
]  # fmt: skip
"""The sandbox keeps no ledger; a call, with its recording, waits for its booked time."""
QUERIES = {
    "/doctors/{id}/slots": "?mode=video", "/calls": "?consultation={consultation}",
    "/recordings": "?consultation={consultation}",
    "/comments": "?post={post}", "/slots": "?date={date}", "/drugs": "?q=阿", "/diagnoses": "?q=炎",
    "/operator/audit": "?subject={patient}", "/pharmacies": "?near=26.08,119.30",
}  # fmt: skip


@dataclass(frozen=True)
class Walk:
    told: Told
    document: Any
    known: dict[str, str]
    scans: list[Document]
    log: str


@pytest_asyncio.fixture(scope="module")
async def walked(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Walk]:
    server = ServerProcess(tmp_path_factory.mktemp("walked") / "data", "--virtual-clock")
    await server.start()
    told = Told()
    try:
        async with told.http() as http, database_of(server) as database:
            scanning = {"planSummary": "COLLSCAN"}
            await database.db.command("profile", 1, slowms=100_000, filter=scanning)
            people = await enter_all(server.url, http)
            for user in people.all():
                told.hear(user)
            known = await walk(people)
            async with http.get(f"{server.url}{API}/openapi.json") as answer:
                document = await answer.json()
            await look_everywhere(http, people, document, known)
            await reveal(people, known)
            scans = await database["system.profile"].find({"planSummary": "COLLSCAN"}).to_list()
            for user in people.all():
                await user.close()
        yield Walk(told, document, known, scans, server.log_text())
    finally:
        await server.close()


async def look_everywhere(
    http: aiohttp.ClientSession, people: People, document: Any, known: dict[str, str]
) -> None:
    """Ask for everything that can be read, as everybody."""
    url = people.white.url
    tokens = [(await log_in(http, url, user.phone))["access_token"] for user in people.all()]
    for path, methods in document["paths"].items():
        plain = path.removeprefix(API)
        owner = re.match(r".*?{\w+}", plain)
        if "get" not in methods or plain.startswith("/files") or (owner and owner[0] not in known):
            continue
        asked = re.sub(r"{\w+}", known[owner[0]], plain) if owner else plain
        asked += QUERIES.get(plain, "").format(
            consultation=known["/consultations/{id}"], post=known["/articles/{id}"],
            patient=people.white.id, date="2026-11-24",
        )  # fmt: skip
        for token in tokens:
            headers = {"Authorization": f"Bearer {token}"}
            async with http.get(url + API + asked, headers=headers) as answer:
                await answer.read()


async def reveal(people: People, known: dict[str, str]) -> None:
    """Show numbers in full where that is what is asked for."""
    purpose = {"purpose": "核对身份"}
    for user, path in (
        (people.white, "/people/{id}"), (people.operator, "/operator/accounts/{id}"),
        (people.operator, "/operator/consultations/{id}"), (people.pharmacist, "/drug-orders/{id}"),
    ):  # fmt: skip
        await user.post(f"{path.replace('{id}', known[path])}/reveal", purpose)


def numbers() -> Iterator[str]:
    """Give every phone and ID card number of the demo, and of the walk."""
    data = read_data()
    yield from (member.phone for member in data.staff)
    yield from (doctor.phone for doctor in data.doctors)
    yield from (patient.phone for patient in data.patients)
    for patient in data.patients:
        for person in patient.people:
            yield from (person["id_card"], person["mobile"])
    yield from ADDED


@pytest.mark.rule("P3")
def test_nobodys_number_is_told_but_where_a_purpose_is_stated(walked: Walk) -> None:
    shown = []
    for answer in walked.told.answers:
        if not IN_FULL.match(answer.address):
            shown += [
                (answer.method, answer.address, number)
                for number in numbers() if number.encode() in answer.body
            ]  # fmt: skip
    assert not shown
    revealed = [a for a in walked.told.answers if IN_FULL.match(a.address)]
    assert len(revealed) == 4
    assert b"350102198503121010" in revealed[0].body


@pytest.mark.rule("P3")
def test_no_id_card_number_is_in_the_log(walked: Walk) -> None:
    cards = [number for number in numbers() if len(number) == 18]
    assert len(cards) == 4
    assert not [card for card in cards if card in walked.log]


def test_the_walk_came_everywhere(walked: Walk) -> None:
    reached = {a.address.partition("?")[0] for a in walked.told.answers if a.status < 300}
    unseen = []
    for path, methods in walked.document["paths"].items():
        pattern = re.compile(re.sub(r"{\w+}", "[^/]+", path))
        if "get" in methods and not any(map(pattern.fullmatch, reached)):
            unseen.append(path.removeprefix(API))
    assert unseen == UNSEEN
    kinds = {a.method for a in walked.told.answers}
    assert {"event", "acknowledgement", "GET", "POST"} <= kinds


def test_every_answer_is_as_the_reference_says_and_says_no_more(walked: Walk) -> None:
    operations = {
        (method.upper(), re.compile(re.sub(r"{\w+}", "[^/]+", path))): operation
        for path, methods in walked.document["paths"].items()
        for method, operation in methods.items()
    }
    wrong, tried = [], 0
    for answer in walked.told.answers:
        path = answer.address.partition("?")[0]
        found = [
            operation for (method, pattern), operation in operations.items()
            if method == answer.method and pattern.fullmatch(path)
        ]  # fmt: skip
        if not found or not answer.body.startswith(b"{"):
            continue
        responses = found[0]["responses"]
        described = responses.get(str(answer.status), responses["default"])
        (content,) = described["content"].values()
        tried += 1
        schema = {**content["schema"], "components": walked.document["components"]}
        checker = jsonschema_rs.Draft202012Validator(closed(schema), validate_formats=True)
        problems = [error.message for error in checker.iter_errors(json.loads(answer.body))]
        wrong += [(answer.method, path, problems)] if problems else []
    assert not wrong
    assert tried > 300


def closed(schema: Any) -> Any:
    """Let objects have the fields alone that are described."""
    if isinstance(schema, list):
        return [closed(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    changed = {name: closed(value) for name, value in schema.items() if name != "example"}
    if isinstance(schema.get("properties"), dict) and "additionalProperties" not in schema:
        changed["additionalProperties"] = False
    return changed


def test_no_query_of_the_walk_read_a_whole_collection(walked: Walk) -> None:
    scanned = {scan["ns"].partition(".")[2] for scan in walked.scans}
    # GridFS looks whether it has any file, to make its indexes with the first
    assert scanned <= {"attachments.files", "attachments.chunks"}
