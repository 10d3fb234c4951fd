"""Complaints through the wire: sent, answered, closed; who may read what (K1)."""

import asyncio
from typing import Any

import pytest

from care.complaints import ComplaintState
from tests.scenarios.conftest import Enter, NewPatient
from tests.scenarios.people import OPERATOR, XIAOFU, User, upload
from tests.scenarios.views import templates

CONTACT, TEXT, ANSWER = "13312345678", "语音消息听不清楚，希望改进", "已优化，请更新后再试"
AT_ONCE = 20


async def send(patient: User, **more: Any) -> Any:
    return await patient.post("/complaints", {"reason": "产品建议", "text": TEXT, **more})


@pytest.mark.rule("K1", "N1")
async def test_a_complaint_is_answered_and_closed(new_patient: NewPatient, enter_as: Enter) -> None:
    patient, staff = await new_patient(), await enter_as(OPERATOR)
    picture = await upload(patient)
    made = await send(patient, images=[picture], contact=CONTACT)
    assert (made["state"], made["reason"], made["has_contact"]) == ("open", "产品建议", True)

    listed = (await staff.get("/complaints?state=open&limit=100"))["items"]
    (seen,) = [c for c in listed if c["id"] == made["id"]]
    async with staff.http.get(staff.url + seen["images"][0]["url"]) as answer:
        assert (answer.status, answer.content_type) == (200, "image/png")
    answered = await staff.post(f"/complaints/{made['id']}/answer", {"text": ANSWER})

    assert answered["state"] == "answered"
    assert "complaint_answered" in await templates(patient)
    assert (await patient.get(f"/complaints/{made['id']}"))["answer"] == ANSWER
    closed = await patient.post(f"/complaints/{made['id']}/close")
    assert (closed["state"], bool(closed["closed_at"])) == ("closed", True)
    (own,) = (await patient.get("/complaints"))["items"]
    assert own["id"] == made["id"]


@pytest.mark.rule("K1", "P3", "S4")
async def test_the_contact_is_shown_for_a_purpose_alone(
    new_patient: NewPatient, enter_as: Enter
) -> None:
    patient, staff = await new_patient(), await enter_as(OPERATOR)
    made = await send(patient, contact=CONTACT)
    path = f"/complaints/{made['id']}"
    for user in (patient, staff):
        assert CONTACT not in str([await user.get(path), await user.get("/complaints")])
    assert (await patient.refused("POST", f"{path}/reveal", {"purpose": "回访"}))[0] == 403
    assert (await staff.refused("POST", f"{path}/reveal"))[0] == 400
    shown = await staff.post(f"{path}/reveal", {"purpose": "电话回访"})
    assert shown == {"contact": CONTACT}


@pytest.mark.rule("K1")
async def test_a_bad_complaint_is_refused_by_its_field(
    new_patient: NewPatient, enter_as: Enter
) -> None:
    patient, other = await new_patient(), await new_patient()
    for field, value in (
        ("reason", "别的"), ("text", " "), ("text", "长" * 1001), ("images", ["x"] * 5),
        ("contact", "1"),
    ):  # fmt: skip
        body = {"reason": "问题疑问", "text": TEXT, field: value}
        status, problem = await patient.refused("POST", "/complaints", body)
        assert (status, list(problem["fields"])) == (400, [field])
    theirs = await upload(other)
    body = {"reason": "问题疑问", "text": TEXT, "images": [theirs]}
    assert (await patient.refused("POST", "/complaints", body))[0] == 403
    assert (await patient.get("/complaints"))["items"] == []
    doctor = await enter_as(XIAOFU)
    assert (await doctor.refused("POST", "/complaints", body))[0] == 403


@pytest.mark.rule("K1")
async def test_sent_again_it_is_one_and_answered_by_many_it_has_one_answer(
    new_patient: NewPatient, enter_as: Enter
) -> None:
    patient, staff = await new_patient(), await enter_as(OPERATOR)
    body = {"reason": "页面布局", "text": TEXT}
    tries = [patient.client.call("POST", "/complaints", body, key="k") for _ in range(AT_ONCE)]
    made = {answer.body["id"] for answer in await asyncio.gather(*tries)}
    assert len(made) == 1
    path = f"/complaints/{made.pop()}/answer"
    answers = [staff.client.call("POST", path, {"text": f"第{n}"}) for n in range(AT_ONCE)]
    statuses = sorted([answer.status for answer in await asyncio.gather(*answers)])
    assert statuses == [200] + [409] * (AT_ONCE - 1)


MAY = {
    ComplaintState.OPEN: {("staff", "answer")},
    ComplaintState.ANSWERED: {("staff", "close"), ("patient", "close")},
    ComplaintState.CLOSED: set[tuple[str, str]](),
}


@pytest.mark.rule("K1")
@pytest.mark.parametrize("state", ComplaintState)
async def test_in_each_state_only_the_tables_moves_are_possible(
    state: ComplaintState, new_patient: NewPatient, enter_as: Enter
) -> None:
    people = {
        "patient": await new_patient(), "stranger": await new_patient(),
        "doctor": await enter_as(XIAOFU), "staff": await enter_as(OPERATOR),
    }  # fmt: skip
    made = await send(people["patient"])
    path, bodies = f"/complaints/{made['id']}", {"answer": {"text": ANSWER}, "close": {}}
    for action in {"open": [], "answered": ["answer"], "closed": ["answer", "close"]}[state]:
        await people["staff"].post(f"{path}/{action}", bodies[action])
    before = await people["patient"].get(path)
    for who, user in people.items():
        for action, body in bodies.items():
            if (who, action) in MAY[state]:
                continue
            allowed = who == "staff" or (who == "patient" and action == "close")
            status, _ = await user.refused("POST", f"{path}/{action}", body)
            assert status == (409 if allowed else 403), (who, action)
    assert await people["patient"].get(path) == before
    assert (await people["stranger"].refused("GET", path))[0] == 403
