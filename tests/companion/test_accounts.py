"""Registration, log-in, passwords and the own profile, through the wire (A1–A8, A11)."""

import asyncio
from datetime import timedelta

import pytest

from care.accounts import Role
from care.errors import BadRequest, Conflict
from storage.database import Database
from tests.clock import START, ManualClock
from tests.companion.conftest import PASSWORD, PHONE, Api, Hospital, registration

OTHER_PHONE = "13912345679"
NEW_PASSWORD = "another+Word9"
ID_CARD = "11010519491231002X"


@pytest.mark.rule("A1")
async def test_registering_makes_a_patient_who_is_logged_in(api: Api) -> None:
    answer = await api.register(name="问诊小白", device="mini_program")
    assert answer.status == 201
    assert answer["expires_in"] == 900
    user = answer["user"]
    assert (user["role"], user["name"], user["phone"]) == ("patient", "问诊小白", "138****5678")
    assert user["must_change_password"] is False
    me = await api.call("GET", "me", token=answer["access_token"])
    assert (me.status, me["id"]) == (200, user["id"])
    assert await api.call("GET", "auth/me", token=answer["access_token"]) == me


@pytest.mark.rule("A1")
@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"phone": "12812345678"}, "phone"),
        ({"phone": "1381234567"}, "phone"),
        ({"phone": "1381234567８"}, "phone"),
        ({"phone": 13812345678}, "phone"),
        ({"code": "12345"}, "code"),
        ({"code": "000000"}, "code"),
        ({"code": None}, "code"),
        ({"password_repeat": "wenzhen-2027"}, "password_repeat"),
        ({"terms_version": "0"}, "terms_version"),
        ({"terms_version": ""}, "terms_version"),
        ({"name": "x" * 21}, "name"),
        ({"name": "  "}, "name"),
        ({"role": "doctor"}, "role"),
    ],
)
async def test_a_wrong_registration_names_the_field(
    api: Api, database: Database, changes: dict[str, object], field: str
) -> None:
    answer = await api.post("auth/register", registration(PHONE, "000000") | changes)
    assert (answer.status, list(answer["fields"])) == (400, [field])
    assert await database["accounts"].count_documents({}) == 0


@pytest.mark.rule("A1")
@pytest.mark.parametrize(
    "missing", ["phone", "code", "password", "password_repeat", "terms_version"]
)
async def test_registration_needs_every_field(api: Api, missing: str) -> None:
    body = registration(PHONE, "123456")
    del body[missing]
    answer = await api.post("auth/register", body)
    assert (answer.status, answer["fields"]) == (400, {missing: "必填"})


@pytest.mark.rule("A1")
async def test_a_refused_registration_leaves_the_code_usable(api: Api) -> None:
    code = await api.code(PHONE, "register")
    refused = await api.post("auth/register", registration(PHONE, code) | {"password": "short"})
    assert refused.status == 400
    assert (await api.post("auth/register", registration(PHONE, code))).status == 201


@pytest.mark.rule("A1")
async def test_a_phone_has_one_account(api: Api, clock: ManualClock) -> None:
    await api.register()
    clock.advance(60)
    answer = await api.register()
    assert (answer.status, answer["code"]) == (409, "conflict")


@pytest.mark.rule("A1")
async def test_the_code_of_another_purpose_does_not_register(api: Api) -> None:
    code = await api.code(PHONE, "login")
    answer = await api.post("auth/register", registration(PHONE, code))
    assert (answer.status, list(answer["fields"])) == (400, ["code"])


@pytest.mark.rule("A2")
@pytest.mark.parametrize(
    "password",
    ["a2345678", "abcdefg!", "1234567+", "~!@#$%^&*()_+a1"[:16], "wenzhen-2026", "a" * 15 + "1"],
)
async def test_two_kinds_of_8_to_16_characters_are_a_password(api: Api, password: str) -> None:
    answer = await api.register(password=password, password_repeat=password)
    assert answer.status == 201


@pytest.mark.rule("A2")
@pytest.mark.parametrize(
    "password",
    ["a234567", "a" * 16 + "1", "abcdefgh", "12345678", "!@#$%^&*", "abc 12345", "abc\t12345",
     "密码密码1234", "", "abc1234\u3000"],
)  # fmt: skip
async def test_other_passwords_are_refused_with_the_hint(api: Api, password: str) -> None:
    body = registration(PHONE, "123456") | {"password": password, "password_repeat": password}
    answer = await api.post("auth/register", body)
    assert answer.status == 400
    hint = "密码不能包括空格，由8-16位的字母、数字、符号中至少2种组成"
    assert answer["fields"] == {"password": hint}


