"""Calls between real Chromium pages with fake devices, through the whole server."""

import asyncio
import os
import secrets
import shutil
import signal
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, Playwright, expect

from tests.clients.calling import (
    FLAGS,
    LASTS,
    MEASURE,
    NewPair,
    Pair,
    find_browser,
    flows,
    network_service,
    new_pair,
    press,
    shows,
)
from tests.clients.need import browser_program
from tests.clients.relay import Relay
from tests.server import ServerProcess

RING_SECONDS = 12

REPORT = """async () => {
  const { Meter } = await import("/assets/call-stats.js");
  return new Meter(callClient.peerConnection).read();
}"""
"""What the page's next report of its call says."""
KEEP_SOCKET = """globalThis.WebSocket = class extends WebSocket {
  constructor(...given) { super(...given); globalThis.webSocket = this; }
};"""

__all__ = ["new_pair"]


@pytest_asyncio.fixture(scope="module")
async def relay() -> AsyncIterator[Relay | None]:
    if shutil.which("turnserver") is None:
        yield None
        return
    async with Relay.run() as relay:
        yield relay


@pytest_asyncio.fixture(scope="module")
async def hospital(
    tmp_path_factory: pytest.TempPathFactory, relay: Relay | None
) -> AsyncIterator[ServerProcess]:
    settings = {"WENZHEN_CALLS__RING_SECONDS": str(RING_SECONDS)} | (
        relay.settings if relay else {}
    )
    process = ServerProcess(tmp_path_factory.mktemp("calls") / "data", env=settings)
    try:
        await process.start()
        yield process
    finally:
        await process.close()


async def test_a_voice_call_has_no_camera(browser: Browser, new_pair: NewPair) -> None:
    pair = await new_pair("voice")
    doctor, patient = await pair.connect(browser, "audio")
    await flows(doctor, patient, video=False)
    await expect(doctor.get_by_role("button", name="关闭摄像头")).to_have_count(0)
    await shows(doctor, "connected", LASTS)
    await press(patient, "挂断")
    await pair.line(r"语音问诊时长 00:0\d:\d\d")


@pytest.mark.rule("V1")
async def test_a_call_is_declined_cancelled_and_called_again(
    browser: Browser, new_pair: NewPair
) -> None:
    pair = await new_pair("video")
    call = await pair.ring()
    doctor, patient = await pair.doctor.open(browser, call), await pair.patient.open(browser, call)
    await shows(patient, "ringing", "您有新的视频通话，是否接听？")
    await press(patient, "拒绝")
    await shows(doctor, "ended", "对方已拒绝")
    await pair.line("患者拒绝了视频通话")

    call = await pair.ring()
    doctor, patient = await pair.doctor.open(browser, call), await pair.patient.open(browser, call)
    await shows(patient, "ringing")
    await press(doctor, "取消")
    await shows(patient, "ended", "对方已取消")
    await pair.line("医生取消了视频通话")

    await flows(*await pair.connect(browser))


@pytest.mark.rule("V1")
async def test_an_event_that_was_overtaken_changes_nothing(
    browser: Browser, new_pair: NewPair
) -> None:
    pair = await new_pair("video")
    call = await pair.ring()
    doctor = await pair.doctor.open(browser, call)
    patient = await pair.patient.open(browser, call, script=KEEP_SOCKET)
    await shows(patient, "ringing")
    late = await patient.evaluate(
        "`42${JSON.stringify(['call:updated', { call: callClient.call }])}`"
    )
    await press(patient, "接听")
    for page in (doctor, patient):
        await shows(page, "connected")
    await patient.evaluate("(data) => webSocket.onmessage({ data })", late)
    # a later event would mend it, so this is not waited for
    assert await patient.locator("#call").get_attribute("data-state") == "connected"
    await flows(doctor, patient)


@pytest.mark.rule("V1")
async def test_a_call_nobody_takes_is_missed(browser: Browser, new_pair: NewPair) -> None:
    pair = await new_pair("video")
    call = await pair.ring()
    doctor, patient = await pair.doctor.open(browser, call), await pair.patient.open(browser, call)
    await shows(doctor, "ended", "对方无人接听")
    await shows(patient, "ended", "未接听")
    await pair.line("视频通话无人接听")


