"""A text consultation's life through the wire (C1–C14)."""

import asyncio
from typing import Any

import pytest

from tests.scenarios.conftest import Advance, Enter, NewPatient
from tests.scenarios.people import (
    HUANGFUMI,
    HUATUO,
    OPERATOR,
    SHENNONG,
    XIAOFU,
    User,
    add_person,
    ask,
    begin,
    form,
    id_card,
    pay,
    say,
    upload,
)

HOUR = 3600
STARTED = "问诊已开始，本次问诊有效期为24小时"


async def lines(user: User, room: str) -> list[Any]:
    """Read the whole room."""
    answer = await user.emit("room:join", room=room, after_seq=0)
    return list(answer["messages"])


@pytest.mark.rule("C1")
@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"description": "九个字不够描述啊"}, "description"),
        ({"description": "长" * 61}, "description"),
        ({"description": "  牙疼      "}, "description"),
        ({"consent_version": "0"}, "consent_version"),
        ({"images": [f"f{i}" for i in range(10)]}, "images"),
        ({"mode": "telepathy"}, "mode"),
        ({"doctor": "nobody"}, "doctor"),
        ({"seen_before": "yes"}, "seen_before"),
        ({"surprise": 1}, "surprise"),
    ],
)
async def test_a_bad_form_is_refused_by_field(
    new_patient: NewPatient, enter_as: Enter, changes: dict[str, Any], field: str
) -> None:
    patient, doctor = await new_patient(), await enter_as(XIAOFU)
    person = await add_person(patient)
    status, problem = await patient.refused(
        "POST", "/consultations", form(doctor.id, person, **changes)
    )
    assert (status, problem["code"]) == (400, "bad_request")
    assert field in problem["fields"]
    assert (await patient.get("/consultations"))["items"] == []


@pytest.mark.rule("C1")
@pytest.mark.parametrize("missing", sorted(form("d", "p").keys() - {"images"}))
async def test_every_field_of_the_form_is_needed(
    new_patient: NewPatient, enter_as: Enter, missing: str
) -> None:
    patient, doctor = await new_patient(), await enter_as(XIAOFU)
    whole = form(doctor.id, await add_person(patient))
    del whole[missing]
    _, problem = await patient.refused("POST", "/consultations", whole)
    assert missing in problem["fields"]


@pytest.mark.rule("C1")
async def test_a_description_is_counted_in_characters(
    new_patient: NewPatient, enter_as: Enter
) -> None:
    patient, doctor = await new_patient(), await enter_as(XIAOFU)
    asked = await ask(patient, doctor, description="十" * 60)
    assert asked["description"] == "十" * 60


@pytest.mark.rule("C1")
async def test_another_accounts_person_is_refused(new_patient: NewPatient, enter_as: Enter) -> None:
    patient, other = await new_patient(), await new_patient()
    doctor = await enter_as(XIAOFU)
    theirs = await add_person(other)
    status, problem = await patient.refused("POST", "/consultations", form(doctor.id, theirs))
    assert (status, problem["code"]) == (403, "forbidden")


@pytest.mark.rule("C1")
async def test_a_mode_the_doctor_does_not_offer_is_refused(
    new_patient: NewPatient, enter_as: Enter
) -> None:
    patient, doctor = await new_patient(), await enter_as(SHENNONG)
    person = await add_person(patient)
    status, _ = await patient.refused(
        "POST", "/consultations", form(doctor.id, person, mode="video")
    )
    assert status == 409


