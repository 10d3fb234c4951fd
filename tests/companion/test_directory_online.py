"""Who counts as online: by a heartbeat, or by live sockets of any node (D6)."""

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from care.accounts import Role
from storage.database import Database
from tests.clock import ManualClock
from tests.companion.conftest import Hospital, Phone
from tests.companion.ward import User, Ward

PHONE = "13900000001"


@pytest.fixture
async def ward(hospital: Hospital, database: Database, phone: Phone) -> AsyncIterator[Ward]:
    async with Ward(hospital, database, phone) as ward:
        yield ward


@pytest.fixture
async def other_node(ward: Ward, database: Database, phone: Phone) -> AsyncIterator[Ward]:
    async with Ward(ward.hospital, database, phone, node="n2") as other:
        yield other


@pytest.fixture
async def doctor(ward: Ward) -> str:
    await ward.doctor("13900000002", name="华佗")
    return await ward.doctor(PHONE, name="小傅")


@pytest.fixture
async def patient(ward: Ward) -> User:
    return await ward.user(Role.PATIENT, "13800000001")


async def online(patient: User) -> list[str]:
    """List who is online, which each way to ask must agree on."""
    listed = (await patient.get("doctors"))["items"]
    wanted = (await patient.get("doctors?online=true"))["items"]
    others = (await patient.get("doctors?online=false"))["items"]
    assert [c for c in listed if c["online"]] == wanted
    assert [c for c in listed if not c["online"]] == others
    return [c["name"] for c in wanted]


@pytest.mark.rule("D6")
async def test_a_heartbeat_keeps_a_doctor_online_for_ninety_seconds(
    ward: Ward, doctor: str, patient: User, clock: ManualClock
) -> None:
    assert await online(patient) == []
    beating = await ward.user(Role.DOCTOR, PHONE)
    beat = await beating.post("me/heartbeat")
    assert (beat.status, beat["online_until"]) == (200, "2036-11-24T00:01:30.000Z")
    clock.advance(60)
    await beating.post("me/heartbeat")
    clock.advance(89)
    assert await online(patient) == ["小傅"]
    assert (await patient.get(f"doctors/{doctor}"))["online"] is True
    clock.advance(1)
    assert await online(patient) == []
    assert (await patient.get(f"doctors/{doctor}"))["online"] is False


@pytest.mark.rule("D6")
async def test_only_doctors_of_the_directory_have_a_heartbeat(ward: Ward, patient: User) -> None:
    assert (await patient.post("me/heartbeat")).status == 403
    unlisted = await ward.user(Role.DOCTOR, "13900000003")
    assert (await unlisted.post("me/heartbeat")).status == 403


@pytest.mark.rule("D6")
async def test_a_doctor_stays_online_while_any_node_has_a_socket_of_his(
    ward: Ward, other_node: Ward, doctor: str, patient: User, clock: ManualClock
) -> None:
    now = clock.now()
    await ward.doctors.keep_online([doctor], now + timedelta(seconds=90))
    await other_node.doctors.keep_online([doctor], now + timedelta(seconds=90))
    await ward.doctors.keep_online([doctor], now + timedelta(seconds=10))
    clock.advance(11)
    assert await online(patient) == ["小傅"]
    await other_node.doctors.keep_online([doctor], clock.now())
    assert await online(patient) == []


@pytest.mark.rule("D6")
async def test_what_dead_nodes_said_is_forgotten(
    database: Database, ward: Ward, other_node: Ward, doctor: str, clock: ManualClock
) -> None:
    await other_node.doctors.keep_online([doctor], clock.now() + timedelta(seconds=90))
    clock.advance(91)
    await ward.doctors.keep_online([doctor], clock.now() + timedelta(seconds=90))
    kept = await database["doctors"].find_one({"_id": doctor})
    assert kept is not None
    assert [s["source"] for s in kept["sources"]] == ["n1"]
