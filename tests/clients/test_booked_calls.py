"""A booked video consultation in real Chromium pages, from the booking to the line of its call."""

import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any, Self

import aiohttp
import pytest
import pytest_asyncio
from playwright.async_api import Browser, expect

from bot.calls import Phone
from bot.errors import NoAddress
from tests.clients.calling import LASTS, Pair, Side, flows, press, shows
from tests.clients.need import missing
from tests.scenarios.booking import book, until
from tests.scenarios.people import XIAOFU, User, enter, register
from tests.scenarios.views import templates
from tests.scenarios.wire import Wire, log_in
from tests.server import ServerProcess

SCREENSHOT = os.environ.get("CALL_PAGE_SCREENSHOT")
"""Where to put a picture of the page in a call: `docs/images/call-page.png` for the README."""

TOKEN_SECONDS = 30 * 24 * 3600
REMINDER_SECONDS = 20 * 60
MEDIA_SECONDS = 45.0

BOT_HERTZ, PAGE_HERTZ = 440, 620
TONE = f"""(() => {{
  // the fake microphone only clicks twice a second: a tone instead, once the page may sound
  const context = new AudioContext();
  addEventListener("click", () => context.resume(), {{ capture: true }});
  const ask = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
  navigator.mediaDevices.getUserMedia = async (constraints) => {{
    const asked = await ask(constraints);
    const tone = new OscillatorNode(context, {{ frequency: {PAGE_HERTZ} }});
    const destination = context.createMediaStreamDestination();
    tone.connect(destination);
    tone.start();
    return new MediaStream([...asked.getVideoTracks(), ...destination.stream.getAudioTracks()]);
  }};
}})()"""


@dataclass
class Booked:
    """A booking of the next day, and its two people."""

    url: str
    http: aiohttp.ClientSession
    patient: User
    doctor: User
    booking: Any
    closing: AsyncExitStack
    """Closes what a test opened, also where it failed."""

    @classmethod
    async def make(cls, url: str, http: aiohttp.ClientSession, closing: AsyncExitStack) -> Self:
        patient, doctor = await register(url, http), await enter(url, http, XIAOFU)
        for user in (patient, doctor):
            closing.push_async_callback(user.close)
        return cls(url, http, patient, doctor, await book(patient, doctor), closing)

    async def wait_until(self, before_seconds: float = 0) -> None:
        """Move the hospital's time to so long before the slot's."""
        await until(self.patient, self.booking["slot"]["starts_at"], before_seconds)

    async def side(self, user: User) -> Side:
        token = (await log_in(self.http, self.url, user.phone))["access_token"]
        side = Side(self.url, self.http, token, await Wire.enter(self.http, self.url, token))
        self.closing.push_async_callback(side.close)
        return side

    async def phone(self) -> Phone:
        """Let a bot be the doctor, with a phone."""
        phone = Phone(self.doctor.client, BOT_HERTZ)
        self.closing.push_async_callback(phone.close)
        await self.doctor.client.connect()
        return phone

    async def pair(self) -> Pair:
        sides = await self.side(self.doctor), await self.side(self.patient)
        pair = Pair(self.booking["room"], *sides)
        await pair.doctor.app.ask("room:join", {"room": pair.room})
        return pair

    async def state(self) -> str:
        return str((await self.patient.get(f"/consultations/{self.booking['id']}"))["state"])


@pytest_asyncio.fixture(scope="module")
async def hospital(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ServerProcess]:
    """Serve people whose tokens outlast the wait for the booked time."""
    env = {"WENZHEN_ACCOUNTS__ACCESS_TOKEN_SECONDS": str(TOKEN_SECONDS)}
    folder = tmp_path_factory.mktemp("booked-calls") / "data"
    process = ServerProcess(folder, "--virtual-clock", env=env)
    try:
        await process.start()
        yield process
    finally:
        await process.close()


@pytest_asyncio.fixture
async def booked(hospital: ServerProcess) -> AsyncIterator[Booked]:
    async with aiohttp.ClientSession() as http, AsyncExitStack() as closing:
        yield await Booked.make(hospital.url, http, closing)


@pytest.mark.rule("B5", "B6", "V5", "V6", "V7", "V10")
async def test_a_booked_video_call_is_reminded_of_muted_survives_a_reload_and_leaves_its_line(
    browser: Browser, booked: Booked
) -> None:
    assert (booked.booking["state"], await booked.state()) == ("booked", "awaiting_doctor")
    await booked.wait_until(REMINDER_SECONDS + 60)
    assert await templates(booked.patient) == ["booking_confirmed"]
    await booked.wait_until(REMINDER_SECONDS)
    assert await templates(booked.patient) == ["booking_confirmed", "booking_reminder"]

    await booked.wait_until()
    pair = await booked.pair()
    doctor, patient = await pair.connect(browser)
    await flows(doctor, patient)
    if SCREENSHOT:
        await patient.screenshot(path=SCREENSHOT)

    await press(patient, "静音")
    await expect(doctor.locator("#peer-devices")).to_have_text("对方麦克风已关闭")
    await press(patient, "关闭摄像头")
    await expect(doctor.locator("#peer-devices")).to_contain_text("对方摄像头已关闭")
    await expect(doctor.locator("#call")).to_have_attribute("data-picture", "no")
    await press(patient, "取消静音")
    await press(patient, "打开摄像头")
    await expect(doctor.locator("#peer-devices")).to_be_empty()

    await patient.reload()
    await shows(patient, "connected", "00:0")
    await shows(doctor, "connected", "00:0")
    await flows(doctor, patient)

    # a shorter one would be no consultation
    await shows(doctor, "connected", LASTS)
    await press(doctor, "挂断")
    for page in (doctor, patient):
        await shows(page, "ended", "通话已结束 · 时长 00:0")
    await pair.line(r"视频问诊时长 00:0\d:\d\d")
    assert await booked.state() == "in_progress"


async def test_a_page_and_a_bot_see_and_hear_each_other(browser: Browser, booked: Booked) -> None:
    await booked.wait_until()
    patient, phone = await booked.side(booked.patient), await booked.phone()
    started = await phone.start(booked.booking["room"], "video")
    assert started["ok"], started
    page = await patient.open(browser, started["call"]["id"], script=TONE)
    await press(page, "接听")

    def receives() -> bool:
        found = phone.measured(PAGE_HERTZ)
        return bool(found["moving"] and found["audio"] and found["tone"])

    try:
        assert await phone.until(receives, MEDIA_SECONDS), phone.measured(PAGE_HERTZ)
    except NoAddress as error:
        missing("NETWORK", f"a page against a bot was NOT tested: {error}")
    frames = phone.frames
    await shows(page, "connected")
    await flows(page)
    assert await phone.until(lambda: phone.frames > frames + 5, MEDIA_SECONDS)

    await press(page, "挂断")
    assert await phone.until(lambda: _ended(phone), MEDIA_SECONDS), phone.call


def _ended(phone: Phone) -> bool:
    return phone.call is not None and phone.call["state"] == "ended"