@pytest.mark.rule("C2", "C3", "C5", "C9", "C10", "C12")
async def test_a_free_consultation_waits_is_accepted_and_talked(
    new_patient: NewPatient, enter_as: Enter
) -> None:
    patient, doctor = await new_patient(), await enter_as(XIAOFU)
    asked = await ask(patient, doctor)
    assert (asked["state"], asked["turn"]) == ("awaiting_doctor", "doctor")
    assert asked["queue"]["position"] >= 1
    assert asked["closes_because"] == "not_accepted"

    await patient.client.connect()
    await doctor.client.connect()
    card, tips = await lines(patient, asked["room"])
    assert (card["kind"], card["body"]["card"], card["seq"]) == ("card", "case", 1)
    assert card["body"]["description"] == asked["description"]
    assert card["body"]["person"]["age"] == asked["person"]["age"]
    assert tips["body"]["text"].startswith("温馨提示：1、问诊超过6小时未接诊")

    answer = await doctor.emit("consultation:accept", consultation=asked["id"])
    assert answer["consultation"]["state"] == "in_progress"
    assert answer["consultation"]["closes_because"] == "no_reply"
    seen = await patient.event("consultation:updated", id=asked["id"], state="in_progress")
    assert seen["accepted_at"]
    started = await patient.event("message:new", kind="system", seq=3)
    assert started["body"]["text"] == STARTED

    notice = await patient.event("notice:new", template="consultation_started")
    assert notice["values"]["doctor"] == "小傅"
    assert notice["values"]["initiator"] == "炎帝"
    assert notice["values"]["note"] == "医生已接诊，可以进行问诊操作了"

    await say(doctor, asked["room"], "您好，疼了多久了？")
    assert (await patient.get(f"/consultations/{asked['id']}"))["turn"] == "patient"
    await say(patient, asked["room"], "三天了")
    now = await patient.get(f"/consultations/{asked['id']}")
    assert (now["turn"], now["closes_because"]) == ("doctor", "idle")


@pytest.mark.rule("C2", "C8")
@pytest.mark.parametrize("who", ["patient", "doctor"])
async def test_either_side_may_end_it(new_patient: NewPatient, enter_as: Enter, who: str) -> None:
    patient, doctor = await new_patient(), await enter_as(XIAOFU)
    talk = await begin(patient, doctor)
    ends = patient if who == "patient" else doctor
    ended = (await ends.emit("consultation:end", consultation=talk["id"]))["consultation"]
    assert ended["state"] == "ended"
    assert ended["closed_reason"]["by"] == who
    assert ended["closed_reason"]["because"] == f"ended_by_{who}"
    assert ended["ended_at"]
    assert ended["closes_at"] is None
    error = await ends.emit_refused("consultation:end", consultation=talk["id"])
    assert error["code"] == "conflict"


@pytest.mark.rule("C13")
async def test_an_ended_room_is_read_only(new_patient: NewPatient, enter_as: Enter) -> None:
    patient, doctor = await new_patient(), await enter_as(XIAOFU)
    talk = await begin(patient, doctor)
    await say(patient, talk["room"], "谢谢医生", "thanks")
    await doctor.emit("consultation:end", consultation=talk["id"])
    await patient.event("room:updated", id=talk["room"], open=False)
    for user in (patient, doctor):
        error = await user.emit_refused(
            "message:send", room=talk["room"], client_id="late", kind="text", body={"text": "喂"}
        )
        assert error["code"] == "closed"
    texts = [m["body"].get("text") for m in await lines(patient, talk["room"])]
    assert "喂" not in texts
    assert texts[-1] == "医生结束了问诊"
    again = await say(patient, talk["room"], "谢谢医生", "thanks")
    assert again["seq"] == 4
    assert (await patient.get(f"/consultations/{talk['id']}"))["follow_up_until"]


@pytest.mark.rule("C3", "C11", "M1")
async def test_a_paid_one_waits_for_its_payment(new_patient: NewPatient, enter_as: Enter) -> None:
    patient, doctor = await new_patient(), await enter_as(HUATUO)
    asked = await ask(patient, doctor)
    assert (asked["state"], asked["price"]) == ("awaiting_payment", 1)
    assert asked["order_label"] == asked["order_no"]
    assert asked["closes_because"] == "unpaid"
    status, _ = await doctor.refused("GET", f"/consultations/{asked['id']}")
    assert status == 403

    await pay(patient, asked["id"])
    paid = await patient.get(f"/consultations/{asked['id']}")
    assert (paid["state"], paid["closes_because"]) == ("awaiting_doctor", "not_accepted")
    status, _ = await patient.refused("POST", f"/consultations/{asked['id']}/pay")
    assert status == 409
    assert (await doctor.get(f"/consultations/{asked['id']}"))["state"] == "awaiting_doctor"


