"""Account settings and recommended doctors on the first page (A8, D4)."""

import aiohttp
import pytest
from playwright.async_api import Locator, Page, expect

from tests.clients.test_first_page import _log_in, browser, page
from tests.media.pictures import picture
from tests.scenarios.people import PASSWORD, SMS_CODE, register
from tests.server import ServerProcess

__all__ = ["browser", "page"]

NEW_PHONE, NEW_PASSWORD = "15812340099", "wenzhen-2027"


async def enter(side: Locator, phone: str, password: str) -> None:
    await side.get_by_label("手机号").fill(phone)
    await side.get_by_label("密码").fill(password)
    await side.get_by_role("button", name="登录").click()


@pytest.mark.rule("A8")
async def test_a_patient_edits_the_account_and_its_password(
    page: Page, server: ServerProcess
) -> None:
    async with aiohttp.ClientSession() as http:
        phone = (await register(server.url, http)).phone
    patient = page.locator("#patient")
    await enter(patient, phone, PASSWORD)
    await patient.get_by_text("账号设置", exact=True).click()
    await patient.get_by_label("用户名").fill("问诊小青")
    await patient.get_by_label("头像").set_input_files(
        {"name": "me.png", "mimeType": "image/png", "buffer": picture("PNG")}
    )
    await patient.get_by_label("真实姓名").fill("白小小")
    await patient.get_by_label("身份证").fill("110101199003070417")
    await patient.get_by_label("手机号", exact=True).fill(NEW_PHONE)
    await patient.get_by_role("button", name="获取验证码").click()
    await expect(patient.get_by_text("验证码已发送")).to_be_visible()
    await patient.get_by_label("新手机号验证码").fill(SMS_CODE)
    await patient.get_by_role("button", name="保存资料").click()

    await expect(patient.locator(".name")).to_have_text("问诊小青")
    await expect(patient.get_by_text("已实名", exact=True)).to_be_visible()
    await expect(patient.get_by_label("出生日期")).to_have_value("1990-03-07")
    seen = patient.get_by_role("img", name="头像")
    await expect(seen).to_have_js_property("complete", value=True)
    assert await seen.evaluate("image => image.naturalWidth") > 0

    await patient.get_by_label("旧密码").fill(PASSWORD)
    await patient.get_by_label("新密码").fill(NEW_PASSWORD)
    await patient.get_by_label("确认密码").fill(NEW_PASSWORD)
    await patient.get_by_role("button", name="修改密码").click()
    await expect(patient.get_by_text("密码已修改")).to_be_visible()
    await patient.get_by_role("button", name="退出").click()
    await enter(patient, NEW_PHONE, NEW_PASSWORD)
    await expect(patient.locator(".name")).to_have_text("问诊小青")


@pytest.mark.rule("D4")
async def test_a_patient_begins_with_a_recommended_doctor(page: Page) -> None:
    patient = page.locator("#patient")
    await _log_in(patient, "13800000001")
    doctors = patient.get_by_role("list", name="推荐医生").get_by_role("listitem")
    second = doctors.nth(1)
    await expect(second).to_contain_text("好评率")
    name = await second.get_by_role("strong").inner_text()
    await expect(patient.get_by_label("病情描述")).to_be_visible()
    await second.get_by_role("button", name="去问诊").click()
    chosen = patient.get_by_role("combobox", name="医生").locator("option:checked")
    await expect(chosen).to_contain_text(name)
