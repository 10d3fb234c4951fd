"""The health circle on the first page: a patient reads, likes, comments and replies."""

import os

import pytest
from playwright.async_api import Page, expect

from tests.clients.test_first_page import _log_in, browser, page
from tests.server import ServerProcess

__all__ = ["browser", "page"]

SCREENSHOT = os.environ.get("CIRCLE_SCREENSHOT")


@pytest.mark.rule("H1", "H2", "H3")
async def test_a_patient_reads_likes_and_talks(page: Page, server: ServerProcess) -> None:
    patient = page.locator("#patient")
    await _log_in(patient, "13800000002")
    await patient.get_by_text("健康圈", exact=True).click()
    await patient.get_by_role("button", name="辟谣").click()
    await expect(patient.get_by_text("“骨头汤补钙”是真的吗")).to_be_visible()
    await patient.get_by_role("button", name="医生话题").click()
    await expect(patient.get_by_role("list", name="文章")).to_contain_text("小傅")
    await patient.get_by_role("button", name="两性").click()
    await patient.get_by_role("button", name="阅读").click()
    article = patient.get_by_role("article", name="备孕前，两个人都要做的检查")
    await expect(article.get_by_role("cell", name="精液常规")).to_be_visible()

    await article.get_by_role("button", name="点赞 0").click()
    await expect(article.get_by_role("button", name="点赞 1")).to_have_attribute(
        "aria-pressed", "true"
    )
    await article.get_by_role("button", name="分享 0").click()
    await expect(article.get_by_role("button", name="分享 1")).to_be_visible()
    await patient.get_by_label("评论", exact=True).first.fill("叶酸男方要吃吗")
    await patient.get_by_role("button", name="发表").first.click()
    comments = patient.get_by_role("list", name="评论")
    await expect(comments).to_contain_text("叶酸男方要吃吗")
    await comments.get_by_text("回复", exact=True).first.click()
    await comments.get_by_role("textbox", name="回复").fill("一般不用")
    await comments.get_by_role("button", name="发表").click()
    await expect(comments.get_by_role("list", name="回复")).to_contain_text("一般不用")
    if SCREENSHOT:
        await page.screenshot(path=SCREENSHOT)
    await article.get_by_role("button", name="点赞 1").click()
    await expect(article.get_by_role("button", name="点赞 0")).to_be_visible()
