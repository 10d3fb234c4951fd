"""Whatever is sent to a route: a problem document with the right code, and nothing changed.

The cases are made from `/api/v1/openapi.json` of the running server, so a new route is tried
without a line here. One with an id in its path needs a line in `OWNED` or `NOBODYS`.
"""

import base64
import gzip
import itertools
import json
import re
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest
import pytest_asyncio

from tests.scenarios.people import HUATUO, OPERATOR, PATIENT
from tests.scenarios.prescribing import text
from tests.scenarios.spoiling import Fault, JsonObject, Schemas
from tests.scenarios.wire import load_rooms, log_in
from tests.server import ServerProcess

API = "/api/v1"
PHONES = {
    "patient": PATIENT, "doctor": HUATUO, "pharmacist": "13700000001",
    "operator": OPERATOR, "admin": "13500000001",
}  # fmt: skip

PUBLIC = {
    "POST /auth/sms-codes", "POST /auth/register", "POST /auth/login", "POST /auth/wechat-login",
    "POST /auth/refresh", "POST /auth/password-reset", "GET /consents", "GET /openapi.json",
    "GET /files/{file}", "HEAD /files/{file}", "POST /payments/sandbox/{payment}/succeed",
    "POST /call-tickets/redeem", "GET /recordings/{id}/content", "HEAD /recordings/{id}/content",
}  # fmt: skip
"""What needs no token; the last prove themselves by a signature, a demo, or a ticket."""

OWNED = {
    "/people/{id}", "/consultations/{id}", "/notices/{id}", "/bookings/{id}", "/schedules/{id}",
    "/prescriptions/{id}", "/drug-orders/{id}", "/addresses/{id}",
}  # fmt: skip
NOBODYS = {
    "/operator/consultations/{id}", "/operator/accounts/{id}", "/operator/dead-letters/{id}",
    "/operator/reconciliations/{date}",
    "/operator/payments/{id}", "/operator/articles/{id}", "/operator/topics/{id}",
    "/operator/comments/{id}", "/articles/{id}", "/topics/{id}", "/comments/{id}",
    "/complaints/{id}", "/operator/recommended/{doctor}", "/operator/reviews/{id}",
    "/likes/{kind}",
    "/calls/{id}", "/transfers/{id}", "/groups/{id}", "/doctors/{id}", "/favourites/{doctor}",
    "/files/{file}", "/payments/sandbox/{payment}", "/recordings/{id}",
}  # fmt: skip
UNKNOWN_ID_IS_FINE = {"DELETE /favourites/{doctor}"}
"""Taking away what isn't there leaves what was asked for."""

STATUS = {
    "bad_request": {400, 404, 405}, "unauthenticated": {401}, "forbidden": {403},
    "conflict": {409}, "closed": {409}, "too_large": {413}, "rate_limited": {429},
    "unavailable": {503},
}  # fmt: skip

NO_OBJECTS = [
    b"{", b"[]", b"null", b'"text"', b"7", b"NaN", b"\xff\xfe", b'{"a":1}{"b":2}', b"{'a':1}",
    rb'{"a":"\ud83d"}', b'{"a":"\xed\xa0\x80"}', b"[" * 5000,
    b'{"a":' * 900 + b"1" + b"}" * 900,
]  # fmt: skip
NASTY = [
    "$where", '{"$ne":null}', "' OR '1'='1", "../../../etc/passwd", "<script>alert(1)</script>",
    "%00", "\u202e\u200b\ufeff", "👩🏽", "null", "-1", "1e999", "__proto__", "\r\nX: y", " ",
    "长" * 64,
]  # fmt: skip


