"""What is kept sealed, shown masked, revealed on the record, and never deleted while needed."""

import asyncio
from collections.abc import AsyncIterator
from datetime import date
from typing import Any

import pytest

from care.accounts import Role
from care.consultation import Consultation, Mode, PersonSnapshot, State
from care.effects import Outgoing
from care.errors import Conflict, Forbidden
from care.policy import PeoplePolicy
from care.transfer import DoctorCard
from companion.people import PeopleService
from storage.database import Database
from tests.clock import START
from tests.companion.conftest import Hospital, Phone
from tests.companion.ward import ADULT, MOBILE, TODAY, User, Ward, adult, child
from tests.id_cards import id_card

CARD = "350102A12345678"
GUARDIANS_CARD = id_card(date(TODAY.year - 40, 1, 2), serial=7)
GUARDIANS_PHONE = "13798765432"
SECRETS = (ADULT, MOBILE, CARD, GUARDIANS_CARD, GUARDIANS_PHONE)


@pytest.fixture
async def ward(hospital: Hospital, database: Database, phone: Phone) -> AsyncIterator[Ward]:
    async with Ward(hospital, database, phone) as ward:
        yield ward


@pytest.fixture
async def patient(ward: Ward) -> User:
    return await ward.user(Role.PATIENT, "13800000001")


@pytest.fixture
async def known(patient: User) -> str:
    """Add somebody with every number there is, and give the id."""
    guardian = {"name": "李四", "id_card": GUARDIANS_CARD, "phone": GUARDIANS_PHONE}
    added = await patient.added(adult(social_security_card=CARD, guardian=guardian))
    return str(added["id"])


def consultation(patient: User, person_id: str, number: int = 1) -> Consultation:
    return Consultation(
        id=f"c{number}", request=f"q{number}", order_no=f"{number}", room=f"r{number}",
        mode=Mode.TEXT, state=State.AWAITING_DOCTOR, patient=patient.id, patient_name="用户",
        doctor=DoctorCard(
            id=f"d{number}", name="小傅", title="主任医师", department="内科", hospital="医院"
        ),
        person=PersonSnapshot(id=person_id, name="张三", sex="male", age=36), seen_before=True,
        description="牙疼三天，晚上更厉害", consent_version="1", price=0, created_at=START,
        waiting_since=START,
    )  # fmt: skip


async def begin(ward: Ward, begun: Consultation) -> None:
    outgoing = Outgoing(id=f"consultation:{begun.id}:1", effects=())
    await ward.consultations.create(begun, outgoing)


async def everything(database: Database) -> str:
    """Write out every document of the database, as whoever steals it would."""
    names = await database.db.list_collection_names()
    return "\n".join([repr(d) for name in names async for d in database[name].find()])


@pytest.mark.rule("P3")
async def test_no_number_is_kept_in_the_clear(
    database: Database, patient: User, known: str
) -> None:
    await patient.added(child())
    await patient.call("PATCH", f"people/{known}", {"name": "王五"})
    await patient.call("DELETE", f"people/{known}")
    kept = await everything(database)
    assert "王五" in kept
    assert [secret for secret in SECRETS if secret in kept] == []


@pytest.mark.rule("P3")
async def test_two_seals_of_one_number_have_nothing_in_common(
    database: Database, patient: User
) -> None:
    await patient.added(adult())
    await patient.added(adult())
    family = await database["people"].find_one({"_id": patient.id})
    assert family is not None
    first, second = (person["id_card"] for person in family["people"])
    assert first != second


@pytest.mark.rule("P3")
async def test_every_answer_masks_every_number(patient: User, known: str) -> None:
    path = f"people/{known}"
    answers = [
        await patient.get(path),
        (await patient.get("people"))["items"][0],
        await patient.call("PATCH", path, {"name": "王五"}),
        await patient.post(f"{path}/default"),
    ]
    for answer in answers:
        assert answer["id_card"] == f"{ADULT[:4]}****{ADULT[-4:]}"
        assert answer["mobile"] == "134****5678"
        assert answer["social_security_card"] == "3501****5678"
        assert answer["guardian"] == {
            "name": "李四",
            "id_card": f"{GUARDIANS_CARD[:4]}****{GUARDIANS_CARD[-4:]}",
            "phone": "137****5432",
        }
        assert [secret for secret in SECRETS if secret in repr(answer)] == []


@pytest.mark.rule("P3")
@pytest.mark.parametrize("role", [Role.PATIENT, Role.OPERATOR, Role.ADMIN])
async def test_the_owner_and_staff_see_the_numbers_for_a_purpose_that_is_noted(
    hospital: Hospital, ward: Ward, known: str, role: Role
) -> None:
    phone = "13800000001" if role is Role.PATIENT else "13600000001"
    user = await ward.user(role, phone)
    full = await user.post(f"people/{known}/reveal", {"purpose": "核对身份"})
    assert full.status == 200
    assert full == {
        "id": known, "id_card": ADULT, "mobile": MOBILE, "social_security_card": CARD,
        "guardian": {"name": "李四", "id_card": GUARDIANS_CARD, "phone": GUARDIANS_PHONE},
    }  # fmt: skip
    noted = [(e["actor"], e["action"], e["purpose"]) for e in await hospital.audit.of(known)]
    assert noted == [(user.id, "person_revealed", "核对身份")]


