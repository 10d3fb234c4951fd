"""People under care through the wire: adding, editing, deleting, the default (P1, P2, P4)."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from care.accounts import Role
from storage.database import Database
from tests.clock import ManualClock
from tests.companion.conftest import Hospital, Phone
from tests.companion.ward import ADULT, BORN, MOBILE, TODAY, User, Ward, adult, child
from tests.id_cards import id_card

WOMAN = id_card(BORN, male=False)
TOMORROW = TODAY + timedelta(days=1)


@pytest.fixture
async def ward(hospital: Hospital, database: Database, phone: Phone) -> AsyncIterator[Ward]:
    async with Ward(hospital, database, phone) as ward:
        yield ward


@pytest.fixture
async def other_ward(ward: Ward, database: Database, phone: Phone) -> AsyncIterator[Ward]:
    """Serve the same database a second time."""
    async with Ward(ward.hospital, database, phone, node="n2") as other:
        yield other


@pytest.fixture
async def patient(ward: Ward) -> User:
    return await ward.user(Role.PATIENT, "13800000001")


@pytest.fixture
async def stranger(ward: Ward) -> User:
    return await ward.user(Role.PATIENT, "13800000002")


async def defaults(patient: User) -> list[str]:
    return [p["name"] for p in (await patient.get("people"))["items"] if p["default"]]


@pytest.mark.rule("P1")
async def test_an_added_person_is_shown_with_what_the_id_card_says(patient: User) -> None:
    added = await patient.added(adult(social_security_card="A12345678"))
    shown = {k: added[k] for k in ("kind", "name", "sex", "age", "birth_date", "default")}
    assert shown == {
        "kind": "adult", "name": "张三", "sex": "male", "age": 36, "birth_date": BORN.isoformat(),
        "default": True,
    }  # fmt: skip
    assert (await patient.get("people"))["items"] == [added]
    assert await patient.get(f"people/{added['id']}") == added


@pytest.mark.rule("P1")
async def test_a_form_sent_again_adds_nobody(ward: Ward, patient: User) -> None:
    first, second = await asyncio.gather(
        *(patient.post("people", adult(), {"Idempotency-Key": "k1"}) for _ in range(2))
    )
    assert (first.status, second.status, first["id"]) == (201, 201, second["id"])
    assert len((await patient.get("people"))["items"]) == 1


@pytest.mark.rule("P1")
async def test_a_child_is_shown_with_its_guardian(patient: User) -> None:
    added = await patient.added(child())
    assert (added["kind"], added["sex"], added["guardian_must_be_present"]) == (
        "child", "female", True,
    )  # fmt: skip
    assert added["guardian"]["name"] == "张三"


@pytest.mark.rule("P1")
async def test_what_is_not_sent_stays_and_null_clears(patient: User) -> None:
    added = await patient.added(adult(social_security_card="A12345678"))
    path = f"people/{added['id']}"
    edited = await patient.call("PATCH", path, {"name": "李四", "social_security_card": None})
    assert edited.status == 200
    assert edited == added | {"name": "李四", "social_security_card": None}
    assert await patient.get(path) == edited


@pytest.mark.rule("P1")
async def test_another_id_card_brings_its_sex_along(patient: User) -> None:
    added = await patient.added(adult())
    edited = await patient.call("PATCH", f"people/{added['id']}", {"id_card": WOMAN})
    assert (edited["sex"], edited["id_card"][-4:]) == ("female", WOMAN[-4:])


@pytest.mark.rule("P1")
async def test_the_first_person_is_the_default_until_another_becomes_it(patient: User) -> None:
    await patient.added(adult(name="甲"))
    second = await patient.added(adult(name="乙"))
    assert await defaults(patient) == ["甲"]
    await patient.added(adult(name="丙", default=True))
    assert await defaults(patient) == ["丙"]
    made = await patient.post(f"people/{second['id']}/default")
    assert (made.status, made["default"]) == (200, True)
    assert await defaults(patient) == ["乙"]


@pytest.mark.rule("P1")
async def test_deleting_the_default_makes_the_oldest_the_default(patient: User) -> None:
    await patient.added(adult(name="甲"))
    await patient.added(adult(name="乙"))
    last = await patient.added(adult(name="丙", default=True))
    assert (await patient.call("DELETE", f"people/{last['id']}")).status == 204
    assert await defaults(patient) == ["甲"]


@pytest.mark.rule("P1")
async def test_the_default_can_not_be_given_up(patient: User) -> None:
    added = await patient.added(adult())
    refused = await patient.call("PATCH", f"people/{added['id']}", {"default": False})
    assert (refused.status, list(refused["fields"])) == (400, ["default"])


@pytest.mark.rule("P1")
async def test_fifty_creations_at_once_on_two_servers_leave_ten_people_and_one_default(
    ward: Ward, other_ward: Ward, patient: User
) -> None:
    elsewhere = await other_ward.user(Role.PATIENT, "13800000001")
    answers = await asyncio.gather(
        *(
            (patient, elsewhere)[i % 2].post("people", adult(name=f"第{i}个", default=i % 3 == 0))
            for i in range(50)
        )
    )
    statuses = [answer.status for answer in answers]
    assert (statuses.count(201), statuses.count(409)) == (10, 40)
    assert len((await patient.get("people"))["items"]) == 10
    assert len(await defaults(patient)) == 1


@pytest.mark.rule("P1")
async def test_there_is_one_default_whatever_happens_at_once(
    ward: Ward, other_ward: Ward, patient: User
) -> None:
    elsewhere = await other_ward.user(Role.PATIENT, "13800000001")
    people = [(await patient.added(adult(name=f"第{i}个")))["id"] for i in range(7)]
    answers = await asyncio.gather(
        *(patient.post(f"people/{p}/default") for p in people[3:]),
        *(elsewhere.call("DELETE", f"people/{p}") for p in people[:4]),
        *(elsewhere.call("PATCH", f"people/{p}", {"default": True}) for p in people[4:]),
        *(patient.post("people", adult(name=f"新{i}")) for i in range(3)),
    )
    assert {answer.status for answer in answers} <= {200, 201, 204, 403}
    assert len((await patient.get("people"))["items"]) == 6
    assert len(await defaults(patient)) == 1


@pytest.mark.rule("P1")
async def test_a_place_is_free_again_after_a_deletion(patient: User) -> None:
    people = [await patient.added(adult()) for _ in range(10)]
    full = await patient.post("people", adult())
    assert (full.status, full["code"]) == (409, "conflict")
    await patient.call("DELETE", f"people/{people[0]['id']}")
    await patient.added(adult())


@pytest.mark.rule("P1")
@pytest.mark.rule("P2")
@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        ("kind", adult(kind="elder")),
        ("kind", adult(kind="child")),
        ("kind", child(kind="adult", mobile="13412345678")),
        ("name", adult(name="")),
        ("name", adult(name=5)),
        ("name", adult(name="名" * 31)),
        ("name", adult(name="a\0b")),
        ("id_card", adult(id_card="110101199005010")),
        ("id_card", adult(id_card=ADULT[:-1] + ("0" if ADULT[-1] != "0" else "1"))),
        ("id_card", adult(id_card="11010120010229101X")),
        ("id_card", adult(id_card=None)),
        ("id_card", adult(id_card="1101****5998")),
        ("id_card", child(id_card=id_card(TOMORROW))),
        ("sex", adult(sex="female")),
        ("sex", adult(sex="女")),
        ("birth_date", adult(birth_date=TOMORROW.isoformat())),
        ("birth_date", adult(birth_date="1990-13-01")),
        ("mobile", adult(mobile="12345678901")),
        ("mobile", adult(mobile=13412345678)),
        ("social_security_card", adult(social_security_card="一二三四五六七八")),
        ("default", adult(default="yes")),
        ("guardian", child(guardian=None)),
        ("guardian", child(guardian="张三")),
        ("guardian.phone", child(guardian={"name": "张三", "id_card": ADULT})),
        ("guardian.id_card", child(guardian={"name": "张", "id_card": "1", "phone": MOBILE})),
        ("owner", adult(owner="someone")),
    ],
)
async def test_a_wrong_form_names_the_field_and_adds_nobody(
    patient: User, field: str, wrong: dict[str, Any]
) -> None:
    refused = await patient.post("people", wrong)
    assert (refused.status, refused["code"]) == (400, "bad_request")
    assert field in refused["fields"]
    assert (await patient.get("people"))["items"] == []


@pytest.mark.rule("P2")
async def test_an_edit_is_held_against_the_id_card_too(patient: User) -> None:
    added = await patient.added(adult())
    refused = await patient.call("PATCH", f"people/{added['id']}", {"sex": "female"})
    assert (refused.status, list(refused["fields"])) == (400, ["sex"])
    orphaned = await patient.call("PATCH", f"people/{added['id']}", {"id_card": child()["id_card"]})
    assert (orphaned.status, list(orphaned["fields"])) == (400, ["guardian"])
    assert await patient.get(f"people/{added['id']}") == added


@pytest.mark.rule("P2")
async def test_a_child_grows_up_on_its_birthday_in_the_hospitals_zone(
    patient: User, clock: ManualClock
) -> None:
    # it is 08:00 there: its midnight comes before that of UTC
    born = TOMORROW.replace(year=TOMORROW.year - 18)
    added = await patient.added(child(id_card=id_card(born)))
    clock.advance(16 * 3600 - 1)
    patient = await patient.again()
    assert (await patient.get(f"people/{added['id']}"))["kind"] == "child"
    clock.advance(1)
    assert (await patient.get(f"people/{added['id']}"))["kind"] == "adult"


@pytest.mark.rule("P1")
@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "", None),
        ("PATCH", "", {"name": "李四"}),
        ("DELETE", "", None),
        ("POST", "/default", None),
        ("POST", "/reveal", {"purpose": "核对身份"}),
    ],
)
async def test_other_peoples_people_are_as_forbidden_as_unknown_ones(
    patient: User, stranger: User, method: str, path: str, body: Any
) -> None:
    await stranger.added(adult())
    added = await patient.added(adult())
    refused = await stranger.call(method, f"people/{added['id']}{path}", body)
    unknown = await stranger.call(method, f"people/nobody{path}", body)
    assert (refused.status, refused["code"]) == (403, "forbidden")
    assert refused == unknown
    assert (await patient.get("people"))["items"] == [added]


@pytest.mark.rule("P1")
async def test_people_are_for_patients(ward: Ward) -> None:
    await ward.doctor("13900000001")
    doctor = await ward.user(Role.DOCTOR, "13900000001")
    assert (await doctor.get("people")).status == 403
    assert (await doctor.post("people", adult())).status == 403
    assert (await ward.api.call("GET", "people")).status == 401


@pytest.mark.rule("P1")
async def test_a_name_and_an_id_card_say_enough(patient: User) -> None:
    wanted = {k: v for k, v in adult().items() if k in {"name", "id_card"}}
    added = await patient.post("people", wanted)
    assert added.status == 201
    assert (added["kind"], added["sex"]) == ("adult", "male")
    again = await patient.post("people", wanted | {"kind": "成人", "sex": "男"})
    assert again.status == 201
