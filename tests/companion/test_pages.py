"""The pages are served whole, with a policy that lets nothing foreign in, and revalidated."""

import re
from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from companion.rest import pages

Client = TestClient[web.Request, web.Application]


async def _client(*, demo: bool) -> Client:
    app = web.Application()
    pages.mount(app, demo=demo)
    return TestClient(TestServer(app))


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    async with await _client(demo=True) as client:
        yield client


@pytest.mark.parametrize("path", ["/", "/docs"])
async def test_a_page_carries_the_policy_and_all_it_asks_for_is_there(
    client: Client, path: str
) -> None:
    answer = await client.get(path)
    text = await answer.text()

    assert answer.content_type == "text/html"
    assert "default-src 'self'" in answer.headers["Content-Security-Policy"]
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    for asset in re.findall(r'(?:src|href)="(/assets/[^"]+)"', text):
        assert (await client.get(asset)).status == 200, asset


async def test_every_module_imports_only_modules_that_are_there(client: Client) -> None:
    waiting, seen = ["home.js", "docs.js"], set[str]()
    while waiting:
        name = waiting.pop()
        seen.add(name)
        answer = await client.get(f"/assets/{name}")
        assert answer.status == 200, name
        assert answer.content_type == "text/javascript"
        imported = re.findall(r'from "\./([^"]+)"', await answer.text())
        waiting += [other for other in imported if other not in seen]
    assert "socket.js" in seen


@pytest.mark.parametrize("path", ["/", "/docs"])
async def test_a_page_has_no_inline_script_style_or_handler(client: Client, path: str) -> None:
    text = await (await client.get(path)).text()

    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\son\w+=|\sstyle=", text)


async def test_a_page_the_browser_has_is_not_sent_again(client: Client) -> None:
    first = await client.get("/assets/style.css")
    again = await client.get("/assets/style.css", headers={"If-None-Match": first.headers["ETag"]})

    assert (again.status, await again.read()) == (304, b"")


async def test_demo_accounts_are_told_only_where_demo_data_is(client: Client) -> None:
    told = await (await client.get("/demo.json")).json()
    async with await _client(demo=False) as bare:
        hidden = await (await bare.get("/demo.json")).json()

    assert told["demo"] is True
    assert {"patient", "doctor"} <= {account["role"] for account in told["accounts"]}
    assert hidden == {"demo": False, "accounts": []}
