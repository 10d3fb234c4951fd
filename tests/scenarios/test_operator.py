"""What the hospital's staff see and do, and that every look of theirs is on the record (S4)."""

import asyncio
import secrets
from datetime import datetime, timedelta, timezone
from typing import Any

import aiohttp
import pytest

from tests.scenarios.conftest import Enter, NewPatient
from tests.scenarios.people import (
    DESCRIPTION,
    HUANGFUMI,
    HUATUO,
    OPERATOR,
    PASSWORD,
    XIAOFU,
    User,
    ask,
    begin,
    log_in,
    pay,
    say,
)
from tests.scenarios.wire import Wire
from tests.server import ServerProcess

ADMIN = "13500000001"
PHARMACIST = "13700000001"
REASON = "患者来电要求取消"
SHANGHAI = timezone(timedelta(hours=8))


async def trail(admin: User, subject: str) -> list[Any]:
    """Give the newest entries about a subject, without those of looking at them."""
    found = await admin.get(f"/operator/audit?subject={subject}&limit=100")
    assert {entry["subject"] for entry in found["items"]} == {subject}
    return [entry for entry in found["items"] if entry["action"] != "audit_read"]


async def refunded(operator: User, consultation: str) -> Any:
    """Wait until the payment has gone back: the outbox does that after the answer."""
    async with asyncio.timeout(10):
        while True:
            seen = await operator.get(f"/operator/consultations/{consultation}")
            if seen["payment"]["state"] == "refunded":
                return seen["payment"]
            await asyncio.sleep(0.05)  # it is another process: there is nothing to await


@pytest.mark.rule("S4")
async def test_consultations_are_found_by_what_the_staff_know_of_them(
    enter_as: Enter, new_patient: NewPatient
) -> None:
    patient, doctor, operator = (
        await new_patient(),
        await enter_as(XIAOFU),
        await enter_as(OPERATOR),
    )
    asked = await ask(patient, doctor)
    created = datetime.fromisoformat(asked["created_at"]).astimezone(SHANGHAI).date()
    mine = f"patient={patient.id}"
    for query in (
        mine,
        f"order_no={asked['order_no']}",
        f"{mine}&state=awaiting_doctor",
        f"{mine}&doctor={doctor.id}",
        f"{mine}&date={created}",
    ):
        found = await operator.get(f"/operator/consultations?{query}")
        assert [c["id"] for c in found["items"]] == [asked["id"]], query
    for query in (
        f"{mine}&state=ended",
        f"{mine}&doctor=nobody",
        f"{mine}&date={created - timedelta(days=1)}",
    ):
        assert (await operator.get(f"/operator/consultations?{query}"))["items"] == [], query
    await patient.post(f"/consultations/{asked['id']}/cancel")


@pytest.mark.rule("S4")
async def test_a_list_comes_in_pages(enter_as: Enter, new_patient: NewPatient) -> None:
    patient, operator = await new_patient(), await enter_as(OPERATOR)
    made = [await ask(patient, await enter_as(phone)) for phone in (XIAOFU, HUANGFUMI)]
    first = await operator.get(f"/operator/consultations?patient={patient.id}&limit=1")
    cursor = first["cursor"]
    second = await operator.get(
        f"/operator/consultations?patient={patient.id}&limit=1&cursor={cursor}"
    )
    assert [first["items"][0]["id"], second["items"][0]["id"]] == [c["id"] for c in made[::-1]]
    assert second["cursor"] is None
    for one in made:
        await patient.post(f"/consultations/{one['id']}/cancel")


@pytest.mark.rule("S4", "P3")
async def test_personal_data_is_masked_until_a_purpose_is_given_and_every_look_is_noted(
    enter_as: Enter, new_patient: NewPatient
) -> None:
    patient, doctor = await new_patient(), await enter_as(XIAOFU)
    operator, admin = await enter_as(OPERATOR), await enter_as(ADMIN)
    asked = await ask(patient, doctor)
    path = f"/operator/consultations/{asked['id']}"

    listed = await operator.get(f"/operator/consultations?patient={patient.id}")
    shown = await operator.get(path)
    for view in (listed["items"][0], shown):
        assert DESCRIPTION not in str(view)
        assert view["person"]["name"] == "炎**"
        assert patient.name not in str(view)
    whole = await operator.post(f"{path}/reveal", {"purpose": "处理投诉"})
    assert (whole["description"], whole["person"]["name"]) == (DESCRIPTION, "炎帝")
    await operator.get(f"/consultations/{asked['id']}")

    noted = [(e["action"], e["purpose"], e["actor"]) for e in await trail(admin, patient.id)]
    assert noted[:4] == [
        ("consultation_read", "own_view", operator.id),
        ("consultation_revealed", "处理投诉", operator.id),
        ("consultation_read", "look_up", operator.id),
        ("consultation_listed", "search", operator.id),
    ]
    await patient.post(f"/consultations/{asked['id']}/cancel")


