"""A group consultation on the first page: two doctors on two pages, and the patient."""

import os

import pytest
from playwright.async_api import Browser, Locator, Page, expect

from tests.clients.test_first_page import _begin, _end, _log_in, _say, browser, page
from tests.server import ServerProcess

__all__ = ["browser", "page"]

SCREENSHOT = os.environ.get("GROUP_SCREENSHOT")


@pytest.mark.rule("G1", "G2", "G3")
async def test_three_people_meet_and_the_patient_reads_the_conclusion(
    page: Page, browser: Browser, server: ServerProcess
) -> None:
    patient, doctor = await _begin(page, "摔倒后右下颌肿痛，张口受限三天")
    other = await browser.new_page(viewport={"width": 700, "height": 860})
    await other.goto(server.url)
    await other.get_by_role("button", name="医生端").click()
    surgeon = other.locator("#doctor")
    await _log_in(surgeon, "13900000001")

    await doctor.get_by_text("会诊", exact=True).click()
    await doctor.get_by_label("会诊主题").fill("颌面外伤讨论")
    await doctor.get_by_label("会诊理由").fill("请口腔科会诊")
    await doctor.get_by_label("共享内容").select_option("病历和聊天记录")
    await doctor.get_by_label("邀请医生").select_option([await _choice(doctor, "小傅")])
    await doctor.get_by_role("button", name="发起会诊").click()
    await expect(doctor.get_by_text("主治-皇甫谧")).to_be_visible()

    await surgeon.get_by_role("button", name="接受", exact=True).click()
    await expect(surgeon.get_by_text("摔倒后右下颌肿痛")).to_be_visible()
    invitation = patient.get_by_role("article", name="会诊邀请")
    await expect(invitation).to_contain_text("“皇甫谧”医生邀请您加入【颌面外伤讨论】会诊")
    await invitation.get_by_role("button", name="进入会诊").click()
    await _say(surgeon, "请把嘴张大一点")
    await expect(patient.get_by_text("请把嘴张大一点")).to_be_visible()
    await expect(patient.locator(".bubble").locator("..").locator(".meta")).to_have_text(
        ["会诊-小傅"]
    )

    await surgeon.get_by_text("会诊意见", exact=True).first.click()
    await surgeon.get_by_role("textbox", name="会诊意见").fill("建议CT")
    await surgeon.get_by_role("button", name="提交").click()
    await expect(doctor.get_by_text("小傅医生提交了会诊意见")).to_be_visible()
    if SCREENSHOT:
        await page.screenshot(path=SCREENSHOT)
    await doctor.get_by_text("会诊结论", exact=True).first.click()
    await doctor.get_by_role("textbox", name="会诊结论").fill("今日完善CT")
    await doctor.get_by_role("button", name="提交").click()

    for side in (patient, surgeon):
        card = side.get_by_role("article", name="会诊结论")
        await expect(card).to_contain_text("小傅医生意见：建议CT")
        await expect(card).to_contain_text("今日完善CT")
        await expect(side.get_by_label("输入消息")).to_be_hidden()
    await other.close()
    await patient.get_by_role("button", name="返回").click()
    await patient.get_by_role("button", name="进入", exact=True).click()
    await expect(patient.get_by_role("article", name="会诊结论")).to_contain_text("今日完善CT")
    await doctor.get_by_role("button", name="返回").click()
    await doctor.get_by_role("button", name="查看").click()
    await _end(doctor)


async def _choice(side: Locator, name: str) -> str:
    option = side.get_by_label("邀请医生").locator("option", has_text=name)
    return str(await option.get_attribute("value"))
