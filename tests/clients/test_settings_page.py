"""The own account on the first page and its recommended doctors (A7, A8, D4)."""

import io

import aiohttp
import pytest
from PIL import Image
from playwright.async_api import Page, expect

from tests.clients.test_first_page import _log_in, browser, page
from tests.scenarios.people import PASSWORD, register
from tests.server import ServerProcess

__all__ = ["browser", "page"]

NEW_PASSWORD = "wenzhen-2027"


def picture() -> bytes:
    content = io.BytesIO()
    Image.new("RGB", (80, 80), "teal").save(content, "PNG")
    return content.getvalue()


@pytest.mark.rule("A7", "A8")
async def test_a_patient_changes_his_details_and_his_password(
    page: Page, server: ServerProcess
) -> None:
    async with aiohttp.ClientSession() as http:
        account = await register(server.url, http)
        patient = page.locator("#patient")
        await patient.get_by_label("手机号").fill(account.phone)
        await patient.get_by_label("密码").fill(PASSWORD)
        await patient.get_by_role("button", name="登录").click()
        await patient.get_by_text("账号设置", exact=True).click()
        form = patient.get_by_role("form", name="修改资料")
        await form.get_by_label("头像").set_input_files(
            {"name": "me.png", "mimeType": "image/png", "buffer": picture()}
        )
        await form.get_by_label("用户名").fill("小白兔")
        await form.get_by_label("性别").select_option("女")
        await form.get_by_label("出生日期").fill("1990-02-28")
        await form.get_by_role("button", name="提交").click()
        avatar = form.get_by_role("img", name="头像")
        await expect(avatar).to_be_visible()
        assert await avatar.evaluate("(image) => image.decode().then(() => image.naturalWidth)") > 0
        await expect(patient.locator(".name")).to_have_text("小白兔")
        me = await account.get("/me")
        assert (me["name"], me["sex"], me["birth_date"]) == ("小白兔", "female", "1990-02-28")

        await form.get_by_role("button", name="移除头像").click()
        await expect(avatar).to_be_hidden()
        await expect(form.get_by_role("button", name="移除头像")).to_be_hidden()
        assert (await account.get("/me"))["avatar"] is None

        form = patient.get_by_role("form", name="修改密码")
        await form.get_by_label("旧密码").fill(PASSWORD)
        await form.get_by_label("新密码").fill(NEW_PASSWORD)
        await form.get_by_label("确认密码").fill(NEW_PASSWORD)
        await form.get_by_role("button", name="修改密码").click()
        await expect(page.get_by_text("密码已修改，其他设备需要重新登录")).to_be_visible()
        answer = await account.client.call(
            "POST", "/auth/login", {"phone": account.phone, "password": NEW_PASSWORD}
        )
        assert answer.status == 200


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
