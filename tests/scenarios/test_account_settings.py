"""Account settings through the wire: the profile, the avatar, recommended doctors (A8, D4)."""

import asyncio
import secrets
from base64 import b64encode
from typing import Any

import pytest

from bot.scenario import Upload
from tests.media.pictures import SECRET, with_metadata
from tests.media.recordings import voice
from tests.scenarios.conftest import Enter, NewPatient
from tests.scenarios.people import (
    HUANGFUMI,
    HUATUO,
    OPERATOR,
    PASSWORD,
    SHENNONG,
    SMS_CODE,
    XIAOFU,
    User,
    ask,
    begin,
    id_card,
    say,
    upload,
)
from tests.scenarios.prescribing import submitted
from tests.scenarios.wire import log_in
from tests.server import ServerProcess

ADMIN = "13500000001"
AT_ONCE = 5


async def read(user: User, url: str) -> tuple[int, bytes]:
    async with user.http.get(user.url + url) as answer:
        return answer.status, await answer.read()


async def edit(user: User, **changes: Any) -> Any:
    answer = await user.client.call("PATCH", "/me", changes)
    assert answer.status == 200, answer.body
    return answer.body


@pytest.mark.rule("A8")
async def test_everything_of_the_own_account_is_edited(
    new_patient: NewPatient, clocked: ServerProcess
) -> None:
    patient = await new_patient()
    number, phone = id_card("19900307", "041"), f"132{secrets.randbelow(10**8):08d}"
    ask = {"phone": phone, "purpose": "change_phone"}
    await patient.post("/auth/sms-codes", ask)
    after = await edit(
        patient, name="问诊小白", avatar=await upload(patient), real_name="白小小",
        id_card=number, phone=phone, code=SMS_CODE,
    )  # fmt: skip
    assert (after["name"], after["verified"], after["sex"]) == ("问诊小白", True, "male")
    assert (after["birth_date"], after["phone"]) == ("1990-03-07", f"132****{phone[-4:]}")
    assert number not in str(after)
    granted = await log_in(patient.http, clocked.url, phone)
    unsigned = {"avatar_url": None}
    assert granted["user"] | unsigned == await patient.get("/me") | unsigned == after | unsigned


@pytest.mark.rule("A8", "R6")
async def test_an_avatar_is_a_checked_picture_that_everybody_may_see(
    clocked: ServerProcess, new_patient: NewPatient, enter_as: Enter
) -> None:
    patient, doctor = await new_patient(), await enter_as(XIAOFU)
    photo = Upload(
        name="me.jpg", content_type="image/jpeg",
        base64=b64encode(with_metadata("JPEG")).decode(),
    )  # fmt: skip
    first = (await doctor.client.upload(photo)).body["id"]
    shown = await edit(doctor, avatar=first)
    status, content = await read(doctor, shown["avatar_url"])
    assert (status, content[:2]) == (200, b"\xff\xd8")
    assert SECRET.encode() not in content

    page = await patient.get(f"/doctors/{doctor.id}")
    assert (await read(patient, page["avatar_url"]))[0] == 200
    (card,) = (await patient.get("/doctors?q=小傅"))["items"]
    assert (await read(patient, card["avatar_url"]))[0] == 200

    await edit(doctor, avatar=await upload(doctor))
    assert (await read(patient, page["avatar_url"]))[0] == 403, "the old picture is let go"
    after = await patient.get(f"/doctors/{doctor.id}")
    assert (await read(patient, after["avatar_url"]))[0] == 200


