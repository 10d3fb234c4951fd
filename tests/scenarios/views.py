"""What a consultation's people see of it: its record, its room, its closing, its notices."""

from collections.abc import AsyncIterator, Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio

from bot.client import Client
from care.record import read_time
from tests.scenarios.people import User
from tests.server import ServerProcess

MINUTE, HOUR = 60, 3600
CAP_HOURS = 40
"""How long a talk may last here, however much is said."""
CLOSED = {"ended", "cancelled", "declined", "expired"}
SECONDS = 30.0


@pytest_asyncio.fixture(scope="module")
async def clocked(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ServerProcess]:
    """Serve people whose tokens outlast the clocks, so that their sockets hear of each closing."""
    env = {
        "WENZHEN_ACCOUNTS__ACCESS_TOKEN_SECONDS": str(30 * 24 * HOUR),
        "WENZHEN_CONSULTATIONS__TEXT__MAX_MINUTES": str(CAP_HOURS * 60),
    }
    folder = tmp_path_factory.mktemp("deadlines") / "data"
    process = ServerProcess(folder, "--virtual-clock", env=env)
    try:
        await process.start()
        yield process
    finally:
        await process.close()


async def shown(user: User, consultation: str) -> Any:
    return await user.get(f"/consultations/{consultation}")


async def lines(user: User, room: str) -> list[Any]:
    """Read the whole room."""
    return list((await user.emit("room:join", room=room, after_seq=0))["messages"])


async def closing_of(device: Client, consultation: str) -> Any:
    """Wait until a device hears that the consultation closed."""
    found = await device.wait_for_event(
        "consultation:updated",
        SECONDS,
        lambda c: c["id"] == consultation and c["state"] in CLOSED,
    )
    assert found is not None, "it was not told of the closing"
    return found.data


def has_template(template: str) -> Callable[[Any], bool]:
    return lambda notice: bool(notice["template"] == template)


async def templates(user: User) -> list[str]:
    """List the notices of a user, the oldest first."""
    return [n["template"] for n in reversed((await user.get("/notices?limit=100"))["items"])]


def later(wire_time: str, seconds: float) -> datetime:
    return read_time(wire_time) + timedelta(seconds=seconds)