@pytest.mark.rule("A3")
async def test_phone_and_password_log_in(api: Api) -> None:
    registered = await api.register()
    answer = await api.log_in()
    assert answer.status == 200
    assert answer["user"] == registered["user"]
    assert (await api.call("GET", "me", token=answer["access_token"])).status == 200


@pytest.mark.rule("A3")
@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({}, ["phone"]),
        ({"phone": PHONE}, ["password", "code"]),
        ({"phone": PHONE, "password": PASSWORD, "code": "123456"}, ["password", "code"]),
        ({"phone": PHONE, "password": 12345678}, ["password"]),
        ({"phone": PHONE, "password": ""}, ["password"]),
        ({"phone": PHONE, "password": "x" * 65}, ["password"]),
        ({"phone": {"$ne": ""}, "password": PASSWORD}, ["phone"]),
        ({"phone": PHONE, "password": PASSWORD, "admin": True}, ["admin"]),
        ({"phone": PHONE, "code": "１２３４５６"}, ["code"]),
        ({"phone": PHONE, "password": PASSWORD, "device": "x" * 65}, ["device"]),
    ],
)
async def test_a_wrong_log_in_names_the_field(
    api: Api, body: dict[str, object], fields: list[str]
) -> None:
    answer = await api.post("auth/login", body)
    assert (answer.status, list(answer["fields"])) == (400, fields)


@pytest.mark.rule("A4")
async def test_phone_and_code_log_in_once(api: Api, clock: ManualClock) -> None:
    await api.register()
    clock.advance(60)
    code = await api.code(PHONE, "login")
    answer = await api.post("auth/login", {"phone": PHONE, "code": code})
    assert (answer.status, answer["user"]["phone"]) == (200, "138****5678")
    again = await api.post("auth/login", {"phone": PHONE, "code": code})
    assert (again.status, again["code"]) == (401, "unauthenticated")


@pytest.mark.rule("A6")
async def test_a_code_resets_the_password_and_ends_every_session(
    api: Api, hospital: Hospital, clock: ManualClock
) -> None:
    old = await api.register()
    clock.advance(60)
    code = await api.code(PHONE, "password_reset")
    body = {"phone": PHONE, "code": code, "password": NEW_PASSWORD}
    answer = await api.post("auth/password-reset", body | {"password_repeat": NEW_PASSWORD})
    assert answer.status == 204
    assert (await api.log_in()).status == 401
    assert (await api.log_in(password=NEW_PASSWORD)).status == 200
    assert (await api.call("GET", "me", token=old["access_token"])).status == 401
    assert [user for _, user in hospital.revoked] == [old["user"]["id"]]


@pytest.mark.rule("A6")
@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"phone": "1"}, "phone"),
        ({"code": "abc"}, "code"),
        ({"code": "000000"}, "code"),
        ({"password": "12345678"}, "password"),
        ({"password_repeat": "x"}, "password_repeat"),
        ({"more": 1}, "more"),
    ],
)
async def test_a_wrong_reset_names_the_field(
    api: Api, changes: dict[str, object], field: str
) -> None:
    body = {"phone": PHONE, "code": "123456", "password": PASSWORD, "password_repeat": PASSWORD}
    answer = await api.post("auth/password-reset", body | changes)
    assert (answer.status, list(answer["fields"])) == (400, [field])


@pytest.mark.rule("A7")
async def test_changing_the_password_ends_every_other_session(api: Api, hospital: Hospital) -> None:
    first = await api.register()
    second, mine = await api.log_in(), await api.log_in()
    body = {"old_password": PASSWORD, "new_password": NEW_PASSWORD}
    answer = await api.post(
        "me/password", body | {"confirm_password": NEW_PASSWORD}, mine["access_token"]
    )
    assert answer.status == 204
    assert (await api.call("GET", "me", token=mine["access_token"])).status == 200
    for other in (first, second):
        assert (await api.call("GET", "me", token=other["access_token"])).status == 401
        refreshed = await api.post("auth/refresh", {"refresh_token": other["refresh_token"]})
        assert refreshed.status == 401
    assert len(hospital.revoked) == 2
    assert (await api.log_in()).status == 401
    assert (await api.log_in(password=NEW_PASSWORD)).status == 200