@pytest.mark.rule("A8", "R6")
async def test_an_avatar_is_taken_away_and_served_to_nobody_else_any_more(
    new_patient: NewPatient, enter_as: Enter
) -> None:
    patient, doctor = await new_patient(), await enter_as(SHENNONG)
    picture = await upload(doctor)
    shown = await edit(doctor, avatar=picture)
    page = await patient.get(f"/doctors/{doctor.id}")
    assert (await read(patient, page["avatar_url"]))[0] == 200
    # null leaves every other field as it is, and so does an edit that doesn't name the picture
    await edit(doctor, name=None, sex="male")
    assert (await doctor.get("/me"))["avatar"] == picture

    after = [await edit(doctor, avatar=None) for _ in range(2)][-1]

    assert (after["avatar"], after["avatar_url"], after["name"]) == (None, None, shown["name"])
    assert (await patient.get(f"/doctors/{doctor.id}"))["avatar_url"] is None
    assert (await read(patient, page["avatar_url"]))[0] == 403
    again = await edit(doctor, avatar=picture)
    assert (await read(doctor, again["avatar_url"]))[0] == 200


@pytest.mark.rule("A8")
async def test_only_an_own_picture_that_is_nowhere_else_becomes_an_avatar(
    new_patient: NewPatient,
) -> None:
    patient, other = await new_patient(), await new_patient()
    sound = Upload(
        name="v.amr", content_type="audio/amr", base64=b64encode(voice("amr", 2)).decode()
    )
    evidence = await upload(patient)
    complaint = {"reason": "产品建议", "text": "希望改进", "images": [evidence]}
    await patient.post("/complaints", complaint)
    wrong = {
        "another's": await upload(other),
        "no picture": (await patient.client.upload(sound)).body["id"],
        "used": evidence,
        "unknown": "f1",
    }
    before = await patient.get("/me")
    for why, file in wrong.items():
        body = {"avatar": file, "name": "新名"}
        status, problem = await patient.refused("PATCH", "/me", body)
        assert (status, list(problem["fields"])) == (400, ["avatar"]), why
    assert await patient.get("/me") == before


@pytest.mark.rule("A8", "R6")
async def test_what_was_said_in_a_room_does_not_become_public(
    new_patient: NewPatient, enter_as: Enter
) -> None:
    patient, doctor = await new_patient(), await enter_as(XIAOFU)
    made = await begin(patient, doctor)
    picture = await upload(patient)
    await patient.emit(
        "message:send", room=made["room"], client_id="p", kind="image", body={"file": picture}
    )
    status, problem = await patient.refused("PATCH", "/me", {"avatar": picture})
    assert (status, list(problem["fields"])) == (400, ["avatar"])
    assert (await patient.get("/me"))["avatar"] is None
    await doctor.emit("consultation:end", consultation=made["id"])


@pytest.mark.rule("A8")
async def test_of_several_avatars_at_once_the_one_that_was_accepted_is_kept(
    new_patient: NewPatient,
) -> None:
    patient = await new_patient()
    files = [await upload(patient) for _ in range(AT_ONCE)]
    changes = [patient.client.call("PATCH", "/me", {"avatar": file}) for file in files]
    answers = await asyncio.gather(*changes)
    accepted = [a.body["avatar"] for a in answers if a.status == 200]
    assert accepted
    assert {a.status for a in answers} <= {200, 409}
    me = await patient.get("/me")
    assert me["avatar"] in accepted
    assert (await read(patient, me["avatar_url"]))[0] == 200
    # what was refused, and what was replaced, is free for something else
    free = [file for file in files if file != me["avatar"]]
    await patient.post("/complaints", {"reason": "产品建议", "text": "希望改进", "images": free})


async def found(user: User, words: str) -> list[str]:
    return [card["name"] for card in (await user.get(f"/doctors?q={words}"))["items"]]


