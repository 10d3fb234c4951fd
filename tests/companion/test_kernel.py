"""The kernel of the REST module, through a real server on a real port."""

import asyncio
import gzip
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from pydantic import Field

from care.accounts import Caller, Role
from care.errors import Conflict, RateLimited, TooLarge, Unauthenticated, Unavailable
from companion.rest import kernel, openapi, paging
from companion.rest.kernel import Body, Call, Route
from tests.clock import START

Client = TestClient[web.Request, web.Application]


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


class Inner(Body):
    tags: list[str] = Field(default=[], max_length=2)


class Order(Body):
    name: str = Field(min_length=2, max_length=5)
    count: int = Field(ge=1)
    colour: Colour = Colour.RED
    urgent: bool = False
    inner: Inner | None = None


class Search(paging.PageQuery):
    q: str | None = Field(default=None, max_length=5)
    online: bool | None = None
    colour: Colour | None = None


class Place(paging.Position):
    after: str


class Tickets:
    """Two tokens, as a stand-in for the log-in that has its own tests."""

    async def verify(self, token: str) -> Caller:
        if token not in ("patient", "doctor"):
            raise Unauthenticated
        return Caller(f"u-{token}", Role(token), "x", "s", START + timedelta(hours=1))


class Shop:
    """Handlers that do what each test needs."""

    def __init__(self) -> None:
        self.began = asyncio.Event()
        self.go_on = asyncio.Event()
        self.done = asyncio.Event()
        self.failure: Exception = RuntimeError("secret detail")

    async def echo(self, call: Call) -> Any:
        return {"body": call.body, "caller": call.caller.user}

    async def search(self, call: Call) -> Any:
        query: Search = call.query
        place = paging.read_cursor(Place, query.cursor)
        following = None if place else Place(after="b")
        return paging.page([query, place, datetime(2026, 1, 2, 3, 4, 5, 678901, UTC)], following)

    async def fail(self, _call: Call) -> Any:
        raise self.failure

    async def create(self, call: Call) -> Any:
        return {"id": call.creation_id(START)}

    async def slow(self, _call: Call) -> Any:
        self.began.set()
        await self.go_on.wait()
        self.done.set()

    async def who(self, call: Call) -> Any:
        return {"user": call.known_caller.user if call.known_caller else None}

    async def upload(self, call: Call) -> Any:
        return {"size": len(await call.request.read())}

    def routes(self) -> list[Route]:
        return [
            Route("POST", "/echo", self.echo, body=Order, status=201, answer=Order),
            Route("GET", "/search", self.search, query=Search, public=True),
            Route("GET", "/fail", self.fail, public=True),
            Route("POST", "/things", self.create),
            Route("POST", "/things/{id}/parts", self.create),
            Route("POST", "/slow", self.slow, public=True),
            Route("GET", "/who", self.who, public=True),
            Route("GET", "/ward", self.who, roles=frozenset({Role.DOCTOR})),
            Route("POST", "/upload", self.upload, public=True, max_body=1000),
        ]


@pytest.fixture
def shop() -> Shop:
    return Shop()


@pytest.fixture
async def client(shop: Shop) -> AsyncIterator[Client]:
    app = web.Application()
    kernel.mount(app, openapi.with_document(shop.routes(), "1.2.3"), Tickets())
    # this server cancels the handler of a client that leaves
    async with TestClient(TestServer(app)) as client:
        yield client


PATIENT = {"Authorization": "Bearer patient"}


async def post(client: Client, path: str, **request: Any) -> tuple[int, dict[str, Any]]:
    headers = PATIENT | request.pop("headers", {})
    async with client.post(f"/api/v1{path}", headers=headers, **request) as response:
        return response.status, await response.json(content_type=None)


