"""A live socket ends with its session: by the clock, log-out, theft, a new password (A9)."""

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from tests.scenarios.conftest import Advance
from tests.scenarios.people import PASSWORD, register
from tests.scenarios.wire import Wire, log_in
from tests.server import ServerProcess

TOKEN_SECONDS = 900
NOTICE_SECONDS = 60
CLOSE_SECONDS = 5.0
CONNECT_SECONDS = 6.0


class Account:
    """A new patient, who may log in any number of times."""

    def __init__(self, url: str, http: aiohttp.ClientSession, phone: str) -> None:
        self._url = url
        self._http = http
        self._phone = phone

    async def log_in(self) -> Any:
        return await log_in(self._http, self._url, self._phone)

    async def enter(self, grant: Any) -> Wire:
        return await Wire.enter(self._http, self._url, grant["access_token"])

    async def refusal(self, grant: Any) -> Any:
        """Give the code with which a CONNECT is refused."""
        wire = await Wire.open(self._http, self._url)
        token = grant["access_token"]
        refusal = await wire.connect({"token": token, "device": "h5", "device_id": "d"})
        await wire.closed
        return refusal["data"]["code"]

    async def post(self, path: str, grant: Any, body: Any = None) -> tuple[int, Any]:
        headers = {"Authorization": f"Bearer {grant['access_token']}"}
        async with self._http.post(
            f"{self._url}/api/v1{path}", json=body, headers=headers
        ) as answer:
            return answer.status, (await answer.json(content_type=None)) or {}

    async def refresh(self, grant: Any) -> tuple[int, Any]:
        return await self.post("/auth/refresh", grant, {"refresh_token": grant["refresh_token"]})


@pytest_asyncio.fixture
async def account(clocked: ServerProcess, http: aiohttp.ClientSession) -> AsyncIterator[Account]:
    user = await register(clocked.url, http)
    yield Account(clocked.url, http, user.phone)
    await user.close()


async def closed_in_time(wire: Wire) -> None:
    """Wait for the server to say goodbye and close, as long as A9 gives it."""
    await asyncio.wait_for(asyncio.shield(wire.closed), CLOSE_SECONDS)
    assert wire.dismissed


async def lives(wire: Wire) -> bool:
    return bool((await wire.ask("room:list", {}))["ok"])


@pytest.mark.rule("A9")
async def test_a_socket_is_warned_and_then_closed_when_its_token_expires(
    account: Account, advance: Advance
) -> None:
    grant = await account.log_in()
    wire = await account.enter(grant)
    await advance(TOKEN_SECONDS - NOTICE_SECONDS + 1)
    warning = await wire.event("session:expiring")
    assert datetime.fromisoformat(warning["expires_at"])
    assert await lives(wire)
    await advance(NOTICE_SECONDS)
    await closed_in_time(wire)
    assert len(await wire.heard("session:expiring", 1)) == 1
    assert await account.refusal(grant) == "unauthenticated"


@pytest.mark.rule("A9")
async def test_a_refresh_in_band_keeps_the_socket_beyond_its_first_token(
    account: Account, advance: Advance
) -> None:
    grant = await account.log_in()
    refreshing, careless = await account.enter(grant), await account.enter(grant)
    await advance(TOKEN_SECONDS - NOTICE_SECONDS + 1)
    warning = await refreshing.event("session:expiring")
    _, newer = await account.refresh(grant)
    answer = await refreshing.ask("session:refresh", {"token": newer["access_token"]})
    assert answer["ok"]
    assert answer["expires_at"] > warning["expires_at"]
    await advance(NOTICE_SECONDS)
    await closed_in_time(careless)
    assert await lives(refreshing)
    await advance(TOKEN_SECONDS - 2 * NOTICE_SECONDS + 1)
    await refreshing.heard("session:expiring", 2)
    await advance(NOTICE_SECONDS)
    await closed_in_time(refreshing)


@pytest.mark.rule("A9")
async def test_a_refresh_in_band_takes_only_a_good_token_of_the_same_user(
    account: Account, clocked: ServerProcess, http: aiohttp.ClientSession
) -> None:
    wire = await account.enter(await account.log_in())
    other = await register(clocked.url, http)
    stranger = await log_in(http, clocked.url, other.phone)
    ended = await account.log_in()
    await account.post("/auth/logout", ended)
    for token, code in [
        (stranger["access_token"], "forbidden"),
        (ended["access_token"], "unauthenticated"),
        (ended["refresh_token"], "unauthenticated"),
        ("garbage", "unauthenticated"),
    ]:
        answer = await wire.ask("session:refresh", {"token": token})
        assert answer["error"]["code"] == code
    assert await lives(wire)
    await wire.close()


@pytest.mark.rule("A9")
async def test_logging_out_closes_every_socket_of_the_session_and_no_other(
    account: Account,
) -> None:
    here, there = await account.log_in(), await account.log_in()
    phone, tablet, elsewhere = [await account.enter(grant) for grant in (here, here, there)]
    status, _ = await account.post("/auth/logout", here)
    assert status == 204
    await asyncio.gather(closed_in_time(phone), closed_in_time(tablet))
    assert await lives(elsewhere)
    assert await account.refusal(here) == "unauthenticated"
    assert (await account.refresh(here))[0] == 401
    await elsewhere.close()


@pytest.mark.rule("A9")
async def test_a_used_refresh_token_ends_the_session_and_its_sockets(account: Account) -> None:
    stolen = await account.log_in()
    _, newer = await account.refresh(stolen)
    wire = await account.enter(newer)
    status, problem = await account.refresh(stolen)
    assert (status, problem["code"]) == (401, "unauthenticated")
    await closed_in_time(wire)
    assert (await account.refresh(newer))[0] == 401
    assert await account.refusal(newer) == "unauthenticated"


@pytest.mark.rule("A7", "A9")
async def test_a_new_password_closes_the_sockets_of_every_other_session(account: Account) -> None:
    here, there = await account.log_in(), await account.log_in()
    changing, other = await account.enter(here), await account.enter(there)
    change = {
        "old_password": PASSWORD, "new_password": "new-pass-2026",
        "confirm_password": "new-pass-2026",
    }  # fmt: skip
    status, _ = await account.post("/me/password", here, change)
    assert status == 204
    await closed_in_time(other)
    assert await lives(changing)
    assert await account.refusal(there) == "unauthenticated"
    await changing.close()


async def test_a_socket_that_never_says_connect_is_closed(
    account: Account, clocked: ServerProcess, http: aiohttp.ClientSession
) -> None:
    loop = asyncio.get_running_loop()
    connected = await account.enter(await account.log_in())
    begun = loop.time()
    silent = await Wire.open(http, clocked.url)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.shield(silent.closed), CONNECT_SECONDS - 1)
    await asyncio.wait_for(silent.closed, 3)
    assert loop.time() - begun < CONNECT_SECONDS + 2
    assert await lives(connected)
    await connected.close()
