"""Reviews and complaints on the first page (E1, K1)."""

import aiohttp
import pytest
from playwright.async_api import Page, expect

from tests.clients.test_first_page import _begin, _end, browser, page
from tests.scenarios.people import OPERATOR, enter
from tests.server import ServerProcess

__all__ = ["browser", "page"]


@pytest.mark.rule("E1", "K1")
async def test_a_patient_reviews_his_doctor_and_complains(
    page: Page, server: ServerProcess
) -> None:
    patient, doctor = await _begin(page, "颈肩酸痛，低头工作后加重一周")
    await _end(doctor)
    await patient.get_by_label("评分").select_option("4")
    await patient.get_by_label("留言").fill("回复及时")
    await patient.get_by_role("button", name="提交评价").click()
    await expect(patient.get_by_text("感谢您的评价")).to_be_visible()

    await patient.get_by_role("button", name="返回").click()
    await patient.get_by_text("投诉建议", exact=True).click()
    await patient.get_by_label("请选择原因").select_option("页面布局")
    await patient.get_by_label("原因", exact=True).fill("字太小，老人看不清")
    await patient.get_by_role("button", name="提交", exact=True).click()
    own = patient.get_by_role("list", name="我的投诉建议")
    await expect(own.get_by_text("字太小，老人看不清")).to_be_visible()

    async with aiohttp.ClientSession() as http:
        staff = await enter(server.url, http, OPERATOR)
        (made,) = (await staff.get("/complaints?state=open"))["items"]
        await staff.post(f"/complaints/{made['id']}/answer", {"text": "已加大字号"})
    await patient.get_by_text("投诉建议", exact=True).click()
    await patient.get_by_text("投诉建议", exact=True).click()
    await expect(own.get_by_text("回复：已加大字号")).to_be_visible()
    await own.get_by_role("button", name="关闭").click()
    await expect(own.get_by_text("已关闭")).to_be_visible()
