"""The first page in a real browser: a person plays both sides, on the public wire alone."""

import os
from collections.abc import AsyncIterator

import pytest
from playwright.async_api import Browser, ConsoleMessage, Locator, Page, async_playwright, expect

from tests.clients.calling import CONNECTED_MS
from tests.clients.need import browser_program
from tests.server import ServerProcess

SCREENSHOT = os.environ.get("FIRST_PAGE_SCREENSHOT")
"""Where to put a picture of the page in mid-talk: `docs/images/first-page.png` for the README."""

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    program = browser_program()
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=program, args=FLAGS)
        yield browser
        await browser.close()


@pytest.fixture
async def page(browser: Browser, server: ServerProcess) -> AsyncIterator[Page]:
    """Open the first page; whatever its console complains of fails the test."""
    page = await browser.new_page(viewport={"width": 1280, "height": 860})
    page.set_default_timeout(CONNECTED_MS)
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda line: _keep_complaint(line, complaints))
    await page.goto(server.url)
    yield page
    assert complaints == []


def _keep_complaint(line: ConsoleMessage, complaints: list[str]) -> None:
    # the browser itself reports each 401; that one is what a wrong password is for
    refused_log_in = "status of 401" in line.text and "auth/login" in line.location["url"]
    if line.type in {"error", "warning"} and not refused_log_in:
        complaints.append(line.text)


async def _log_in(side: Locator, phone: str) -> None:
    await side.get_by_label("演示账号").select_option(f"{phone} wenzhen-2026")
    await side.get_by_role("button", name="登录").click()
    await expect(side.get_by_text("已连接", exact=True)).to_be_visible()


async def _ask(patient: Locator, doctor: str, description: str) -> None:
    doctors = patient.get_by_role("combobox", name="医生")
    choice = await doctors.locator("option", has_text=doctor).inner_text()
    await doctors.select_option(label=choice)
    await patient.get_by_label("病情描述").fill(description)
    await patient.get_by_label("我已阅读并同意").check()
    await patient.get_by_role("button", name="提交问诊").click()


async def _say(side: Locator, text: str) -> None:
    await side.get_by_label("输入消息").fill(text)
    await side.get_by_role("button", name="发送", exact=True).click()


async def _begin(page: Page, description: str) -> tuple[Locator, Locator]:
    """Log both sides in and bring them into one conversation."""
    patient, doctor = page.locator("#patient"), page.locator("#doctor")
    await _log_in(patient, "13800000002")
    await _log_in(doctor, "13900000002")
    await _ask(patient, "皇甫谧", description)
    await expect(patient.get_by_text("排队第 1 位")).to_be_visible()
    await (
        doctor.get_by_role("listitem")
        .filter(has_text=description)
        .get_by_role("button", name="查看")
        .click()
    )
    await doctor.get_by_role("button", name="接诊").click()
    for side in (patient, doctor):
        await expect(side.get_by_text("问诊已开始，本次问诊有效期为24小时")).to_be_visible()
    return patient, doctor


async def _end(doctor: Locator) -> None:
    await doctor.get_by_role("button", name="结束问诊").click()
    await expect(doctor.locator(".tag")).to_have_text("已结束")


async def test_a_person_plays_both_sides_of_a_consultation(page: Page) -> None:
    patient, doctor = await _begin(page, "腰部酸痛两周，久坐以后明显加重")

    await _say(patient, "医生您好，请帮我看一下")
    await expect(doctor.get_by_text("医生您好，请帮我看一下")).to_be_visible()
    await expect(patient.get_by_text("已读")).to_be_visible()

    await doctor.get_by_label("输入消息").press_sequentially("多久了")
    await expect(patient.get_by_text("对方正在输入…")).to_be_visible()
    await doctor.get_by_label("输入消息").press("Enter")
    await expect(patient.get_by_text("多久了")).to_be_visible()
    await expect(patient.locator(".deadline")).to_contain_text("无新消息将自动结束")

    picture = await page.screenshot(clip={"x": 24, "y": 21, "width": 40, "height": 40})
    await patient.get_by_label("发送图片").set_input_files(
        {"name": "腰.png", "mimeType": "image/png", "buffer": picture}
    )
    await expect(doctor.get_by_role("img", name="图片")).to_be_visible()
    if SCREENSHOT:
        await page.screenshot(path=SCREENSHOT)

    await _say(patient, "发错了")
    await patient.locator(".line", has_text="发错了").get_by_role("button", name="撤回").click()
    await expect(doctor.get_by_text("撤回了一条消息")).to_be_visible()
    await expect(doctor.get_by_text("发错了")).to_have_count(0)

    await _end(doctor)
    await expect(patient.get_by_text("医生结束了问诊").first).to_be_visible()
    await expect(patient.get_by_label("输入消息")).to_be_hidden()


async def test_a_side_that_lost_its_connection_misses_nothing_and_loses_nothing(
    page: Page,
) -> None:
    patient, doctor = await _begin(page, "夜里咳嗽有痰，已经持续了十几天")

    await patient.get_by_role("button", name="模拟断网").click()
    await _say(doctor, "第一条")
    await _say(patient, "断网时写的")
    await _say(doctor, "第二条")

    bubbles = patient.locator(".bubble")
    await expect(bubbles.filter(has_text="第")).to_have_text(["第一条", "第二条"])
    await expect(doctor.locator(".bubble", has_text="断网时写的")).to_have_count(1)
    await expect(patient.locator(".bubble", has_text="断网时写的")).to_have_count(1)
    await _end(doctor)


async def test_a_refusal_is_told_in_words(page: Page) -> None:
    patient = page.locator("#patient")
    await patient.get_by_label("密码").fill("wrong-password-1")
    await patient.get_by_role("button", name="登录").click()
    await expect(patient.get_by_role("alert")).not_to_be_empty()
    assert "{" not in await patient.get_by_role("alert").inner_text()


async def test_the_reference_shows_both_wires(page: Page, server: ServerProcess) -> None:
    await page.goto(f"{server.url}/docs")

    for operation, field in (
        ("post-/api/v1/consultations", "consent_version"),
        ("socket-message_send", "client_id"),
    ):
        details = page.locator(f"[id='{operation}']")
        await details.locator("> summary").click()
        await expect(details.get_by_role("cell", name=field, exact=True)).to_be_visible()
    asked = page.locator("[id='post-/api/v1/consultations']")
    await asked.get_by_text("请求示例").click()
    await expect(asked.locator("pre").first).to_contain_text("牙疼三天")


@pytest.mark.parametrize("path", ["/", "/docs"])
async def test_nothing_is_wider_than_a_phone(page: Page, server: ServerProcess, path: str) -> None:
    await page.set_viewport_size({"width": 375, "height": 740})
    await page.goto(server.url + path)
    await page.wait_for_load_state("networkidle")

    assert await page.evaluate("document.documentElement.scrollWidth") <= 375