@pytest.mark.rule("A7")
@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"old_password": "wrong-old-1"}, "old_password"),
        ({"old_password": None}, "old_password"),
        ({"new_password": "weak"}, "new_password"),
        ({"confirm_password": "different-1"}, "confirm_password"),
        ({"more": 1}, "more"),
    ],
)
async def test_a_wrong_change_names_the_field_and_changes_nothing(
    api: Api, changes: dict[str, object], field: str
) -> None:
    token = (await api.register())["access_token"]
    body = {
        "old_password": PASSWORD,
        "new_password": NEW_PASSWORD,
        "confirm_password": NEW_PASSWORD,
    }
    answer = await api.post("auth/me/password", body | changes, token)
    assert (answer.status, list(answer["fields"])) == (400, [field])
    assert (await api.log_in()).status == 200


@pytest.mark.rule("A7")
async def test_no_log_in_with_the_old_password_outlives_the_change(
    api: Api, other_process: Api, database: Database
) -> None:
    token = (await api.register())["access_token"]
    body = {"old_password": PASSWORD, "new_password": NEW_PASSWORD}
    change = api.post("me/password", body | {"confirm_password": NEW_PASSWORD}, token)
    logins = [other_process.log_in() for _ in range(6)]
    changed, *answers = await asyncio.gather(change, *logins)
    assert changed.status == 204
    assert {answer.status for answer in answers} <= {200, 401}
    assert await database["sessions"].count_documents({"revoked_at": None}) == 1


@pytest.mark.rule("A8")
async def test_the_profile_is_edited_and_kept(api: Api) -> None:
    token = (await api.register())["access_token"]
    changes = {
        "name": "小白",
        "sex": "female",
        "birth_date": "1990-02-28",
        "real_name": "白小小",
    }
    answer = await api.call("PATCH", "me", changes, token)
    assert answer.status == 200
    assert {name: answer[name] for name in changes} == changes
    assert answer["verified"] is False
    assert await api.call("GET", "me", token=token) == answer


@pytest.mark.rule("A8")
async def test_a_name_and_an_id_card_make_the_real_name_known(api: Api, database: Database) -> None:
    token = (await api.register())["access_token"]
    answer = await api.call(
        "PATCH", "me", {"real_name": "白小小", "id_card": ID_CARD.lower()}, token
    )
    assert answer.status == 200
    assert answer["verified"] is True
    assert answer["id_card"] == "1101****002X"
    assert (answer["sex"], answer["birth_date"]) == ("female", "1949-12-31")
    stored = await database["accounts"].find_one({})
    assert ID_CARD not in str(stored)
    assert PHONE not in str(stored)


@pytest.mark.rule("A8")
@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"name": ""}, "name"),
        ({"name": "x" * 21}, "name"),
        ({"name": "a\u202eb"}, "name"),
        ({"name": 1}, "name"),
        ({"sex": "other"}, "sex"),
        ({"birth_date": "1990-02-30"}, "birth_date"),
        ({"birth_date": "yesterday"}, "birth_date"),
        ({"birth_date": "2099-01-01"}, "birth_date"),
        ({"id_card": "110105194912310021"}, "id_card"),
        ({"id_card": "1"}, "id_card"),
        ({"id_card": ID_CARD, "sex": "male"}, "sex"),
        ({"id_card": ID_CARD, "birth_date": "1949-12-30"}, "birth_date"),
        ({"phone": OTHER_PHONE}, "code"),
        ({"phone": OTHER_PHONE, "code": "000000"}, "code"),
        ({"phone": "10000"}, "phone"),
        ({"avatar": "x" * 65}, "avatar"),
        ({"avatar": "another's"}, "avatar"),
        ({"role": "admin"}, "role"),
        ({"verified": True}, "verified"),
        ({"password_hash": "x"}, "password_hash"),
    ],
)
async def test_a_wrong_edit_names_the_field_and_changes_nothing(
    api: Api, changes: dict[str, object], field: str
) -> None:
    registered = await api.register()
    answer = await api.call("PATCH", "me", changes, registered["access_token"])
    assert (answer.status, list(answer["fields"])) == (400, [field])
    me = await api.call("GET", "me", token=registered["access_token"])
    assert me == registered["user"] | {"avatar_url": None}


@pytest.mark.rule("A8")
async def test_a_birth_date_is_held_against_the_hospitals_day(api: Api, clock: ManualClock) -> None:
    # 17:00 UTC: in the hospital the next day has begun
    clock.advance(17 * 3600)
    token = (await api.register())["access_token"]
    for day, status in ((START.date() + timedelta(1), 200), (START.date() + timedelta(2), 400)):
        answer = await api.call("PATCH", "me", {"birth_date": day.isoformat()}, token)
        assert answer.status == status


