"""Calls of three in a group consultation's room, on real Chromium pages (G4)."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from tests.clients.calling import ALLOWED, press, shows
from tests.clients.playing import play
from tests.scenarios.grouping import Case, open_case, step
from tests.scenarios.people import HUANGFUMI, SHENNONG, XIAOFU, User, enter, register
from tests.server import ServerProcess

FLOW_SECONDS = 60.0
TILES = """() => Promise.all([...document.querySelectorAll(".others figure")].map(async (tile) => {
  const { srcObject } = tile.querySelector("video");
  const report = [...(await callClient.peerConnection.getStats(null)).values()];
  const ids = new Set(srcObject.getTracks().map(({ id }) => id));
  const own = report.filter(({ type, trackIdentifier }) =>
    type === "inbound-rtp" && ids.has(trackIdentifier));
  return {
    user: tile.dataset.user, words: tile.querySelector("figcaption").textContent,
    frames: own.reduce((sum, { framesDecoded = 0 }) => sum + framesDecoded, 0),
    energy: own.reduce((sum, { totalAudioEnergy = 0 }) => sum + totalAudioEnergy, 0),
  };
}))"""
"""What comes in for each tile: pictures, and sound."""
SCREENSHOT = os.environ.get("GROUP_CALL_SCREENSHOT")


@dataclass
class Guest:
    """Somebody of the group, with the call page in a browser of his own."""

    user: User
    page: Page

    async def tiles(self) -> dict[str, Any]:
        return {tile.pop("user"): tile for tile in await self.page.evaluate(TILES)}

    async def sees(self, *others: "Guest") -> None:
        """See that these, and nobody else, are shown and heard, and that it goes on."""
        wanted, before = {guest.user.id for guest in others}, await self.tiles()

        def flows(now: dict[str, Any]) -> bool:
            return set(now) == wanted and all(
                now[user][what] > before.get(user, {}).get(what, 0)
                for user in wanted
                for what in ("frames", "energy")
            )

        await _until(self.tiles, flows)


async def _until(read: Callable[[], Any], holds: Callable[[Any], bool]) -> None:
    now = None
    try:
        async with asyncio.timeout(FLOW_SECONDS):
            # the browser counts by itself and tells nobody: poll, bounded by the timeout
            while not holds(now := await read()):  # noqa: ASYNC110
                await asyncio.sleep(0.2)
    except TimeoutError:
        raise AssertionError(f"not within {FLOW_SECONDS:.0f} s: {now}") from None


@pytest_asyncio.fixture
async def people(server: ServerProcess) -> AsyncIterator[list[User]]:
    async with aiohttp.ClientSession() as http:
        doctors = [await enter(server.url, http, phone) for phone in (XIAOFU, HUANGFUMI, SHENNONG)]
        people = [await register(server.url, http), *doctors]
        yield people
        for user in people:
            await user.close()


async def enter_call(browser: Browser, user: User, call: str) -> Guest:
    ticket = (await user.post(f"/calls/{call}/ticket"))["url"]
    context = await browser.new_context(permissions=ALLOWED, viewport={"width": 900, "height": 700})
    page = await context.new_page()
    await page.goto(f"{user.url}{ticket}&accept=1")
    await shows(page, "connected")
    return Guest(user, page)


async def called(
    patient: User, opener: User, surgeon: User, physician: User
) -> tuple[Case, Any, str]:
    """Bring surgeon and patient into a group's room, and let its opener call them."""
    case = await open_case(patient, opener, surgeon, physician)
    group = await case.active()
    await step(patient, "join", group)
    started = await opener.emit("call:start", room=group["room"], media="video")
    return case, group, started["call"]["id"]


@pytest.mark.rule("G4", "V3", "V5", "V7")
async def test_three_meet_one_comes_late_one_reloads_one_leaves(
    browser: Browser, people: list[User]
) -> None:
    patient, opener, surgeon, physician = people
    case, group, call = await called(*people)
    first, second = await asyncio.gather(
        enter_call(browser, opener, call), enter_call(browser, surgeon, call)
    )
    await asyncio.gather(first.sees(second), second.sees(first))

    third = await enter_call(browser, patient, call)
    await _all_see(first, second, third)
    await press(second.page, "静音")
    await _until(first.tiles, lambda now: "麦克风已关闭" in now[surgeon.id]["words"])
    await press(second.page, "取消静音")
    if SCREENSHOT:
        await first.page.screenshot(path=SCREENSHOT)

    await third.page.reload()
    await shows(third.page, "connected")
    await _all_see(first, second, third)

    await press(second.page, "挂断")
    await shows(second.page, "ended")
    await asyncio.gather(first.sees(third), third.sees(first))

    # another one comes into the room, joins by calling, and takes the free place
    await step(physician, "accept", group)
    await physician.emit("call:start", room=group["room"], media="video")
    fourth = await enter_call(browser, physician, call)
    await _all_see(first, third, fourth)

    for guest in (first, fourth):
        await press(guest.page, "挂断")
    await shows(third.page, "ended")
    assert (await opener.get(f"/calls/{call}"))["end_reason"] == "hung_up"
    await opener.emit("consultation:end", consultation=case.consultation)


@pytest.mark.rule("V8", "G4")
async def test_three_are_recorded_while_all_of_them_agree(
    browser: Browser, people: list[User]
) -> None:
    patient, opener, surgeon, physician = people
    case, group, call = await called(*people)
    three = (opener, surgeon, patient)
    guests = await asyncio.gather(*(enter_call(browser, user, call) for user in three))
    await _all_see(*guests)
    await press(guests[0].page, "录制通话")
    await press(guests[1].page, "同意")
    await expect(guests[0].page.locator("#recording")).to_contain_text("等待对方同意")
    await press(guests[2].page, "同意")
    for guest in guests:
        await expect(guest.page.locator("#recording")).to_contain_text("正在录制")
    await _all_see(*guests)
    # who comes later has not agreed: he is not recorded before he does, nor is anybody with him
    await step(physician, "accept", group)
    await physician.emit("call:start", room=group["room"], media="video")
    late = await enter_call(browser, physician, call)
    await expect(late.page.locator("#recording")).to_contain_text("是否同意")
    await expect(guests[0].page.locator("#recording")).not_to_contain_text("正在录制")

    listed = partial(opener.get, f"/recordings?consultation={case.consultation}")
    await _until(listed, lambda now: [one["state"] for one in now["items"]] == ["stored"])
    (kept,) = (await listed())["items"]
    held = {(track["user"], track["kind"]) for track in kept["tracks"]}
    assert held == {(user.id, kind) for user in three for kind in ("audio", "video")}
    link = await patient.post(f"/recordings/{kept['id']}/link")
    played = await play(browser, patient.url, link["url"], 0.0)
    assert played["duration"] == pytest.approx(kept["duration_ms"] / 1000, abs=0.5)
    assert min(played["pictures"], played["sound"]) > 0
    for user in three:
        await user.emit("call:hang_up", call=call)
    await opener.emit("consultation:end", consultation=case.consultation)


async def _all_see(*guests: Guest) -> None:
    sights = (g.sees(*(other for other in guests if other is not g)) for g in guests)
    await asyncio.gather(*sights)
