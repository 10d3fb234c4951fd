"""How consultations end by hand, and what is left of them (C7, C8, C13, C14)."""

import asyncio
from typing import Any

import pytest

from care.record import read_time
from tests.scenarios.booking import book
from tests.scenarios.conftest import Advance, Enter, NewPatient
from tests.scenarios.people import (
    HUATUO,
    SHENNONG,
    XIAOFU,
    add_person,
    ask,
    begin,
    form,
    pay,
    say,
)
from tests.scenarios.views import HOUR, clocked, closing_of, later, lines, shown, templates

__all__ = ["clocked"]


@pytest.mark.rule("C7", "M2", "N1")
@pytest.mark.parametrize("accepted", [False, True])
async def test_a_refusal_shows_its_reason_and_gives_the_money_back(
    new_patient: NewPatient, enter_as: Enter, accepted: bool
) -> None:
    patient, doctor = await new_patient(), await enter_as(HUATUO)
    if accepted:
        talk = await begin(patient, doctor)
    else:
        talk = await ask(patient, doctor)
        await pay(patient, talk["id"])
        await patient.client.connect()
        await doctor.client.connect()
    desk = await doctor.device()
    refused = await doctor.emit_refused("consultation:decline", consultation=talk["id"], reason="")
    assert refused["code"] == "bad_request"

    await doctor.emit("consultation:decline", consultation=talk["id"], reason="请到医院面诊")

    for device in (patient.client, desk):
        heard = await closing_of(device, talk["id"])
        assert heard["state"] == "declined"
        assert heard["closed_reason"]["because"] == "declined_by_doctor"
        assert heard["closed_reason"]["detail"] == "请到医院面诊"
    await patient.event("notice:new", template="consultation_refused")
    await patient.event("notice:new", template="refunded")
    assert (await shown(patient, talk["id"]))["payment"]["state"] == "refunded"
    for user in (patient, doctor):
        last = (await lines(user, talk["room"]))[-1]["body"]
        assert last == {"text": "当前问诊被医生手动退诊", "reason": "请到医院面诊"}
    again = await doctor.emit_refused(
        "consultation:decline", consultation=talk["id"], reason="再说一次"
    )
    assert again["code"] == "conflict"


@pytest.mark.rule("C8", "M2")
@pytest.mark.parametrize(
    ("who", "text"), [("patient", "患者结束了问诊"), ("doctor", "医生结束了问诊")]
)
async def test_an_end_by_either_side_reaches_both_and_keeps_the_money(
    new_patient: NewPatient, enter_as: Enter, who: str, text: str
) -> None:
    patient, doctor = await new_patient(), await enter_as(HUATUO)
    talk = await begin(patient, doctor)
    await say(doctor, talk["room"], "按时吃药")
    user = patient if who == "patient" else doctor
    await user.emit("consultation:end", consultation=talk["id"])
    for device in (patient.client, doctor.client):
        assert (await closing_of(device, talk["id"]))["closed_reason"]["text"] == text
    assert (await lines(patient, talk["room"]))[-1]["body"]["text"] == text
    assert (await shown(patient, talk["id"]))["payment"]["state"] == "paid"
    # who ended it needs no notice of it
    assert await templates(patient) == ["consultation_started"] + (
        ["consultation_closed"] if who == "doctor" else []
    )


@pytest.mark.rule("C13")
async def test_an_ended_room_stays_readable_and_closed_beyond_its_follow_up(
    new_patient: NewPatient, enter_as: Enter, advance: Advance
) -> None:
    patient, doctor = await new_patient(), await enter_as(XIAOFU)
    talk = await begin(patient, doctor)
    await say(doctor, talk["room"], "按时吃药")
    assert (await shown(patient, talk["id"]))["follow_up_until"] is None
    await doctor.emit("consultation:end", consultation=talk["id"])
    ended = await closing_of(patient.client, talk["id"])
    assert read_time(ended["follow_up_until"]) == later(ended["ended_at"], 24 * HOUR)
    for passed in (0, 24 * HOUR):
        await advance(passed)
        for user in (patient, doctor):
            error = await user.emit_refused(
                "message:send", room=talk["room"], client_id=f"late{passed}", kind="text",
                body={"text": "喂"},
            )  # fmt: skip
            assert error["code"] == "closed"
            now = await shown(user, talk["id"])
            assert now["follow_up_until"] == ended["follow_up_until"]
            texts = [m["body"].get("text") for m in await lines(user, talk["room"])]
            assert texts[-2:] == ["按时吃药", "医生结束了问诊"]


@pytest.mark.rule("C13")
async def test_what_was_never_given_has_no_follow_up(
    new_patient: NewPatient, enter_as: Enter, advance: Advance
) -> None:
    patient, doctor = await new_patient(), await enter_as(XIAOFU)
    asked = await ask(patient, doctor)
    await advance(6 * HOUR)
    gone = await shown(patient, asked["id"])
    assert (gone["state"], gone["follow_up_until"]) == ("expired", None)


@pytest.mark.rule("C14")
async def test_one_open_consultation_with_a_doctor_until_its_clock_closes_it(
    new_patient: NewPatient, enter_as: Enter, advance: Advance
) -> None:
    patient, other = await new_patient(), await new_patient()
    doctor, other_doctor = await enter_as(XIAOFU), await enter_as(SHENNONG)
    wanted = form(doctor.id, await add_person(patient))

    async def ask_twice_at_once() -> Any:
        asked = [patient.client.call("POST", "/consultations", wanted) for _ in range(2)]
        answers = sorted(await asyncio.gather(*asked), key=lambda a: a.status)
        assert [a.status for a in answers] == [201, 409]
        assert answers[1].body["code"] == "conflict"
        return answers[0].body

    first = await ask_twice_at_once()
    # in the way of no other mode, and of nobody else
    await book(patient, doctor, day=2)
    await patient.post("/consultations", form(other_doctor.id, wanted["person"]))
    await ask(other, doctor)
    await advance(6 * HOUR)
    assert (await shown(patient, first["id"]))["state"] == "expired"
    assert (await ask_twice_at_once())["id"] != first["id"]