@pytest.mark.rule("V1")
async def test_the_first_of_two_devices_has_the_call(browser: Browser, new_pair: NewPair) -> None:
    pair = await new_pair("video")
    call = await pair.ring()
    doctor, first, second = await asyncio.gather(
        pair.doctor.open(browser, call),
        pair.patient.open(browser, call),
        pair.patient.open(browser, call),
    )
    await shows(second, "ringing")
    await press(first, "接听")
    await shows(second, "elsewhere", "已在您的其他设备上接听")
    await expect(second.get_by_role("button")).to_have_count(0)
    await shows(doctor, "connected")
    await flows(doctor, first)


@pytest.mark.rule("V7")
async def test_a_blocked_camera_falls_back_to_voice(browser: Browser, new_pair: NewPair) -> None:
    pair = await new_pair("video")
    call = await pair.ring()
    doctor = await pair.doctor.open(browser, call)
    patient = await pair.patient.open(browser, call, allowed=["microphone"])
    await expect(patient.get_by_role("alert")).to_contain_text("摄像头被禁用")
    await press(patient, "接听")
    await shows(doctor, "connected")
    await expect(doctor.locator("#peer-devices")).to_have_text("对方摄像头被禁用")
    await flows(doctor, video=False)
    await flows(patient)


@pytest.mark.rule("V7")
async def test_a_web_view_without_devices_still_hears_and_sees(
    browser: Browser, new_pair: NewPair
) -> None:
    pair = await new_pair("video")
    call = await pair.ring()
    doctor = await pair.doctor.open(browser, call)
    bare = "Object.defineProperty(navigator, 'mediaDevices', { value: undefined })"
    patient = await pair.patient.open(browser, call, script=bare)
    await expect(patient.get_by_role("alert")).to_contain_text("这里无法使用麦克风")
    await press(patient, "接听")
    await shows(doctor, "connected")
    await flows(patient)


@pytest.mark.rule("V5")
async def test_a_network_lost_for_20_s_comes_back_and_one_lost_for_40_s_ends_the_call(
    playwright: Playwright, browser: Browser, new_pair: NewPair
) -> None:
    back, gone = await asyncio.gather(
        _lose_network(playwright, browser, await new_pair("video"), 20),
        _lose_network(playwright, browser, await new_pair("video"), 40),
    )
    for page in back:
        await shows(page, "connected", "00:0")
    await flows(*back)
    for page in gone:
        await shows(page, "ended", "网络中断")


async def _lose_network(
    playwright: Playwright, browser: Browser, pair: Pair, seconds: float
) -> tuple[Page, Page]:
    """Take all networking from the patient's browser for a while, in the midst of a call."""
    mark = f"--mark={secrets.token_hex(8)}"
    other = await playwright.chromium.launch(executable_path=browser_program(), args=[*FLAGS, mark])
    pages = await pair.connect(browser, other=other)
    await flows(*pages)
    service = network_service(find_browser(mark))
    os.kill(service, signal.SIGSTOP)
    try:
        # the time that goes by is what is proven here
        await asyncio.sleep(seconds)
    finally:
        os.kill(service, signal.SIGCONT)
    return pages


@pytest.mark.rule("V4")
async def test_a_call_through_the_relay_alone(
    browser: Browser, new_pair: NewPair, relay: Relay | None
) -> None:
    Relay.need(relay)
    pair = await new_pair("video")
    pages = await pair.connect(browser, more="&relay=only")
    await flows(*pages)
    for page in pages:
        assert (await page.evaluate(MEASURE))["path"] == "relay"
        assert (await page.evaluate(REPORT))["candidate"] == "relay"


@pytest.mark.rule("V4")
async def test_the_relay_refuses_wrong_and_expired_credentials(
    browser: Browser, hospital: ServerProcess, relay: Relay | None
) -> None:
    running = Relay.need(relay)
    page = await browser.new_page()
    await page.goto(hospital.url)
    gathered = {
        name: await page.evaluate(Relay.GATHER, [running.url, *credentials])
        for name, credentials in {
            "good": running.credentials(60),
            "expired": running.credentials(-60),
            "wrong": (running.credentials(60)[0], "guessed"),
        }.items()
    }
    await page.close()
    assert gathered["good"] == {"relays": 1, "refused": False}
    assert gathered["expired"] == gathered["wrong"] == {"relays": 0, "refused": True}