@pytest.mark.rule("S4")
async def test_revealing_without_a_purpose_is_refused(
    enter_as: Enter, new_patient: NewPatient
) -> None:
    patient, doctor, operator = (
        await new_patient(),
        await enter_as(XIAOFU),
        await enter_as(OPERATOR),
    )
    asked = await ask(patient, doctor)
    path = f"/operator/consultations/{asked['id']}/reveal"
    for body in ({}, {"purpose": " x "}, {"purpose": "   "}):
        status, problem = await operator.refused("POST", path, body)
        assert (status, list(problem["fields"])) == (400, ["purpose"])
    await patient.post(f"/consultations/{asked['id']}/cancel")


@pytest.mark.rule("S4", "M2", "C2")
async def test_cancelling_a_paid_one_gives_the_money_back_and_keeps_the_reason(
    enter_as: Enter, new_patient: NewPatient
) -> None:
    patient, doctor = await new_patient(), await enter_as(HUATUO)
    operator, admin = await enter_as(OPERATOR), await enter_as(ADMIN)
    asked = await ask(patient, doctor)
    await pay(patient, asked["id"])
    path = f"/operator/consultations/{asked['id']}/cancel"

    cancelled = await operator.post(path, {"reason": REASON})

    reason = cancelled["closed_reason"]
    assert (cancelled["state"], reason["because"], reason["by"], reason["detail"]) == (
        "cancelled", "cancelled_by_staff", "operator", REASON,
    )  # fmt: skip
    payment = await refunded(operator, asked["id"])
    listed = await operator.get("/operator/refunds")
    assert payment["out_refund_no"] in [one["out_refund_no"] for one in listed["items"]]
    entries = await trail(admin, patient.id)
    assert ("consultation_cancelled", REASON) in [(e["action"], e["purpose"]) for e in entries]
    status, problem = await operator.refused("POST", path, {"reason": REASON})
    assert (status, problem["code"]) == (409, "conflict")


@pytest.mark.rule("S4", "C13")
async def test_the_hospital_can_step_in_while_they_talk(
    enter_as: Enter, new_patient: NewPatient
) -> None:
    patient, doctor, operator = (
        await new_patient(),
        await enter_as(HUATUO),
        await enter_as(OPERATOR),
    )
    talk = await begin(patient, doctor)
    await say(doctor, talk["room"], "您好")
    await operator.post(f"/operator/consultations/{talk['id']}/cancel", {"reason": REASON})
    await patient.event("consultation:updated", id=talk["id"], state="cancelled")
    refusal = await doctor.emit_refused(
        "message:send", room=talk["room"], client_id="late", kind="text", body={"text": "还有"}
    )
    assert refusal["code"] == "closed"
    await refunded(operator, talk["id"])


async def test_of_two_who_cancel_at_once_one_is_told_conflict(
    enter_as: Enter, new_patient: NewPatient
) -> None:
    patient, doctor, operator = (
        await new_patient(),
        await enter_as(HUATUO),
        await enter_as(OPERATOR),
    )
    for _ in range(10):
        asked = await ask(patient, doctor)
        await pay(patient, asked["id"])
        answers = await asyncio.gather(
            patient.client.call("POST", f"/consultations/{asked['id']}/cancel", {}),
            operator.client.call(
                "POST", f"/operator/consultations/{asked['id']}/cancel", {"reason": REASON}
            ),
        )
        assert sorted(answer.status for answer in answers) == [200, 409]
        await refunded(operator, asked["id"])


