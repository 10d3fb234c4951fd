"""One server on a virtual clock for all scenarios; each has patients of its own."""

from collections.abc import AsyncIterator, Awaitable, Callable

import aiohttp
import pytest
import pytest_asyncio

from tests.scenarios.people import User, enter, register
from tests.server import ServerProcess, clocked

__all__ = ["clocked"]

Advance = Callable[[float], Awaitable[None]]
Enter = Callable[[str], Awaitable[User]]
NewPatient = Callable[[], Awaitable[User]]


@pytest_asyncio.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    # a socket holds its connection, so a limit on them would have wishes wait for wires
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        yield session


@pytest.fixture
def advance(clocked: ServerProcess, http: aiohttp.ClientSession) -> Advance:
    """Move the hospital's time; every deadline due by then has been handled on return."""

    async def move(seconds: float) -> None:
        url = f"{clocked.url}/test/clock/advance"
        async with http.post(url, json={"seconds": seconds}) as answer:
            assert answer.status == 200, await answer.text()

    return move


@pytest_asyncio.fixture
async def enter_as(clocked: ServerProcess, http: aiohttp.ClientSession) -> AsyncIterator[Enter]:
    """Log one of the demo's people in by phone."""
    users: list[User] = []

    async def make(phone: str) -> User:
        users.append(await enter(clocked.url, http, phone))
        return users[-1]

    yield make
    for user in users:
        await user.close()


@pytest_asyncio.fixture
async def new_patient(
    clocked: ServerProcess, http: aiohttp.ClientSession
) -> AsyncIterator[NewPatient]:
    users: list[User] = []

    async def make() -> User:
        users.append(await register(clocked.url, http))
        return users[-1]

    yield make
    for user in users:
        await user.close()