async def test_an_answer_is_json_that_is_not_cached_and_carries_the_request_id(
    client: Client,
) -> None:
    async with client.post(
        "/api/v1/echo", json={"name": "茶杯", "count": 2}, headers=PATIENT
    ) as response:
        assert response.status == 201
        assert response.content_type == "application/json"
        assert response.headers["Cache-Control"] == "no-store"
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert len(response.headers["X-Request-Id"]) == 16
        answer = await response.json()
    assert answer["caller"] == "u-patient"
    assert answer["body"]["colour"] == "red"


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({}, {"name": "必填", "count": "必填"}),
        ({"name": "abc", "count": "1"}, {"count": "应为整数"}),
        ({"name": "abc", "count": 1.0}, {"count": "应为整数"}),
        ({"name": "abc", "count": True}, {"count": "应为整数"}),
        ({"name": "abc", "count": 0}, {"count": "不能小于 1"}),
        ({"name": 3, "count": 1}, {"name": "应为文字"}),
        ({"name": "a", "count": 1}, {"name": "至少 2 个字符"}),
        ({"name": "abcdef", "count": 1}, {"name": "最多 5 个字符"}),
        ({"name": "abc", "count": 1, "x": 1}, {"x": "不认识的字段"}),
        ({"name": "abc", "count": 1, "urgent": 1}, {"urgent": "应为 true 或 false"}),
        ({"name": "abc", "count": 1, "colour": "green"}, {"colour": "应为 'red' or 'blue' 之一"}),
        ({"name": "abc", "count": 1, "inner": []}, {"inner": "应为对象"}),
        ({"name": "abc", "count": 1, "inner": {"tags": 1}}, {"inner.tags": "应为列表"}),
        ({"name": "abc", "count": 1, "inner": {"tags": ["a", 2]}}, {"inner.tags.1": "应为文字"}),
        (
            {"name": "abc", "count": 1, "inner": {"tags": ["a"] * 3}},
            {"inner.tags": "最多 2 项"},
        ),
        ({"name": "a\0b", "count": 1}, {"name": "含有不允许的字符"}),
        (
            {"name": "abc", "count": 1, "inner": {"tags": ["\0"]}},
            {"inner.tags.0": "含有不允许的字符"},
        ),
        ({"a\0": 1}, {"body": "含有不允许的字符"}),
    ],
)
async def test_each_wrong_field_is_named_with_its_reason(
    client: Client, body: Any, fields: dict[str, str]
) -> None:
    status, problem = await post(client, "/echo", json=body)
    assert (status, problem["code"]) == (400, "bad_request")
    assert problem["fields"] == fields
    assert problem["type"] == "urn:wenzhen:problem:bad_request"
    assert problem["status"] == 400
    assert problem["title"]
    assert problem["detail"]


@pytest.mark.parametrize(
    "raw",
    [
        b"{",
        b"\xff\xfe",
        b'{"name": "\xed\xa0\x80"}',
        rb'{"name": "\ud800"}',
        b"[]",
        b"null",
        b'"text"',
        b"NaN",
        b'{"name": NaN}',
        b"[" * 5000,
        b'{"a":' * 600 + b"1" + b"}" * 600,
    ],
)
async def test_what_is_no_json_object_is_refused(client: Client, raw: bytes) -> None:
    status, problem = await post(
        client, "/echo", data=raw, headers={"Content-Type": "application/json"}
    )
    assert (status, problem["code"]) == (400, "bad_request")
    assert list(problem["fields"]) in (["body"], ["name", "count", "a"])


async def test_another_content_type_is_refused(client: Client) -> None:
    status, problem = await post(client, "/echo", data={"name": "abc", "count": "1"})
    assert (status, list(problem["fields"])) == (400, ["Content-Type"])


async def test_an_empty_body_is_told_what_is_missing(client: Client) -> None:
    status, problem = await post(client, "/echo")
    assert (status, problem["fields"]) == (400, {"name": "必填", "count": "必填"})


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
async def test_a_body_that_cannot_be_unpacked_is_refused(client: Client, encoding: str) -> None:
    status, problem = await post(
        client,
        "/echo",
        data=b"not packed at all",
        headers={"Content-Type": "application/json", "Content-Encoding": encoding},
    )
    assert (status, problem["code"]) == (400, "bad_request")