@pytest.mark.rule("C11")
async def test_a_free_one_has_a_number_but_shows_none(
    new_patient: NewPatient, enter_as: Enter
) -> None:
    patient, doctor = await new_patient(), await enter_as(XIAOFU)
    asked = await ask(patient, doctor)
    assert asked["order_no"].isdigit()
    assert asked["order_label"] == "免费咨询,无订单号"


@pytest.mark.rule("C3")
async def test_an_unpaid_one_can_be_cancelled(new_patient: NewPatient, enter_as: Enter) -> None:
    patient, doctor = await new_patient(), await enter_as(HUATUO)
    asked = await ask(patient, doctor)
    gone = await patient.post(f"/consultations/{asked['id']}/cancel")
    assert (gone["state"], gone["closed_reason"]["because"]) == (
        "cancelled", "cancelled_by_patient",
    )  # fmt: skip


@pytest.mark.rule("C3", "C2")
async def test_an_unpaid_one_is_cancelled_after_15_minutes(
    new_patient: NewPatient, enter_as: Enter, advance: Advance
) -> None:
    patient, doctor = await new_patient(), await enter_as(HUATUO)
    asked = await ask(patient, doctor)
    await advance(14 * 60)
    assert (await patient.get(f"/consultations/{asked['id']}"))["state"] == "awaiting_payment"
    await patient.client.connect()
    await advance(60)
    gone = await patient.event("consultation:updated", id=asked["id"], state="cancelled")
    assert gone["closed_reason"]["because"] == "unpaid"
    assert gone["closed_reason"]["by"] == "deadline"
    assert "15分钟" in gone["closed_reason"]["text"]


@pytest.mark.rule("C4", "C2")
async def test_one_nobody_accepts_expires_after_6_hours_and_is_refunded(
    new_patient: NewPatient, enter_as: Enter, advance: Advance
) -> None:
    patient, doctor = await new_patient(), await enter_as(HUATUO)
    asked = await ask(patient, doctor)
    begun = await patient.post(f"/consultations/{asked['id']}/pay")
    await patient.post(f"/payments/sandbox/{begun['payment']['id']}/succeed")
    await advance(6 * HOUR)
    patient, doctor = await again(patient), await enter_as(HUATUO)
    gone = await patient.get(f"/consultations/{asked['id']}")
    assert (gone["state"], gone["closed_reason"]["because"]) == ("expired", "not_accepted")
    settled = await patient.post(f"/payments/sandbox/{begun['payment']['id']}/succeed")
    assert settled["payment"]["state"] == "refunded"
    status, _ = await doctor.refused("POST", f"/consultations/{asked['id']}/accept")
    assert status == 409


@pytest.mark.rule("C6", "C12")
async def test_an_accepted_one_without_a_reply_expires_after_24_hours(
    new_patient: NewPatient, enter_as: Enter, advance: Advance
) -> None:
    patient, doctor = await new_patient(), await enter_as(XIAOFU)
    talk = await begin(patient, doctor)
    await advance(20 * HOUR)
    patient = await again(patient)
    await patient.client.connect()
    await say(patient, talk["room"], "医生在吗")
    await advance(4 * HOUR)
    patient = await again(patient)
    gone = await patient.get(f"/consultations/{talk['id']}")
    assert (gone["state"], gone["closed_reason"]["because"]) == ("expired", "no_reply")


@pytest.mark.rule("C6", "C12")
async def test_after_a_reply_it_ends_24_hours_after_the_last_message(
    new_patient: NewPatient, enter_as: Enter, advance: Advance
) -> None:
    patient, doctor = await new_patient(), await enter_as(XIAOFU)
    talk = await begin(patient, doctor)
    await say(doctor, talk["room"], "您好")
    await advance(23 * HOUR)
    patient = await again(patient)
    await patient.client.connect()
    await say(patient, talk["room"], "还疼")
    await advance(23 * HOUR)
    patient = await again(patient)
    still = await patient.get(f"/consultations/{talk['id']}")
    assert (still["state"], still["closes_because"]) == ("in_progress", "idle")
    await advance(HOUR)
    patient = await again(patient)
    gone = await patient.get(f"/consultations/{talk['id']}")
    assert (gone["state"], gone["closed_reason"]["because"]) == ("ended", "idle")


