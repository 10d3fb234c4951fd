"""Load the demo data: each part once a database, also when several workers start together."""

import hashlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from importlib.resources import files
from itertools import product
from typing import Any

import yaml

from care.accounts import Role
from care.circle import PostKind
from care.consultation import Mode
from care.directory import Doctor, Prices, Title
from care.errors import Conflict
from care.people import Claims
from care.record import Record
from companion.accounts import Accounts
from companion.catalogue import Catalogue
from companion.circle import Circle
from companion.markdown import write_up
from companion.people import PeopleService
from companion.pharmacies import PharmacyService
from companion.schedules import ScheduleService
from storage.demo import DemoMarks
from storage.doctors import Doctors
from storage.names import Names


@dataclass(frozen=True, slots=True)
class DemoParts:
    """What the data is loaded through: the same use cases that clients reach."""

    accounts: Accounts
    people: PeopleService
    doctors: Doctors
    departments: Names
    hospitals: Names
    schedules: ScheduleService
    catalogue: Catalogue
    pharmacies: PharmacyService
    circle: Circle
    marks: DemoMarks


class DemoStaff(Record):
    role: Role
    phone: str
    name: str


class DemoPeriod(Record):
    """A period of every day of the week."""

    begins: str
    ends: str
    modes: tuple[Mode, ...]


class DemoDoctor(Record):
    phone: str
    name: str
    title: Title
    hospital: str
    department: str
    speciality: str
    diseases: tuple[str, ...]
    bio: str = ""
    prices: Prices
    recommended: bool
    schedules: tuple[DemoPeriod, ...] = ()


class DemoPatient(Record):
    phone: str
    name: str
    people: tuple[Mapping[str, Any], ...]


class DemoPost(Record):
    """An article of a category, or, without one, the topic of a doctor."""

    title: str
    author: str
    category: str | None = None
    body: str


class DemoData(Record):
    password: str
    hospitals: tuple[str, ...]
    departments: tuple[str, ...]
    staff: tuple[DemoStaff, ...]
    doctors: tuple[DemoDoctor, ...]
    patients: tuple[DemoPatient, ...]
    posts: tuple[DemoPost, ...]


def read_data() -> DemoData:
    """Read the file beside this one."""
    text = (files("companion") / "demo_data.yaml").read_text("utf-8")
    return DemoData.model_validate(yaml.safe_load(text))


async def load_demo(parts: DemoParts, now: datetime) -> None:
    """Load the parts that this database doesn't have yet.

    Each may be loaded twice at once and adds nothing the second time. Once it is marked, what
    people changed or deleted of it stays as they left it.
    """
    data = read_data()
    for name, load in PARTS.items():
        if not await parts.marks.has(name):
            await load(parts, data)
            await parts.marks.add(name, now)


async def load_staff(parts: DemoParts, data: DemoData) -> None:
    for member in data.staff:
        await _account(parts, data, member.role, member.phone, member.name)


async def load_directory(parts: DemoParts, data: DemoData) -> None:
    await parts.hospitals.put(data.hospitals)
    await parts.departments.put(data.departments)
    for doctor in data.doctors:
        account = await _account(parts, data, Role.DOCTOR, doctor.phone, doctor.name)
        doctor_fields = doctor.model_dump(exclude={"phone", "schedules"})
        entry = Doctor(id=account, **doctor_fields)
        await parts.doctors.add(entry)


async def load_patients(parts: DemoParts, data: DemoData) -> None:
    for patient in data.patients:
        account = await _account(parts, data, Role.PATIENT, patient.phone, patient.name)
        for details in patient.people:
            person_id = _same_id(patient.phone, details["name"])
            await parts.people.add(account, person_id, details, Claims())


async def load_schedules(parts: DemoParts, data: DemoData) -> None:
    for doctor in data.doctors:
        account = await _account(parts, data, Role.DOCTOR, doctor.phone, doctor.name)
        for period, weekday in product(doctor.schedules, range(1, 8)):
            schedule_id = _same_id(doctor.phone, period.begins, str(weekday))
            details = period.model_dump() | {"weekday": weekday}
            await parts.schedules.add(account, schedule_id, details)


async def load_catalogue(parts: DemoParts, _data: DemoData) -> None:
    await parts.catalogue.load(None, None)


async def load_pharmacies(parts: DemoParts, _data: DemoData) -> None:
    await parts.pharmacies.load_demo()


async def load_circle(parts: DemoParts, data: DemoData) -> None:
    doctors = {doctor.name: doctor for doctor in data.doctors}
    (operator,) = (member for member in data.staff if member.role is Role.OPERATOR)
    for post in data.posts:
        kind = PostKind.TOPIC if post.category is None else PostKind.ARTICLE
        role = Role.DOCTOR if post.category is None else Role.OPERATOR
        phone = doctors[post.author].phone if post.author in doctors else operator.phone
        account = await _account(parts, data, role, phone, post.author)
        writing = write_up(post.title, "", post.body, post.author, category=post.category)
        await parts.circle.publish(account, kind, _same_id(post.title), writing)


PARTS: Mapping[str, Callable[[DemoParts, DemoData], Awaitable[None]]] = {
    "staff": load_staff,
    "directory": load_directory,
    "patients": load_patients,
    "schedules": load_schedules,
    "catalogue": load_catalogue,
    "pharmacies": load_pharmacies,
    "circle": load_circle,
}


async def _account(parts: DemoParts, data: DemoData, role: Role, phone: str, name: str) -> str:
    create = parts.accounts.create_staff
    try:
        return await create(role, phone, name, data.password, by="demo")
    except Conflict:
        # another worker made it between the look and the insert: now it is found
        return await create(role, phone, name, data.password, by="demo")


def _same_id(*parts: str) -> str:
    """Give an id that every worker gives to the same thing."""
    return hashlib.sha256("\n".join(("demo", *parts)).encode()).hexdigest()[:28]
