"""Recordings played by a real Chromium from their signed addresses."""

from collections.abc import AsyncIterator

import aiohttp
import pytest
import pytest_asyncio
from playwright.async_api import Browser

from tests.clients.playing import play
from tests.scenarios.calling import Hall, Pair
from tests.scenarios.recorded import recorded
from tests.server import ServerProcess


@pytest_asyncio.fixture
async def hall(server: ServerProcess) -> AsyncIterator[Hall]:
    async with aiohttp.ClientSession() as http:
        hall = Hall(http, server.url)
        yield hall
        await hall.close()


@pytest.mark.rule("V8")
@pytest.mark.parametrize("codec", ["VP8", "H264"])
async def test_a_browser_plays_a_recording_and_jumps_in_it(
    hall: Hall, server: ServerProcess, browser: Browser, codec: str
) -> None:
    pair = await Pair.make(hall)
    call = await pair.connected()
    shown = await recorded(server, pair, call, codec, seconds=8.0)
    path = f"/recordings/{shown['id']}/link"
    _, signed = await hall.rest(pair.row["doctor_token"], "POST", path, {})

    played = await play(browser, server.url, signed["url"], 5.0)

    assert played["duration"] == pytest.approx(8.0, abs=0.5)
    assert played["ended"] == pytest.approx(played["duration"], abs=0.1)
    assert played["size"] == [160, 120]
    # three seconds of them, at 20 a second
    assert played["pictures"] >= 50
    assert played["sound"] > 0
