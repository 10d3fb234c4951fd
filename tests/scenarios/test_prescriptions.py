"""Prescriptions through the wire: written, checked, decided, shown, verified (X1–X3, C13)."""

import pytest

from tests.scenarios.conftest import Advance
from tests.scenarios.people import User, begin, say
from tests.scenarios.prescribing import (
    AMOXICILLIN_GRANULES,
    CODEINE,
    DIAZEPAM,
    IBUPROFEN,
    LEVOFLOXACIN,
    WARFARIN,
    approved,
    doctor,
    draft,
    drug,
    kinds,
    patient,
    pharmacist,
    submitted,
    text,
)
from tests.scenarios.wire import log_in

__all__ = ["doctor", "patient", "pharmacist"]

DAY = 86400


@pytest.mark.rule("X2", "X3")
async def test_an_approved_prescription_reaches_the_patient_and_his_room(
    patient: User, doctor: User, pharmacist: User
) -> None:
    c = await begin(patient, doctor)
    await pharmacist.client.connect()
    p = await submitted(doctor, c["id"])
    assert p["state"] == "submitted"
    waiting = await pharmacist.event("prescription:updated", id=p["id"], state="submitted")
    assert waiting["person"]["name"] == "炎帝"
    await pharmacist.event("notice:new", template="prescription_submitted")
    queue = await pharmacist.get("/prescriptions?state=submitted")
    assert p["id"] in [item["id"] for item in queue["items"]]
    assert (await patient.get("/prescriptions"))["items"] == []

    decided = await pharmacist.post(f"/prescriptions/{p['id']}/approve")
    assert decided["state"] == "approved"
    assert decided["decision"]["pharmacist"]["name"] == "李时珍"
    card = await patient.event("message:new", kind="card")
    assert card["body"]["prescription"] == p["id"]
    assert card["body"]["drugs"][0]["name"] == "阿莫西林胶囊"
    await patient.event("notice:new", template="prescription_approved")
    await patient.event("prescription:updated", id=p["id"], state="approved")
    await doctor.event("prescription:updated", id=p["id"], state="approved")
    assert [i["id"] for i in (await patient.get("/prescriptions"))["items"]] == [p["id"]]
    assert (await patient.get(f"/prescriptions/{p['id']}")) == decided


@pytest.mark.rule("X2")
async def test_a_rejected_one_is_corrected_and_submitted_again(
    patient: User, doctor: User, pharmacist: User
) -> None:
    c = await begin(patient, doctor)
    p = await submitted(doctor, c["id"])
    rejected = await pharmacist.post(f"/prescriptions/{p['id']}/reject", {"reason": "剂量偏大"})
    assert (rejected["state"], rejected["decision"]["reason"]) == ("rejected", "剂量偏大")
    told = await doctor.event("notice:new", template="prescription_rejected")
    assert told["values"]["note"] == "剂量偏大"
    path = f"/prescriptions/{p['id']}"
    assert (await doctor.refused("POST", f"{path}/submit"))[0] == 409
    answer = await doctor.client.call("PUT", path, text(drug(dose=0.25)))
    assert answer.status == 200, answer.body
    assert (answer.body["state"], answer.body["decision"]) == ("draft", None)
    await doctor.post(f"{path}/submit")
    again = await pharmacist.post(f"{path}/approve")
    assert again["state"] == "approved"
    assert again["drugs"][0]["dose"] == 0.25
    assert (await patient.get(f"{path}/verification"))["valid"]


@pytest.mark.rule("X1")
async def test_warnings_come_with_the_draft(patient: User, doctor: User) -> None:
    c = await begin(patient, doctor)
    calm = await draft(doctor, c["id"])
    assert calm["warnings"] == []
    wild = await draft(
        doctor, c["id"], drug(dose=2), drug(AMOXICILLIN_GRANULES), drug(WARFARIN, dose=2.5),
        drug(IBUPROFEN, dose=0.3), allergies=["青霉素类"],
    )  # fmt: skip
    assert kinds(wild) == {"dose", "duplicate", "interaction", "allergy"}
    texts = [w["text"] for w in wild["warnings"]]
    assert "阿莫西林胶囊单次剂量2g，超过上限1g" in texts
    assert "阿莫西林胶囊与阿莫西林颗粒含相同成分：阿莫西林" in texts
    assert wild["state"] == "draft"