@pytest.mark.rule("P3")
@pytest.mark.parametrize("body", [{}, {"purpose": ""}, {"purpose": " 看 "}, {"purpose": 5}])
async def test_without_a_purpose_nothing_is_revealed(
    hospital: Hospital, patient: User, known: str, body: dict[str, Any]
) -> None:
    refused = await patient.post(f"people/{known}/reveal", body)
    assert (refused.status, list(refused["fields"])) == (400, ["purpose"])
    assert await hospital.audit.of(known) == []


@pytest.mark.rule("P3")
@pytest.mark.parametrize("role", [Role.DOCTOR, Role.PHARMACIST, Role.PATIENT])
async def test_nobody_else_sees_the_numbers(
    hospital: Hospital, ward: Ward, known: str, role: Role
) -> None:
    user = await ward.user(role, "13900000009")
    refused = await user.post(f"people/{known}/reveal", {"purpose": "核对身份"})
    assert (refused.status, refused["code"]) == (403, "forbidden")
    assert await hospital.audit.of(known) == []


@pytest.mark.rule("P4")
async def test_a_person_in_an_open_consultation_can_not_be_deleted(
    ward: Ward, patient: User, known: str
) -> None:
    begun = consultation(patient, known)
    await begin(ward, begun)
    refused = await patient.call("DELETE", f"people/{known}")
    assert (refused.status, refused["code"]) == (409, "conflict")
    assert (await patient.get(f"people/{known}")).status == 200

    ended = begun.changed(state=State.CANCELLED, version=2)
    assert await ward.consultations.replace(begun, ended, Outgoing(id="o2", effects=()))
    assert (await patient.call("DELETE", f"people/{known}")).status == 204
    assert (await patient.get(f"people/{known}")).status == 403


@pytest.mark.rule("P4")
async def test_history_keeps_who_was_deleted(
    database: Database, ward: Ward, patient: User, known: str
) -> None:
    begun = consultation(patient, known).changed(state=State.ENDED)
    await begin(ward, begun)
    assert (await patient.call("DELETE", f"people/{known}")).status == 204
    kept = await ward.consultations.get(begun.id)
    assert kept is not None
    assert kept.person.name == "张三"
    former = await database["former_people"].find_one({"_id": known})
    assert former is not None
    assert (former["owner"], former["name"]) == (patient.id, "张三")


@pytest.mark.rule("P4")
async def test_no_consultation_begins_for_a_person_who_was_just_deleted(
    database: Database, ward: Ward, patient: User, known: str
) -> None:
    assert (await patient.call("DELETE", f"people/{known}")).status == 204
    with pytest.raises(Forbidden):
        await begin(ward, consultation(patient, known))
    assert await database["consultations"].count_documents({}) == 0


class Overtaken:
    """Answers truly, and lets a consultation begin right after the first answer."""

    def __init__(self, ward: Ward, begun: Consultation) -> None:
        self._ward = ward
        self._begun = begun

    async def has_open(self, person_id: str) -> bool:
        answer = await self._ward.consultations.has_open(person_id)
        await begin(self._ward, self._begun)
        return answer


@pytest.mark.rule("P4")
async def test_a_deletion_overtaken_by_a_consultation_is_refused(
    hospital: Hospital, ward: Ward, patient: User, known: str
) -> None:
    overtaken = Overtaken(ward, consultation(patient, known))
    people = PeopleService(
        ward.people_store, overtaken, hospital.audit, hospital.clock, PeoplePolicy(), ward.zone
    )
    with pytest.raises(Conflict):
        await people.remove(patient.id, known)
    assert (await patient.get(f"people/{known}")).status == 200


@pytest.mark.rule("P4")
async def test_of_a_deletion_and_a_consultation_at_once_only_one_happens(
    ward: Ward, patient: User
) -> None:
    people = [(await patient.added(adult()))["id"] for _ in range(10)]
    answers = await asyncio.gather(
        *(patient.call("DELETE", f"people/{person}") for person in people),
        *(begin(ward, consultation(patient, p, i)) for i, p in enumerate(people)),
        return_exceptions=True,
    )
    unexpected = [a for a in answers if isinstance(a, BaseException) and type(a) is not Forbidden]
    assert unexpected == []
    left = {p["id"] for p in (await patient.get("people"))["items"]}
    begun = {p for p in people if await ward.consultations.has_open(p)}
    assert left == begun