async def again(user: User) -> User:
    """Log in again: the hospital's time passed, and the token with it."""
    await user.close()
    await user.client.log_in()
    return user


@pytest.mark.rule("C9")
async def test_lists_by_state_with_counts(new_patient: NewPatient, enter_as: Enter) -> None:
    patient, doctor = await new_patient(), await enter_as(XIAOFU)
    paid_doctor = await enter_as(HUATUO)
    talk = await begin(patient, doctor)
    unpaid = await ask(patient, paid_doctor)
    page = await patient.get("/consultations")
    assert [c["id"] for c in page["items"]] == [unpaid["id"], talk["id"]]
    assert page["counts"] == {"in_progress": 1, "awaiting_payment": 1}
    only = await patient.get("/consultations?state=in_progress")
    assert [c["id"] for c in only["items"]] == [talk["id"]]
    first = await patient.get("/consultations?limit=1")
    second = await patient.get(f"/consultations?limit=1&cursor={first['cursor']}")
    assert [c["id"] for c in second["items"]] == [talk["id"]]
    assert second["cursor"] is None
    status, problem = await patient.refused("GET", "/consultations?state=nonsense")
    assert (status, list(problem["fields"])) == (400, ["state"])


@pytest.mark.rule("C9")
async def test_the_queue_tells_each_waiting_patient_his_place(
    new_patient: NewPatient, enter_as: Enter
) -> None:
    doctor = await enter_as(SHENNONG)
    first, second = await new_patient(), await new_patient()
    await doctor.client.connect()
    one = await ask(first, doctor)
    seen = await doctor.event("consultation:updated", id=one["id"], state="awaiting_doctor")
    place = seen["queue"]["position"]
    two = await ask(second, doctor)
    assert two["queue"]["position"] == place + 1
    assert two["queue"]["waited_s"] >= 0
    await second.client.connect()
    await doctor.emit("consultation:accept", consultation=one["id"])
    moved = await second.event("consultation:updated", id=two["id"])
    assert moved["queue"]["position"] == place
    for each in (one, two):
        await doctor.emit("consultation:decline", consultation=each["id"], reason="测试结束")


@pytest.mark.rule("C14")
async def test_one_open_consultation_with_a_doctor_in_a_mode(
    new_patient: NewPatient, enter_as: Enter
) -> None:
    patient, doctor = await new_patient(), await enter_as(HUANGFUMI)
    person = await add_person(patient)
    wanted = form(doctor.id, person)
    answers = await asyncio.gather(
        *(patient.client.call("POST", "/consultations", wanted) for _ in range(8))
    )
    assert sorted(a.status for a in answers) == [201] + [409] * 7
    (made,) = [a.body for a in answers if a.status == 201]
    await patient.post(f"/consultations/{made['id']}/cancel")
    await patient.post("/consultations", wanted)


@pytest.mark.rule("C1")
async def test_a_repeated_request_gives_the_first_consultation(
    new_patient: NewPatient, enter_as: Enter
) -> None:
    patient, doctor = await new_patient(), await enter_as(XIAOFU)
    wanted = form(doctor.id, await add_person(patient))
    made = await patient.client.call("POST", "/consultations", wanted, key="one-request")
    again = await patient.client.call("POST", "/consultations", wanted, key="one-request")
    assert made.body["id"] == again.body["id"]
    assert len((await patient.get("/consultations"))["items"]) == 1


