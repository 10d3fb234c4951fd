"""Prescribing on the first page: a doctor writes, a pharmacist decides, the patient reads."""

import pytest
from playwright.async_api import Page, expect

from tests.clients.test_first_page import _begin, _end, _log_in, browser, page

__all__ = ["browser", "page"]


@pytest.mark.rule("X1", "X2", "X3")
async def test_a_prescription_goes_from_the_doctor_by_the_pharmacist_to_the_patient(
    page: Page,
) -> None:
    patient, doctor = await _begin(page, "右下后牙肿痛三天，咬东西加重")
    pharmacist = page.locator("#pharmacist")
    await _log_in(pharmacist, "13700000001")

    await doctor.get_by_text("开处方", exact=True).click()
    await doctor.get_by_label("诊断").fill("牙周炎")
    await doctor.get_by_role("button", name="急性牙周炎").click()
    await doctor.get_by_role("searchbox", name="药品").fill("阿莫西林")
    await doctor.get_by_role("button", name="阿莫西林胶囊").click()
    await doctor.get_by_label("过敏史").fill("青霉素类")
    await doctor.get_by_role("button", name="签名并提交审核").click()
    await expect(doctor.get_by_text("患者对青霉素类过敏")).to_be_visible()
    await doctor.get_by_role("button", name="已知悉警示，仍签名提交").click()
    await expect(doctor.get_by_text("处方已提交，等待药师审核")).to_be_visible()

    await expect(pharmacist.get_by_text("患者对青霉素类过敏")).to_be_visible()
    await pharmacist.get_by_role("button", name="审核通过").click()
    await expect(pharmacist.get_by_text("暂无待审处方")).to_be_visible()

    for side in (patient, doctor):
        card = side.get_by_role("article", name="处方")
        await expect(card.get_by_text("阿莫西林胶囊")).to_be_visible()
        await expect(card.get_by_text("诊断：急性牙周炎")).to_be_visible()
    await _end(doctor)