async def test_a_small_body_that_unpacks_to_a_large_one_is_too_large(client: Client) -> None:
    status, problem = await post(
        client,
        "/echo",
        data=gzip.compress(b" " * 10_000_000),
        headers={"Content-Type": "application/json", "Content-Encoding": "gzip"},
    )
    assert (status, problem["code"]) == (413, "too_large")


async def test_json_over_64_kilobytes_is_too_large(client: Client) -> None:
    status, problem = await post(client, "/echo", json={"name": "x" * 70_000})
    assert (status, problem["code"]) == (413, "too_large")


async def test_an_upload_has_its_own_limit(client: Client) -> None:
    assert await post(client, "/upload", data=b"x" * 900) == (200, {"size": 900})
    status, problem = await post(client, "/upload", data=b"x" * 1100)
    assert (status, problem["code"]) == (413, "too_large")


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("limit=x", "limit"),
        ("q=abcdef", "q"),
        ("q=%00", "q"),
        ("online=perhaps", "online"),
        ("colour=green", "colour"),
        ("unknown=1", "unknown"),
        ("q=a&q=b", "q"),
        ("cursor=%21%21", "cursor"),
        ("cursor=e30", "cursor"),
        ("cursor=eyJhZnRlciI6eyIkbmUiOjF9fQ", "cursor"),
        ("cursor=" + "a" * 600, "cursor"),
        ("cursor=é", "cursor"),
    ],
)
async def test_a_wrong_query_is_refused_by_name(client: Client, query: str, field: str) -> None:
    async with client.get(f"/api/v1/search?{query}") as response:
        problem = await response.json(content_type=None)
        assert (response.status, list(problem["fields"])) == (400, [field])


async def test_a_cursor_leads_to_the_next_page(client: Client) -> None:
    async with client.get("/api/v1/search?limit=5&online=true&colour=blue") as response:
        first = await response.json()
    assert first["items"][0]["limit"] == 5
    assert first["items"][0]["online"] is True
    assert first["items"][2] == "2026-01-02T03:04:05.678Z"
    async with client.get("/api/v1/search", params={"cursor": first["cursor"]}) as response:
        second = await response.json()
    assert second["items"][1] == {"after": "b"}
    assert second["cursor"] is None


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer nonsense", "Basic patient", "patient"])
async def test_no_valid_token_is_unauthenticated(client: Client, header: str) -> None:
    async with client.post("/api/v1/things", headers={"Authorization": header}) as response:
        assert response.status == 401
        assert response.headers["WWW-Authenticate"] == "Bearer"
        assert response.content_type == "application/problem+json"
        assert (await response.json(content_type=None))["code"] == "unauthenticated"


async def test_a_public_route_knows_a_caller_and_forgives_a_bad_token(client: Client) -> None:
    for header, user in (("Bearer doctor", "u-doctor"), ("Bearer old", None), ("", None)):
        async with client.get("/api/v1/who", headers={"Authorization": header}) as response:
            assert await response.json() == {"user": user}


async def test_another_role_is_forbidden(client: Client) -> None:
    async with client.get("/api/v1/ward", headers=PATIENT) as response:
        assert response.status == 403
    async with client.get("/api/v1/ward", headers={"Authorization": "Bearer doctor"}) as response:
        assert response.status == 200


async def test_unknown_paths_and_methods_are_problems_too(client: Client) -> None:
    for path in ("/api/v1/nowhere", "/api/v1", "/api/v1/", "/api/v1//things"):
        async with client.get(path) as response:
            assert (response.status, response.content_type) == (404, "application/problem+json")
            assert response.headers["X-Request-Id"]
            problem = await response.json(content_type=None)
            assert (problem["code"], problem["detail"]) == ("bad_request", "没有这个地址")
    async with client.delete("/api/v1/things") as response:
        assert (response.status, response.headers["Allow"]) == (405, "POST")
        assert (await response.json(content_type=None))["code"] == "bad_request"


