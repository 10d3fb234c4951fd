"""Who may do what to a prescription, and when: tried from the tables; one of two decides (X2)."""

import asyncio
from datetime import UTC, datetime
from itertools import product
from typing import Any

import pytest

from bot.client import Client
from bot.scenario import Actor
from care.accounts import Role
from care.prescriptions import ACTORS, TABLE, PrescriptionAction, PrescriptionState
from tests.scenarios.conftest import Enter, NewPatient
from tests.scenarios.people import (
    HUANGFUMI,
    OPERATOR,
    PASSWORD,
    User,
    begin,
    enter,
    form,
    id_card,
)
from tests.scenarios.prescribing import (
    IBUPROFEN_SUSPENSION,
    LEVOFLOXACIN,
    approved,
    doctor,
    draft,
    drug,
    pharmacist,
    submitted,
    text,
)

__all__ = ["doctor", "pharmacist"]

ROUNDS = 12
REASON = {"reason": "测试"}
S, A = PrescriptionState, PrescriptionAction
ASKED = [action for action, role in ACTORS.items() if role]
"""What a caller may ask for at all."""
MOVED = [state for state in S if state is not S.DELIVERED]


async def ask(user: User, p: str, action: PrescriptionAction) -> int:
    if action is A.EDIT:
        answer = await user.client.call("PUT", f"/prescriptions/{p}", text())
    else:
        body = REASON if action in {A.REJECT, A.VOID} else {}
        answer = await user.client.call("POST", f"/prescriptions/{p}/{action}", body)
    return answer.status


async def brought_to(state: PrescriptionState, doctor: User, pharmacist: User, c: str) -> str:
    if state is S.DRAFT:
        return str((await draft(doctor, c))["id"])
    if state is S.APPROVED:
        return str((await approved(doctor, pharmacist, c))["id"])
    p = str((await submitted(doctor, c))["id"])
    if state is S.REJECTED:
        assert await ask(pharmacist, p, A.REJECT) == 200
    if state is S.VOID:
        assert await ask(doctor, p, A.VOID) == 200
    return p


@pytest.mark.rule("X2")
async def test_only_the_tables_moves_are_possible_and_only_to_their_actors(
    new_patient: NewPatient, enter_as: Enter, doctor: User, pharmacist: User
) -> None:
    patient, other = await new_patient(), await enter_as(HUANGFUMI)
    operator = await enter_as(OPERATOR)
    c = (await begin(patient, doctor))["id"]
    actors: dict[Role | None, User] = {Role.DOCTOR: doctor, Role.PHARMACIST: pharmacist}
    for state in MOVED:
        p = await brought_to(state, doctor, pharmacist, c)
        for action, user in product(ASKED, (patient, other, operator, doctor, pharmacist)):
            if user is not actors.get(ACTORS[action]):
                assert await ask(user, p, action) == 403, (state, action, user.name)
            elif (state, action) not in TABLE and (state, user) != (S.DRAFT, pharmacist):
                assert await ask(user, p, action) == 409, (state, action)
        seen = await doctor.get(f"/prescriptions/{p}")
        assert seen["state"] == state


@pytest.mark.rule("X2")
async def test_a_draft_is_hidden_from_all_but_its_doctor(
    new_patient: NewPatient, enter_as: Enter, doctor: User, pharmacist: User
) -> None:
    patient, other = await new_patient(), await enter_as(HUANGFUMI)
    c = (await begin(patient, doctor))["id"]
    p = (await draft(doctor, c))["id"]
    for user, path in product((patient, other, pharmacist), ("", "/page", "/pdf", "/verification")):
        assert (await user.refused("GET", f"/prescriptions/{p}{path}"))[0] == 403
    assert await ask(pharmacist, p, A.APPROVE) == 403


@pytest.mark.rule("X1")
async def test_only_the_consultations_doctor_prescribes_and_only_while_it_lasts(
    new_patient: NewPatient, enter_as: Enter, doctor: User
) -> None:
    patient, other = await new_patient(), await enter_as(HUANGFUMI)
    c = (await begin(patient, doctor))["id"]
    body = text() | {"consultation": c}
    assert (await other.refused("POST", "/prescriptions", body))[0] == 403
    declined = {"consultation": c, "reason": "请到医院就诊"}
    await doctor.emit("consultation:decline", **declined)
    assert (await doctor.refused("POST", "/prescriptions", body))[0] == 409


async def second_pharmacist(operator: User) -> User:
    """Have one more made by the staff; his first password is not his own."""
    phone, first = "13700000002", "first-2026"
    made = {"role": "pharmacist", "phone": phone, "name": "孙思邈", "password": first}
    await operator.post("/operator/accounts", made)
    newcomer = Client(
        operator.url, Actor(name="孙思邈", phone=phone, password=first), operator.http
    )
    await newcomer.log_in()
    change = {"old_password": first, "new_password": PASSWORD, "confirm_password": PASSWORD}
    assert (await newcomer.call("POST", "/me/password", change)).status < 300
    return await enter(operator.url, operator.http, phone)


@pytest.mark.rule("X2")
async def test_of_two_pharmacists_at_once_one_decides(
    new_patient: NewPatient, enter_as: Enter, doctor: User, pharmacist: User
) -> None:
    second = await second_pharmacist(await enter_as(OPERATOR))
    c = (await begin(await new_patient(), doctor))["id"]
    for _ in range(ROUNDS):
        p = (await submitted(doctor, c))["id"]
        answers = await asyncio.gather(ask(pharmacist, p, A.APPROVE), ask(second, p, A.REJECT))
        assert sorted(answers) == [200, 409]
        won: dict[str, Any] = await doctor.get(f"/prescriptions/{p}")
        assert won["state"] == ("approved" if answers[0] == 200 else "rejected")
        by = pharmacist.id if answers[0] == 200 else second.id
        assert won["decision"]["pharmacist"]["id"] == by


@pytest.mark.rule("X1")
async def test_a_child_under_six_needs_guardian_and_specialist_beside_it(
    new_patient: NewPatient, doctor: User
) -> None:
    patient = await new_patient()
    year = datetime.now(UTC).year - 3
    guardian = {"name": "张三", "id_card": id_card("19900307", "041"), "phone": "13412345678"}
    child = {"name": "张小三", "id_card": id_card(f"{year}0101", "043"), "guardian": guardian}
    person = (await patient.post("/people", child))["id"]
    wanted = form(doctor.id, person, guardian_present=True)
    c = await patient.post("/consultations", wanted)
    await doctor.client.connect()
    await doctor.emit("consultation:accept", consultation=c["id"])
    syrup = drug(IBUPROFEN_SUSPENSION, dose=5)
    body = text(syrup) | {"consultation": c["id"]}
    status, problem = await doctor.refused("POST", "/prescriptions", body)
    assert (status, list(problem["fields"])) == (400, ["accompanied"])
    beside = {"accompanied": True}
    assert (await doctor.post("/prescriptions", body | beside))["warnings"] == []
    tablets = text(drug(LEVOFLOXACIN), **beside) | {"consultation": c["id"]}
    status, problem = await doctor.refused("POST", "/prescriptions", tablets)
    assert (status, list(problem["fields"])) == (400, ["drugs.0.drug"])
