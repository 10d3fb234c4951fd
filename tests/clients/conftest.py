"""One server for the tests of this folder, and the browser in which calls are."""

from collections.abc import AsyncIterator

import pytest_asyncio
from playwright.async_api import Browser, Playwright, async_playwright, expect

from tests.clients.calling import CONNECTED_MS, FLAGS
from tests.clients.need import browser_program
from tests.server import server

__all__ = ["server"]

expect.set_options(timeout=CONNECTED_MS)


@pytest_asyncio.fixture(scope="module")
async def playwright() -> AsyncIterator[Playwright]:
    browser_program()
    async with async_playwright() as playwright:
        yield playwright


@pytest_asyncio.fixture(scope="module")
async def browser(playwright: Playwright) -> AsyncIterator[Browser]:
    browser = await playwright.chromium.launch(executable_path=browser_program(), args=FLAGS)
    yield browser
    await browser.close()