@pytest.mark.rule("S4", "M2")
async def test_what_was_paid_for_an_ended_one_goes_back_once(
    enter_as: Enter, new_patient: NewPatient
) -> None:
    patient, doctor = await new_patient(), await enter_as(HUATUO)
    operator, admin = await enter_as(OPERATOR), await enter_as(ADMIN)
    talk = await begin(patient, doctor)
    payment = (await operator.get(f"/operator/consultations/{talk['id']}"))["payment"]
    path = f"/operator/payments/{payment['id']}/refund"
    status, problem = await operator.refused("POST", path, {"reason": REASON})
    assert (status, problem["detail"]) == (409, "问诊尚未结束，请取消问诊，费用会随之退回")
    await say(doctor, talk["room"], "您好")
    await doctor.post(f"/consultations/{talk['id']}/end")

    answers = await asyncio.gather(
        *(who.client.call("POST", path, {"reason": REASON}) for who in (operator, admin))
    )

    assert sorted(answer.status for answer in answers) == [200, 409]
    given = await refunded(operator, talk["id"])
    assert given["out_refund_no"] == f"R{given['out_trade_no']}"
    seen = await operator.get(f"/operator/consultations/{talk['id']}")
    assert (seen["state"], seen["closed_reason"]["because"]) == ("ended", "ended_by_doctor")
    status, problem = await operator.refused("POST", path, {"reason": REASON})
    assert (status, problem["detail"]) == (409, "费用已经退回，请勿重复操作")
    await patient.event("notice:new", template="refunded")
    told = (await patient.get("/notices"))["items"]
    assert [n["template"] for n in told].count("refunded") == 1
    noted = [(e["action"], e["purpose"], e["actor"]) for e in await trail(admin, patient.id)]
    for who in (operator, admin):
        assert ("payment_refunded", REASON, who.id) in noted


@pytest.mark.rule("S4", "M2")
async def test_only_what_was_paid_is_given_back_and_only_for_a_reason(
    enter_as: Enter, new_patient: NewPatient
) -> None:
    patient, doctor = await new_patient(), await enter_as(HUATUO)
    operator = await enter_as(OPERATOR)
    asked = await ask(patient, doctor)
    begun = await patient.post(f"/consultations/{asked['id']}/pay")
    path = f"/operator/payments/{begun['payment']['id']}/refund"
    assert (await operator.refused("POST", path, {}))[0] == 400
    for user in (patient, doctor, await enter_as(PHARMACIST)):
        assert (await user.refused("POST", path, {"reason": REASON}))[0] == 403
    assert (await operator.refused("POST", path, {"reason": REASON}))[0] == 409
    await patient.post(f"/consultations/{asked['id']}/cancel")
    status, problem = await operator.refused("POST", path, {"reason": REASON})
    assert (status, problem["detail"]) == (409, "订单未支付，已关闭，没有可退的费用")


@pytest.mark.rule("A11", "D1")
async def test_a_doctor_the_staff_made_is_found_in_the_directory(
    enter_as: Enter, new_patient: NewPatient
) -> None:
    patient, operator = await new_patient(), await enter_as(OPERATOR)
    phone = f"132{secrets.randbelow(10**8):08d}"
    account = {"role": "doctor", "phone": phone, "name": "张仲景", "password": PASSWORD}
    status, problem = await operator.refused("POST", "/operator/accounts", account)
    assert (status, sorted(problem["fields"])) == (400, ["department", "hospital"])

    place = {"title": "主任医师", "hospital": "南阳医院", "department": "伤寒科"}
    made = await operator.post("/operator/accounts", account | place)
    again = await operator.post("/operator/accounts", account | place)

    assert again == made
    found = await patient.get("/doctors?q=张仲景")
    assert [one["id"] for one in found["items"]] == [made["id"]]
    page = await patient.get(f"/doctors/{made['id']}")
    assert {name: page[name] for name in place} == place
    assert "伤寒科" in str(await patient.get("/departments"))


@pytest.mark.rule("S4")
async def test_running_clocks_and_payments_are_listed(
    enter_as: Enter, new_patient: NewPatient
) -> None:
    patient, doctor, operator = (
        await new_patient(),
        await enter_as(HUATUO),
        await enter_as(OPERATOR),
    )
    asked = await ask(patient, doctor)
    begun = await patient.post(f"/consultations/{asked['id']}/pay")
    due = await operator.get("/operator/deadlines?limit=100")
    clocks = [one["check_at"] for one in due["items"]]
    assert clocks == sorted(clocks)
    assert asked["closes_at"] in [o["check_at"] for o in due["items"] if o["id"] == asked["id"]]
    pending = await operator.get("/operator/payments?state=pending")
    assert begun["payment"]["id"] in [one["id"] for one in pending["items"]]
    await pay(patient, asked["id"])
    pending = await operator.get("/operator/payments?state=pending")
    assert begun["payment"]["id"] not in [one["id"] for one in pending["items"]]
    await patient.post(f"/consultations/{asked['id']}/cancel")


@pytest.mark.rule("A11", "P3")
async def test_an_account_is_masked_until_a_purpose_is_given(
    enter_as: Enter, new_patient: NewPatient
) -> None:
    patient = await new_patient()
    operator, admin = await enter_as(OPERATOR), await enter_as(ADMIN)
    path = f"/operator/accounts/{patient.id}"
    assert patient.phone not in str(await operator.get(path))
    whole = await operator.post(f"{path}/reveal", {"purpose": "电话回访"})
    assert whole["phone"] == patient.phone
    noted = [(e["action"], e["purpose"]) for e in await trail(admin, patient.id)]
    assert noted[:2] == [("account_revealed", "电话回访"), ("account_read", "look_up")]