@dataclass(frozen=True)
class Operation:
    """A route as the reference describes it."""

    method: str
    path: str
    public: bool
    roles: tuple[str, ...]
    body: JsonObject | None
    query: tuple[JsonObject, ...]

    @property
    def name(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def owner(self) -> str | None:
        """Give the path up to its id, if it has one."""
        found = re.match(r".*?{\w+}", self.path)
        return found[0] if found else None

    def at(self, identifier: str) -> str:
        return re.sub(r"{\w+}", quote(identifier, safe=""), self.path)


def read_operations(document: JsonObject) -> Iterator[Operation]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            content = operation.get("requestBody", {}).get("content", {})
            yield Operation(
                method=method.upper(),
                path=path.removeprefix(API),
                public=not operation["security"],
                roles=tuple(operation.get("x-roles", ())),
                body=content.get("application/json", {}).get("schema"),
                query=tuple(p for p in operation["parameters"] if p["in"] == "query"),
            )


@dataclass(frozen=True)
class Reply:
    status: int
    media_type: str
    headers: Mapping[str, str]
    body: Any

    def code(self) -> str:
        """Give the problem's code, after a look at the problem's form. No 5xx is a fine answer."""
        assert self.media_type == "application/problem+json", self
        assert self.headers["X-Request-Id"]
        problem = self.body
        assert {"type", "title", "status", "detail", "code", "retry"} <= problem.keys(), problem
        assert problem["type"] == f"urn:wenzhen:problem:{problem['code']}"
        assert problem["status"] == self.status
        assert self.status in STATUS.get(problem["code"], ()), self
        return str(problem["code"])

    def names(self, field: str) -> bool:
        return self.code() == "bad_request" and self.status == 400 and field in self.body["fields"]


class Ward:
    """The server, its reference, and people of every role."""

    def __init__(
        self, url: str, http: aiohttp.ClientSession, document: JsonObject, tokens: dict[str, str]
    ) -> None:
        self.tokens = tokens
        self.schemas = Schemas(document)
        self.operations = list(read_operations(document))
        self._base = url + API
        self._http = http

    @property
    def with_body(self) -> list[Operation]:
        return [operation for operation in self.operations if operation.body]

    def token(self, operation: Operation) -> str | None:
        """Give the token of somebody who may ask for it."""
        if operation.public:
            return None
        return self.tokens[operation.roles[0] if operation.roles else "patient"]

    async def ask(self, method: str, path: str, token: str | None = None, **request: Any) -> Reply:
        headers = request.pop("headers", {})
        if token is not None:
            headers = {"Authorization": f"Bearer {token}", **headers}
        async with self._http.request(
            method, self._base + path, headers=headers, **request
        ) as answer:
            content = await answer.read()
            body = json.loads(content) if content and "json" in answer.content_type else None
            return Reply(answer.status, answer.content_type, answer.headers, body)

    async def send(self, operation: Operation, identifier: str = "nobody", **request: Any) -> Reply:
        """Ask as somebody who may."""
        token = self.token(operation)
        return await self.ask(operation.method, operation.at(identifier), token, **request)

    async def picture(self) -> Any:
        """Read what the routes could have changed for the two who ask."""
        seen = [
            (await self.ask("GET", path, self.tokens[role])).body
            for role in ("patient", "doctor")
            for path in ("/me", "/consultations", "/me/favourites", "/notices")
        ]
        return [*seen, (await self.ask("GET", "/people", self.tokens["patient"])).body]


@pytest_asyncio.fixture(scope="module")
async def staff(clocked: ServerProcess) -> dict[str, str]:
    """Log one of each role in."""
    async with aiohttp.ClientSession() as http:
        return {
            role: (await log_in(http, clocked.url, phone))["access_token"]
            for role, phone in PHONES.items()
        }


@pytest_asyncio.fixture
async def ward(
    clocked: ServerProcess, http: aiohttp.ClientSession, staff: dict[str, str]
) -> AsyncIterator[Ward]:
    url = clocked.url
    async with http.get(f"{url}{API}/openapi.json") as answer:
        document = await answer.json()
    (room,) = await load_rooms(http, url, 1)
    ours = {"patient": room["patient_token"], "doctor": room["doctor_token"]}
    ward = Ward(url, http, document, staff | ours)
    before = await ward.picture()
    yield ward
    # whatever was refused has changed nothing
    assert await ward.picture() == before


def test_the_reference_says_who_owns_what(ward: Ward) -> None:
    assert {o.name for o in ward.operations if o.public} == PUBLIC
    assert {o.owner for o in ward.operations if o.owner} == OWNED | NOBODYS


@pytest.mark.rule("A9")
async def test_without_a_token_of_ours_only_public_routes_answer(ward: Ward) -> None:
    wrong = []
    headers = ["", "Bearer", "Basic cGF0aWVudA==", *map("Bearer {}".format, forged(ward.tokens))]
    for operation in ward.operations:
        for header in headers if not operation.public else ():
            reply = await ward.ask(
                operation.method, operation.at("nobody"), headers={"Authorization": header}
            )
            if reply.status != 401 or "Bearer" not in reply.headers["WWW-Authenticate"]:
                wrong.append((operation.name, header, reply))
            assert operation.method == "HEAD" or reply.code() == "unauthenticated"
    assert not wrong


def forged(tokens: Mapping[str, str]) -> list[str]:
    """Make tokens nobody signed out of one that is good."""
    header, claims, signature = tokens["patient"].split(".")
    _, other_claims, _ = tokens["doctor"].split(".")
    unsigned = base64.urlsafe_b64encode(b'{"alg":"none","typ":"at+jwt"}').decode().rstrip("=")
    return [
        "x", "a.b.c", "...", f"{header}.{claims}.", f"{header}.{claims}.{signature[::-1]}",
        f"{header}.{other_claims}.{signature}", f"{unsigned}.{claims}.", "x" * 7000,
    ]  # fmt: skip


@pytest.mark.rule("A11")
async def test_a_role_that_may_not_is_told_so_before_anything_is_read(ward: Ward) -> None:
    wrong = []
    for operation in ward.operations:
        for role in PHONES.keys() - set(operation.roles) if operation.roles else ():
            path = operation.at("nobody")
            reply = await ward.ask(operation.method, path, ward.tokens[role], data=b"{")
            if (reply.status, reply.code()) != (403, "forbidden"):
                wrong.append((operation.name, role, reply))
    assert not wrong


@pytest.mark.parametrize("fault", Fault)
async def test_a_spoiled_field_of_a_body_is_named(ward: Ward, fault: Fault) -> None:
    wrong, tried = [], 0
    for operation in ward.with_body:
        assert operation.body is not None
        good = ward.schemas.sample(operation.body)
        for spoiled in ward.schemas.spoil(operation.body, good):
            if spoiled.fault is fault:
                tried += 1
                reply = await ward.send(operation, json=spoiled.value)
                # with a text no database can keep, that alone is told
                if not reply.names(spoiled.field):
                    wrong.append((operation.name, spoiled.field, spoiled.why, reply.body))
    assert not wrong
    # a choice is what only some bodies have a field for; the rest can go wrong in every one
    assert tried >= (1 if fault is Fault.CHOICE else len(ward.with_body))


async def test_a_body_that_is_no_json_object_is_refused(ward: Ward) -> None:
    headers = {"Content-Type": "application/json"}
    for operation, raw in itertools.product(ward.with_body, NO_OBJECTS):
        reply = await ward.send(operation, data=raw, headers=headers)
        assert (reply.status, reply.code()) == (400, "bad_request"), (operation.name, raw)


async def test_a_body_of_another_content_type_is_refused(ward: Ward) -> None:
    for operation in ward.with_body:
        assert operation.body is not None
        good = json.dumps(ward.schemas.sample(operation.body)).encode()
        for media_type in (
            "text/plain",
            "application/x-www-form-urlencoded",
            "multipart/form-data",
        ):
            reply = await ward.send(operation, data=good, headers={"Content-Type": media_type})
            assert reply.names("Content-Type"), (operation.name, media_type)


async def test_a_body_over_64_kilobytes_is_too_large(ward: Ward) -> None:
    whole = json.dumps({"name": "x" * 70_000}).encode()

    async def in_pieces() -> AsyncIterator[bytes]:
        yield whole[:9]
        yield whole[9:]

    for operation in ward.with_body:
        for body, more in [
            (whole, {}),
            (in_pieces(), {}),
            (gzip.compress(whole), {"Content-Encoding": "gzip"}),
        ]:
            headers = {"Content-Type": "application/json", **more}
            reply = await ward.send(operation, data=body, headers=headers)
            assert (reply.status, reply.code()) == (413, "too_large"), operation.name


async def test_a_wrong_query_is_refused_by_name(ward: Ward) -> None:
    wrong, tried = [], 0
    for operation in ward.operations:
        for field, query in bad_queries(ward.schemas, operation):
            tried += 1
            reply = await ward.send(operation, params=query)
            if reply.status != 400 or (operation.method != "HEAD" and not reply.names(field)):
                wrong.append((operation.name, query, reply))
    assert not wrong
    assert tried


def bad_queries(
    schemas: Schemas, operation: Operation
) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """Make queries with one fault each, for a route that takes any."""
    if not operation.query:
        return
    yield "surprise", [("surprise", "1")]
    for parameter in operation.query:
        name = parameter["name"]
        yield name, [(name, "1"), (name, "1")]
        yield name, [(name, "a\0")]
        for option in schemas.options(parameter["schema"]):
            for value in wrong_texts(option):
                yield name, [(name, value)]


def wrong_texts(option: JsonObject) -> list[str]:
    if "enum" in option:
        return ["no-such-choice", ""]
    if "maxLength" in option:
        return ["x" * (option["maxLength"] + 1)]
    match option["type"]:
        case "integer":
            low, high = option["minimum"] - 1, option["maximum"] + 1
            return ["x", "", "1.5", "1e2", str(low), str(high), str(10**30)]
        case "boolean":
            return ["perhaps", "", "2"]
    return []


async def test_an_id_nobody_has_is_forbidden(ward: Ward) -> None:
    for operation in ward.operations:
        if operation.owner and operation.name not in UNKNOWN_ID_IS_FINE:
            good = ward.schemas.sample(operation.body) if operation.body else None
            query = {
                q["name"]: str(ward.schemas.sample(q["schema"]))
                for q in operation.query
                if q.get("required")
            }
            for identifier in ("nobody", "0" * 28):
                reply = await ward.send(operation, identifier, json=good, params=query)
                assert reply.status == 403, (operation.name, identifier, reply)
                assert operation.method == "HEAD" or reply.code() == "forbidden"


@pytest.mark.rule("P3", "C2")
async def test_what_belongs_to_others_is_forbidden(
    ward: Ward, clocked: ServerProcess, http: aiohttp.ClientSession
) -> None:
    (theirs,) = await load_rooms(http, clocked.url, 1)
    strangers = {"patient": theirs["patient_token"], "doctor": theirs["doctor_token"]}
    people = await ward.ask("GET", "/people", ward.tokens["patient"])
    consultations = await ward.ask("GET", "/consultations", ward.tokens["patient"])
    notices = await ward.ask("GET", "/notices", ward.tokens["patient"])
    (booked,) = await load_rooms(http, clocked.url, 1, "video")
    schedules = await ward.ask("GET", "/schedules", booked["doctor_token"])
    written = text() | {"consultation": consultations.body["items"][0]["id"]}
    prescription = await ward.ask("POST", "/prescriptions", ward.tokens["doctor"], json=written)
    home = {"name": "炎帝", "phone": "13412345678", "region": "福州市", "detail": "东街1号"}
    address = await ward.ask("POST", "/addresses", ward.tokens["patient"], json=home)
    (buyer,) = await load_rooms(http, clocked.url, 1)
    order = await order_medicine(ward, buyer)
    ours = {
        "/notices/{id}": notices.body["items"][0]["id"],
        "/people/{id}": people.body["items"][0]["id"],
        "/consultations/{id}": consultations.body["items"][0]["id"],
        "/bookings/{id}": booked["consultation"],
        "/schedules/{id}": schedules.body["items"][0]["id"],
        "/prescriptions/{id}": prescription.body["id"],
        "/drug-orders/{id}": order,
        "/addresses/{id}": address.body["id"],
    }
    assert ours.keys() == OWNED
    for operation in ward.operations:
        if operation.owner in ours:
            good = ward.schemas.sample(operation.body) if operation.body else None
            for token in strangers.values():
                path = operation.at(ours[operation.owner])
                reply = await ward.ask(operation.method, path, token, json=good)
                assert (reply.status, reply.code()) == (403, "forbidden"), operation.name


async def order_medicine(ward: Ward, room: Mapping[str, str]) -> str:
    """Bring a consultation to an order of drugs that waits for its payment."""
    written = text() | {"consultation": room["consultation"]}
    doctor, pharmacist = room["doctor_token"], ward.tokens["pharmacist"]
    made = (await ward.ask("POST", "/prescriptions", doctor, json=written)).body["id"]
    await ward.ask("POST", f"/prescriptions/{made}/submit", doctor)
    await ward.ask("POST", f"/prescriptions/{made}/approve", pharmacist)
    wanted = {"prescription": made, "pharmacy": "P1", "handover": "pick_up"}
    order = await ward.ask("POST", "/drug-orders", room["patient_token"], json=wanted)
    assert order.status == 201, order
    return str(order.body["id"])


async def test_unknown_paths_are_problems(ward: Ward) -> None:
    for path in ("/", "/nowhere", "/me/", "/consultations/x/y/z", "/people//x", "/%00"):
        reply = await ward.ask("GET", path, ward.tokens["patient"])
        assert (reply.status, reply.code()) == (404, "bad_request"), path


async def test_other_methods_are_problems_which_name_the_right_ones(ward: Ward) -> None:
    allowed: dict[str, set[str]] = {}
    for operation in ward.operations:
        allowed.setdefault(operation.at("nobody"), set()).add(operation.method)
    for path, methods in allowed.items():
        for method in {"GET", "POST", "PUT", "PATCH", "DELETE"} - methods:
            reply = await ward.ask(method, path, ward.tokens["patient"])
            assert (reply.status, reply.code()) == (405, "bad_request"), (method, path)
            assert set(reply.headers["Allow"].split(",")) == methods, path


async def test_nonsense_in_the_right_form_never_breaks_the_server(
    ward: Ward, clocked: ServerProcess, http: aiohttp.ClientSession
) -> None:
    # people of their own: some of this is fine, a name for example
    (room,) = await load_rooms(http, clocked.url, 1)
    tokens = ward.tokens | {"patient": room["patient_token"], "doctor": room["doctor_token"]}
    wrong = []
    for operation, nasty in itertools.product(ward.operations, NASTY):
        if operation.name == "POST /auth/logout":
            continue
        token = tokens[operation.roles[0] if operation.roles else "patient"]
        body = ward.schemas.sample(operation.body, nasty) if operation.body else None
        query = {p["name"]: str(ward.schemas.sample(p["schema"], nasty)) for p in operation.query}
        reply = await ward.ask(
            operation.method, operation.at(nasty), token, json=body, params=query
        )
        if reply.status >= 400 and operation.method != "HEAD":
            reply.code()
        if reply.status >= 500:
            wrong.append((operation.name, nasty, reply))
    assert not wrong