@pytest.mark.parametrize(
    ("failure", "status", "retry"),
    [(Conflict("迟了"), 409, False), (TooLarge(), 413, False), (Unavailable(), 503, True)],
)
async def test_a_refusal_keeps_its_code(
    client: Client, shop: Shop, failure: Exception, status: int, retry: bool
) -> None:
    shop.failure = failure
    async with client.get("/api/v1/fail") as response:
        problem = await response.json(content_type=None)
    assert (response.status, problem["retry"]) == (status, retry)
    assert problem["detail"] == str(failure)


async def test_a_rate_limit_says_when_to_come_back(client: Client, shop: Shop) -> None:
    shop.failure = RateLimited(1500)
    async with client.get("/api/v1/fail") as response:
        problem = await response.json(content_type=None)
    assert (response.status, response.headers["Retry-After"]) == (429, "2")
    assert problem["retry_after_ms"] == 1500


async def test_an_unknown_failure_is_logged_whole_and_answered_bare(
    client: Client, capsys: pytest.CaptureFixture[str]
) -> None:
    async with client.get("/api/v1/fail") as response:
        text = await response.text()
    assert response.status == 500
    assert "secret detail" not in text
    logged = capsys.readouterr().out
    assert "secret detail" in logged
    assert response.headers["X-Request-Id"] in logged


async def test_a_write_is_finished_although_its_client_left(client: Client, shop: Shop) -> None:
    request = asyncio.create_task(client.post("/api/v1/slow"))
    await shop.began.wait()
    request.cancel()
    runner = client.server.runner
    assert runner is not None
    assert runner.server is not None
    async with asyncio.timeout(5):
        # the server tells nobody that a connection is gone: look until it is
        while runner.server.connections:  # noqa: ASYNC110 - nothing to wait on, see above
            await asyncio.sleep(0.01)
    shop.go_on.set()
    await asyncio.wait_for(shop.done.wait(), 5)


async def test_an_idempotency_key_gives_the_same_id_again(client: Client) -> None:
    def key(text: str) -> dict[str, str]:
        return {"Idempotency-Key": text}

    _, first = await post(client, "/things", headers=key("k1"))
    assert (await post(client, "/things", headers=key("k1")))[1] == first
    others = [
        (await post(client, "/things", headers=key("k2")))[1],
        (await post(client, "/things/1/parts", headers=key("k1")))[1],
        (await post(client, "/things", headers=key("k1") | {"Authorization": "Bearer doctor"}))[1],
        (await post(client, "/things"))[1],
        (await post(client, "/things"))[1],
    ]
    assert len({answer["id"] for answer in [first, *others]}) == 6
    assert {len(answer["id"]) for answer in [first, *others]} == {28}


@pytest.mark.parametrize("key", ["", "x" * 129, "钥匙", "a\tb"])
async def test_a_bad_idempotency_key_is_named(client: Client, key: str) -> None:
    status, problem = await post(client, "/things", headers={"Idempotency-Key": key})
    assert (status, list(problem["fields"])) == (400, ["Idempotency-Key"])


async def test_the_document_describes_every_route(client: Client) -> None:
    async with client.get("/api/v1/openapi.json") as response:
        document = await response.json()
    assert document["openapi"] == "3.1.0"
    assert document["info"]["version"] == "1.2.3"
    echo = document["paths"]["/api/v1/echo"]["post"]
    assert echo["requestBody"]["content"]["application/json"]["schema"] == {
        "$ref": "#/components/schemas/Order"
    }
    assert echo["security"] == [{"bearer": []}]
    assert "201" in echo["responses"]
    search = document["paths"]["/api/v1/search"]["get"]
    assert {p["name"] for p in search["parameters"]} == {"cursor", "limit", "q", "online", "colour"}
    assert search["security"] == []
    parts = document["paths"]["/api/v1/things/{id}/parts"]["post"]["parameters"]
    assert parts[0]["in"] == "path"
    assert {"Problem", "Order", "Inner", "Colour"} <= set(document["components"]["schemas"])
