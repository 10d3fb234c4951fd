"""The demo data: what it holds, and that loading it again or at once adds nothing."""

import asyncio
from collections.abc import AsyncIterator
from datetime import date

import pytest

from care.circle import WordList
from care.policy import BookingPolicy, CirclePolicy
from companion.catalogue import Catalogue
from companion.circle import Circle
from companion.demo import DemoParts, load_demo, read_data
from companion.pharmacies import PharmacyService
from companion.schedules import ScheduleService
from storage.addresses import Addresses
from storage.catalogue import Diagnoses, Drugs
from storage.comments import Comments
from storage.database import Database
from storage.demo import DemoMarks
from storage.files import Files
from storage.likes import Likes
from storage.outbox import Outbox
from storage.pharmacies import Pharmacies
from storage.posts import Posts
from storage.prescriptions import Prescriptions
from storage.schedules import Schedules
from tests.clock import START, ManualClock
from tests.companion.conftest import Hospital, Phone
from tests.companion.ward import User, Ward

ACCOUNTS = {
    "13800000001": ("patient", "问诊小白"),
    "13800000002": ("patient", "问诊小黑"),
    "13900000001": ("doctor", "小傅"),
    "13900000002": ("doctor", "皇甫谧"),
    "13900000003": ("doctor", "华佗"),
    "13900000004": ("doctor", "神农"),
    "13700000001": ("pharmacist", "李时珍"),
    "13600000001": ("operator", "运营小林"),
    "13500000001": ("admin", "管理员"),
}


@pytest.fixture
async def ward(hospital: Hospital, database: Database, phone: Phone) -> AsyncIterator[Ward]:
    async with Ward(hospital, database, phone) as ward:
        yield ward


@pytest.fixture
def parts(ward: Ward, database: Database) -> DemoParts:
    return DemoParts(
        ward.hospital.accounts,
        ward.people,
        ward.doctors,
        ward.departments,
        ward.hospitals,
        ScheduleService(Schedules(database), BookingPolicy()),
        Catalogue(Drugs(database), Diagnoses(database)),
        PharmacyService(
            Pharmacies(database),
            Addresses(database, ward.hospital.vault),
            Prescriptions(database, Outbox(database, ManualClock())),
        ),
        Circle(
            Posts(database, Files(database)), Comments(database), Likes(database), WordList(()),
            ward.hospital.audit, ManualClock(), CirclePolicy(),
        ),
        DemoMarks(database),
    )  # fmt: skip


async def counts(database: Database) -> dict[str, int]:
    names = ("accounts", "people", "doctors", "departments", "hospitals")
    return {name: await database[name].count_documents({}) for name in names}


async def test_everybody_of_the_demo_can_log_in(ward: Ward, parts: DemoParts) -> None:
    await load_demo(parts, START)
    granted = {phone: await ward.api.log_in(phone) for phone in ACCOUNTS}
    users = {phone: (g["user"]["role"], g["user"]["name"]) for phone, g in granted.items()}
    assert users == ACCOUNTS


@pytest.mark.rule("P1")
async def test_the_demos_patients_care_for_their_people(ward: Ward, parts: DemoParts) -> None:
    await load_demo(parts, START)
    white = await User.logged_in(ward.api, "13800000001")
    black = await User.logged_in(ward.api, "13800000002")
    whites = (await white.get("people"))["items"]
    assert [(p["name"], p["sex"], p["default"]) for p in whites] == [
        ("炎帝", "male", True),
        ("测试", "male", False),
    ]
    assert [p["name"] for p in (await black.get("people"))["items"]] == ["曹操"]


@pytest.mark.rule("D2")
async def test_the_demos_doctors_cost_what_the_protocol_says(ward: Ward, parts: DemoParts) -> None:
    await load_demo(parts, START)
    patient = await User.logged_in(ward.api, "13800000001")
    cards = (await patient.get("doctors"))["items"]
    shown = {
        c["name"]: (c["title"], c["department"], *(p["price"] for p in c["prices"].values()))
        for c in cards
    }
    assert shown == {
        "小傅": ("主任医师", "口腔颌面科", 0, 0, 0),
        "皇甫谧": ("主任医师", "外科", 0, 0, 1),
        "华佗": ("主任医师", "儿科", 1, 1, 1),
        "神农": ("副主任医师", "妇科", 0, None, None),
    }
    assert {c["hospital"] for c in cards if c["name"] == "小傅"} == {"福州市第七医院"}
    assert {c["hospital"] for c in cards if c["name"] == "皇甫谧"} == {"福州妇幼保健院"}


def test_every_doctors_department_and_hospital_are_listed() -> None:
    data = read_data()
    assert {d.department for d in data.doctors} <= set(data.departments)
    assert {d.hospital for d in data.doctors} <= set(data.hospitals)


async def test_loading_at_once_on_several_workers_adds_nothing_twice(
    database: Database, parts: DemoParts
) -> None:
    await asyncio.gather(*(load_demo(parts, START) for _ in range(3)))
    assert await counts(database) == {
        "accounts": 9, "people": 2, "doctors": 4, "departments": 12, "hospitals": 4,
    }  # fmt: skip
    families = database["people"].find()
    assert sorted([len(f["people"]) async for f in families]) == [1, 2]


async def test_a_load_that_was_cut_off_is_completed(database: Database, parts: DemoParts) -> None:
    await load_demo(parts, START)
    before = await counts(database)
    await database["demo"].delete_many({})
    await database["doctors"].delete_one({"name": "神农"})
    await load_demo(parts, START)
    assert await counts(database) == before


async def test_a_later_start_leaves_what_people_changed(
    database: Database, ward: Ward, parts: DemoParts
) -> None:
    await load_demo(parts, START)
    patient = await User.logged_in(ward.api, "13800000002")
    (person,) = (await patient.get("people"))["items"]
    await patient.call("DELETE", f"people/{person['id']}")
    await load_demo(parts, START)
    assert (await patient.get("people"))["items"] == []


def test_the_demos_test_patient_is_about_twenty_five() -> None:
    (card,) = (
        person["id_card"]
        for patient in read_data().patients
        for person in patient.people
        if person["name"] == "测试"
    )
    assert date(2000, 1, 1) < date.fromisoformat(card[6:14]) < date(2003, 1, 1)