@pytest.mark.rule("A11")
async def test_an_operator_makes_staff_who_change_the_password_before_anything_else(
    enter_as: Enter, clocked: ServerProcess, http: aiohttp.ClientSession
) -> None:
    operator = await enter_as(OPERATOR)
    phone = f"132{secrets.randbelow(10**8):08d}"
    account = {"role": "pharmacist", "phone": phone, "name": "孙思邈", "password": PASSWORD}
    await operator.post("/operator/accounts", account)

    client = await log_in(clocked.url, http, phone)
    answer = await client.call("GET", "/notices")
    assert (answer.status, answer.body["reason"]) == (403, "password_change_required")
    api = f"{clocked.url}/api/v1"
    async with http.post(f"{api}/auth/login", json={"phone": phone, "password": PASSWORD}) as r:
        grant = await r.json()
    wire = await Wire.open(http, clocked.url)
    refusal = await wire.connect({"token": grant["access_token"], "device": "h5", "device_id": "d"})
    assert refusal["data"]["reason"] == "password_change_required"

    new = "new-password-1"
    change = {"old_password": PASSWORD, "new_password": new, "confirm_password": new}
    headers = {"Authorization": f"Bearer {grant['access_token']}"}
    async with http.post(f"{api}/me/password", json=change, headers=headers) as r:
        assert r.status == 204
    async with http.post(f"{api}/auth/login", json={"phone": phone, "password": new}) as r:
        grant = await r.json()
    headers = {"Authorization": f"Bearer {grant['access_token']}"}
    async with http.get(f"{api}/notices", headers=headers) as r:
        assert r.status == 200


@pytest.mark.rule("A11")
async def test_an_operator_makes_no_operators(enter_as: Enter) -> None:
    operator, admin = await enter_as(OPERATOR), await enter_as(ADMIN)
    for role in ("operator", "admin"):
        phone = f"132{secrets.randbelow(10**8):08d}"
        account = {"role": role, "phone": phone, "name": "新人", "password": PASSWORD}
        status, problem = await operator.refused("POST", "/operator/accounts", account)
        assert (status, problem["code"]) == (403, "forbidden")
        assert (await admin.post("/operator/accounts", account))["id"]


@pytest.mark.rule("S4", "A11")
async def test_the_audit_trail_is_the_admins_alone_and_reading_it_is_noted(
    enter_as: Enter, new_patient: NewPatient
) -> None:
    patient = await new_patient()
    operator, admin = await enter_as(OPERATOR), await enter_as(ADMIN)
    path = f"/operator/audit?subject={patient.id}"
    for user in (operator, patient):
        assert (await user.refused("GET", path))[0] == 403
    await admin.get(path)
    again = await admin.get(path)
    assert [(e["action"], e["actor"]) for e in again["items"][:1]] == [("audit_read", admin.id)]
    first = await admin.get(f"{path}&limit=1")
    second = await admin.get(f"{path}&limit=1&cursor={first['cursor']}")
    assert second["items"][0]["id"] < first["items"][0]["id"]


@pytest.mark.rule("A5")
async def test_in_a_demo_one_tap_takes_the_phones_own_code(
    clocked: ServerProcess, http: aiohttp.ClientSession
) -> None:
    phone = f"132{secrets.randbelow(10**8):08d}"
    url = f"{clocked.url}/api/v1/auth/wechat-login"
    users = []
    for _ in range(2):
        async with http.post(url, json={"code": f"demo:{phone}"}) as answer:
            assert answer.status == 200
            users.append((await answer.json())["user"])
    assert users[0]["id"] == users[1]["id"]
    assert not users[0]["has_password"]
    async with http.post(url, json={"code": phone}) as answer:
        assert (answer.status, list((await answer.json())["fields"])) == (400, ["code"])


@pytest.mark.rule("N1", "S4")
async def test_what_was_given_up_is_listed_for_the_staff_alone(
    enter_as: Enter, new_patient: NewPatient
) -> None:
    patient, operator = await new_patient(), await enter_as(OPERATOR)
    assert (await operator.get("/operator/dead-letters"))["items"] == []
    assert (await patient.refused("GET", "/operator/dead-letters"))[0] == 403
    path = "/operator/dead-letters/consultation:nobody:000001/retry"
    assert (await operator.refused("POST", path))[0] == 403