@pytest.mark.rule("X1")
async def test_what_the_patient_takes_already_is_warned_of(patient: User, doctor: User) -> None:
    c = await begin(patient, doctor)
    first = await draft(doctor, c["id"], drug(WARFARIN, dose=2.5), allergies=["喹诺酮类"])
    await doctor.post(f"/prescriptions/{first['id']}/submit")
    later = await draft(doctor, c["id"], drug(LEVOFLOXACIN, frequency="qd"))
    assert kinds(later) == {"interaction", "allergy"}
    assert "（正在使用）" in later["warnings"][-1]["text"]


@pytest.mark.rule("X1")
@pytest.mark.parametrize("controlled", [DIAZEPAM, CODEINE])
async def test_narcotic_and_psychotropic_drugs_are_refused(
    patient: User, doctor: User, controlled: str
) -> None:
    c = await begin(patient, doctor)
    body = text(drug(), drug(controlled)) | {"consultation": c["id"]}
    status, problem = await doctor.refused("POST", "/prescriptions", body)
    assert status == 400
    assert "互联网医院不得开具" in problem["fields"]["drugs.1.drug"]


@pytest.mark.rule("C13", "X3")
async def test_it_arrives_in_a_read_only_room_for_a_day(
    patient: User, doctor: User, pharmacist: User, advance: Advance
) -> None:
    c = await begin(patient, doctor)
    await say(doctor, c["room"], "用药后观察")
    late = await submitted(doctor, c["id"])
    await doctor.emit("consultation:end", consultation=c["id"])
    unheard = {"room": c["room"], "client_id": "c1", "kind": "text", "body": {"text": "在吗"}}
    assert (await patient.emit_refused("message:send", **unheard))["code"] == "closed"
    p = await approved(doctor, pharmacist, c["id"])
    card = await patient.event("message:new", kind="card")
    assert card["body"]["prescription"] == p["id"]
    await patient.event("room:updated", open=True, closes_because="asked")
    await say(patient, c["room"], "饭前吃还是饭后吃？")
    await say(doctor, c["room"], "饭后半小时")
    await advance(DAY + 1)
    body = text() | {"consultation": c["id"]}
    for user in (doctor, pharmacist, patient):
        await user.client.log_in()
    await patient.client.connect()
    joined = await patient.emit("room:join", room=c["room"])
    assert joined["room"]["open"] is False
    assert joined["messages"][-1]["body"]["text"] == "处方咨询时间已结束，会话已关闭"
    again = unheard | {"client_id": "c2"}
    assert (await patient.emit_refused("message:send", **again))["code"] == "closed"
    assert (await doctor.refused("POST", "/prescriptions", body))[0] == 409
    assert (await pharmacist.refused("POST", f"/prescriptions/{late['id']}/approve"))[0] == 409
    reason = {"reason": "已超过可开方的时间"}
    await pharmacist.post(f"/prescriptions/{late['id']}/reject", reason)


@pytest.mark.rule("X3")
async def test_it_can_be_printed(patient: User, doctor: User, pharmacist: User) -> None:
    c = await begin(patient, doctor)
    p = await approved(doctor, pharmacist, c["id"])
    granted = await log_in(patient.http, patient.url, patient.phone)
    token = {"Authorization": f"Bearer {granted['access_token']}"}
    base = f"{patient.url}/api/v1/prescriptions/{p['id']}"
    async with patient.http.get(f"{base}/page", headers=token) as answer:
        page = await answer.text()
        assert answer.status == 200
    assert "电子处方笺" in page
    assert "阿莫西林胶囊" in page
    async with patient.http.get(f"{base}/pdf", headers=token) as answer:
        assert answer.status == 200, await answer.text()
        assert answer.content_type == "application/pdf"
        pdf = await answer.read()
    assert pdf.startswith(b"%PDF-")
    assert b"STSong-Light" in pdf