@pytest.mark.rule("C2", "C14")
async def test_of_two_devices_accepting_at_once_one_wins(
    new_patient: NewPatient, enter_as: Enter
) -> None:
    patient, doctor = await new_patient(), await enter_as(XIAOFU)
    asked = await ask(patient, doctor)
    await doctor.client.connect()
    devices = [doctor.client, *[await doctor.device() for _ in range(3)]]
    answers = await asyncio.gather(
        *(d.emit("consultation:accept", {"consultation": asked["id"]}) for d in devices)
    )
    assert sum(a["ok"] for a in answers) == 1
    assert {a["error"]["code"] for a in answers if not a["ok"]} == {"conflict"}


@pytest.mark.rule("C2")
async def test_strangers_and_wrong_roles_move_nothing(
    new_patient: NewPatient, enter_as: Enter
) -> None:
    patient, doctor, stranger = await new_patient(), await enter_as(XIAOFU), await new_patient()
    other_doctor, operator = await enter_as(SHENNONG), await enter_as(OPERATOR)
    asked = await ask(patient, doctor)
    for user, action in [
        (patient, "accept"), (stranger, "accept"), (other_doctor, "accept"),
        (stranger, "end"), (stranger, "cancel"), (other_doctor, "decline"), (operator, "accept"),
    ]:  # fmt: skip
        body = {"reason": "无"} if action == "decline" else None
        status, problem = await user.refused("POST", f"/consultations/{asked['id']}/{action}", body)
        assert (status, problem["code"]) == (403, "forbidden")
    assert (await patient.get(f"/consultations/{asked['id']}"))["state"] == "awaiting_doctor"
    for user in (patient, doctor):
        status, _ = await user.refused("GET", "/consultations/unknown")
        assert status == 403


@pytest.mark.rule("C1", "C10", "R6")
async def test_the_forms_images_are_on_the_case_card(
    new_patient: NewPatient, enter_as: Enter
) -> None:
    patient, doctor, other = await new_patient(), await enter_as(XIAOFU), await new_patient()
    image = await upload(patient)
    theirs = await upload(other)
    person = await add_person(patient)
    status, _ = await patient.refused(
        "POST", "/consultations", form(doctor.id, person, images=[image, theirs])
    )
    assert status == 403
    first = await patient.post("/consultations", form(doctor.id, person))
    wanted = form(doctor.id, person, images=[image])
    status, _ = await patient.refused("POST", "/consultations", wanted)
    assert status == 409
    await patient.post(f"/consultations/{first['id']}/cancel")
    asked = await patient.post("/consultations", wanted)
    assert [i["file"] for i in asked["images"]] == [image]
    await doctor.client.connect()
    card = (await lines(doctor, asked["room"]))[0]
    (shown,) = card["body"]["images"]
    async with doctor.http.get(doctor.url + shown["url"]) as answer:
        assert answer.status == 200
        assert answer.content_type == "image/png"


@pytest.mark.rule("C1", "P2")
async def test_under_six_the_guardian_must_be_present(
    new_patient: NewPatient, enter_as: Enter
) -> None:
    patient, doctor = await new_patient(), await enter_as(XIAOFU)
    child = await patient.post(
        "/people",
        {
            "kind": "child", "name": "小宝", "id_card": id_card("20230115", "001"),
            "guardian": {
                "name": "大宝", "id_card": "110101199003070417", "phone": "13412345678",
            },
        },
    )  # fmt: skip
    wanted = form(doctor.id, child["id"])
    status, problem = await patient.refused("POST", "/consultations", wanted)
    assert (status, list(problem["fields"])) == (400, ["guardian_present"])
    await patient.post("/consultations", wanted | {"guardian_present": True})


@pytest.mark.rule("P4")
async def test_a_person_in_an_open_consultation_stays(
    new_patient: NewPatient, enter_as: Enter
) -> None:
    patient, doctor = await new_patient(), await enter_as(XIAOFU)
    asked = await ask(patient, doctor)
    person = asked["person"]["id"]
    status, _ = await patient.refused("DELETE", f"/people/{person}")
    assert status == 409
    await patient.post(f"/consultations/{asked['id']}/cancel")
    answer = await patient.client.call("DELETE", f"/people/{person}")
    assert answer.status == 204
    kept = await patient.get(f"/consultations/{asked['id']}")
    assert kept["person"] == asked["person"]