@pytest.mark.rule("A8", "D1", "D2", "D3", "X2")
async def test_a_doctors_new_name_reaches_the_directory_and_leaves_the_past_alone(
    new_patient: NewPatient, enter_as: Enter
) -> None:
    patient, later, doctor = await new_patient(), await new_patient(), await enter_as(HUATUO)
    made = await begin(patient, doctor)
    said = await say(doctor, made["room"], "您好")
    assert "华佗" in await found(patient, "华佗")

    await edit(doctor, name="华元化")
    await doctor.client.log_in()

    assert await found(patient, "元化") == ["华元化"]
    assert doctor.name not in await found(patient, "华佗")
    assert (await patient.get(f"/doctors/{doctor.id}"))["name"] == "华元化"
    asked = await ask(later, doctor)
    assert asked["doctor"]["name"] == "华元化"
    # what began before goes on under the name it began with, and is signed under it
    assert (await patient.get(f"/consultations/{made['id']}"))["doctor"]["name"] == "华佗"
    prescription = await submitted(doctor, made["id"])
    proof = await doctor.get(f"/prescriptions/{prescription['id']}/verification")
    assert (prescription["doctor"]["name"], proof["doctor"]["by"]["name"]) == ("华佗", "华佗")
    assert proof["valid"]
    history = await patient.emit("room:history", room=made["room"])
    (before,) = [m for m in history["messages"] if m["id"] == said["id"]]
    assert before["sender"]["name"] == "华佗"
    await patient.emit("consultation:end", consultation=made["id"])


@pytest.mark.rule("A8", "D1")
async def test_of_several_names_at_once_the_directory_has_the_accounts(
    new_patient: NewPatient, enter_as: Enter
) -> None:
    patient, doctor = await new_patient(), await enter_as(HUANGFUMI)
    names = [f"士安{n}" for n in range(AT_ONCE)]
    changes = [doctor.client.call("PATCH", "/me", {"name": name}) for name in names]
    assert {a.status for a in await asyncio.gather(*changes)} <= {200, 409}
    name = (await doctor.get("/me"))["name"]
    assert await found(patient, "士安") == [name]
    assert (await patient.get(f"/doctors/{doctor.id}"))["name"] == name


async def new_doctor(operator: User) -> str:
    phone = f"132{secrets.randbelow(10**8):08d}"
    account = {
        "role": "doctor", "phone": phone, "name": "张机", "password": PASSWORD,
        "title": "主任医师", "hospital": "南阳医院", "department": "推荐科",
    }  # fmt: skip
    return str((await operator.post("/operator/accounts", account))["id"])


async def recommended(user: User) -> list[str]:
    listed = await user.get("/doctors?recommended=true&limit=100")
    assert all(card["recommended"] for card in listed["items"])
    return [card["id"] for card in listed["items"]]


@pytest.mark.rule("D4")
async def test_the_staff_chooses_whom_the_home_page_recommends(
    new_patient: NewPatient, enter_as: Enter
) -> None:
    patient, operator, admin = (
        await new_patient(), await enter_as(OPERATOR), await enter_as(ADMIN)
    )  # fmt: skip
    doctor = await new_doctor(operator)
    before = await recommended(patient)
    assert before, "the demo recommends some"
    assert doctor not in before

    path = f"/operator/recommended/{doctor}"
    for _ in range(2):
        assert (await operator.client.call("PUT", path)).status == 204
    assert await recommended(patient) == [*before, doctor], "busier ones first"
    (first,) = (await patient.get("/doctors?department=推荐科&limit=1"))["items"]
    assert first["id"] == doctor
    for _ in range(2):
        assert (await operator.client.call("DELETE", path)).status == 204
    assert await recommended(patient) == before

    assert (await patient.refused("PUT", path))[0] == 403
    assert (await operator.refused("PUT", "/operator/recommended/nobody"))[0] == 403
    trail = (await admin.get(f"/operator/audit?subject={doctor}"))["items"]
    assert {"doctor_recommended", "doctor_not_recommended"} <= {e["action"] for e in trail}


@pytest.mark.rule("D4")
async def test_the_home_page_is_asked_for_a_few_and_leads_on_to_all(
    new_patient: NewPatient,
) -> None:
    patient = await new_patient()
    everyone = await recommended(patient)
    few = await patient.get("/doctors?recommended=true&limit=1")
    assert [card["id"] for card in few["items"]] == everyone[:1]
    assert bool(few["cursor"]) is (len(everyone) > 1)
    listed = await patient.get("/doctors?limit=100")
    assert [card["id"] for card in listed["items"]][: len(everyone)] == everyone