@pytest.mark.rule("A8")
async def test_a_known_id_card_keeps_sex_and_birth_date(api: Api) -> None:
    token = (await api.register())["access_token"]
    await api.call("PATCH", "me", {"id_card": ID_CARD}, token)
    answer = await api.call("PATCH", "me", {"sex": "male"}, token)
    assert (answer.status, list(answer["fields"])) == (400, ["sex"])


@pytest.mark.rule("A8")
async def test_a_new_phone_needs_its_own_code(api: Api) -> None:
    token = (await api.register())["access_token"]
    code = await api.code(OTHER_PHONE, "change_phone")
    answer = await api.call("PATCH", "me", {"phone": OTHER_PHONE, "code": code}, token)
    assert (answer.status, answer["phone"]) == (200, "139****5679")
    assert (await api.log_in(OTHER_PHONE)).status == 200
    assert (await api.log_in(PHONE)).status == 401


@pytest.mark.rule("A8")
async def test_a_phone_with_an_account_cannot_be_taken(api: Api, doctor: str) -> None:
    token = (await api.register())["access_token"]
    code = await api.code(doctor, "change_phone")
    answer = await api.call("PATCH", "me", {"phone": doctor, "code": code}, token)
    assert (answer.status, answer["code"]) == (409, "conflict")


@pytest.mark.rule("A8")
async def test_of_edits_at_once_none_that_was_accepted_is_lost(
    api: Api, other_process: Api
) -> None:
    token = (await api.register())["access_token"]
    changes = {
        "name": "甲",
        "real_name": "乙",
        "sex": "male",
        "birth_date": "1990-01-01",
    }
    edits = [
        process.call("PATCH", "me", {field: value}, token)
        for (field, value), process in zip(
            changes.items(), (api, other_process, api, other_process), strict=True
        )
    ]
    answers = await asyncio.gather(*edits)
    assert {answer.status for answer in answers} <= {200, 409}
    me = await api.call("GET", "me", token=token)
    for answer, (field, value) in zip(answers, changes.items(), strict=True):
        assert (me[field] == value) is (answer.status == 200)


@pytest.mark.rule("A8")
@pytest.mark.parametrize("path", ["me", "auth/me"])
async def test_the_own_account_is_for_those_logged_in(api: Api, path: str) -> None:
    for method, below in (("GET", ""), ("PATCH", ""), ("POST", "/password")):
        answer = await api.call(method, path + below, {})
        assert (answer.status, answer["code"]) == (401, "unauthenticated")


@pytest.mark.rule("A11")
async def test_staff_log_in_with_the_role_they_were_given(api: Api, doctor: str) -> None:
    answer = await api.log_in(doctor)
    assert (answer["user"]["role"], answer["user"]["name"]) == ("doctor", "小傅")


@pytest.mark.rule("A11")
async def test_creating_the_same_staff_again_gives_the_same_account(hospital: Hospital) -> None:
    create = hospital.accounts.create_staff
    first = await create(Role.OPERATOR, "13600000009", "前台", PASSWORD)
    assert await create(Role.OPERATOR, "13600000009", "前台", PASSWORD) == first
    with pytest.raises(Conflict):
        await create(Role.ADMIN, "13600000009", "前台", PASSWORD)
    entries = await hospital.audit.of(first)
    assert [entry["action"] for entry in entries] == ["account_created"]


@pytest.mark.rule("A11")
@pytest.mark.parametrize(
    ("phone", "name", "password", "field"),
    [
        ("123", "小傅", PASSWORD, "phone"),
        (PHONE, "", PASSWORD, "name"),
        (PHONE, "小傅", "123456", "password"),
    ],
)
async def test_wrong_staff_is_refused_by_field(
    hospital: Hospital, phone: str, name: str, password: str, field: str
) -> None:
    with pytest.raises(BadRequest) as refused:
        await hospital.accounts.create_staff(Role.DOCTOR, phone, name, password)
    assert list(refused.value.fields) == [field]


async def test_one_tap_log_in_says_that_it_is_not_open(api: Api) -> None:
    answer = await api.post("auth/wechat-login", {"code": "c"})
    assert (answer.status, answer["code"], answer["retry"]) == (503, "unavailable", True)
