"""What a doctor prescribes in the scenarios, and how far it is brought."""

from typing import Any

import pytest_asyncio

from tests.scenarios.conftest import Enter, NewPatient
from tests.scenarios.people import XIAOFU, User

PHARMACIST = "13700000001"
AMOXICILLIN = "D0001"
AMOXICILLIN_GRANULES = "D0002"
LEVOFLOXACIN = "D0006"
IBUPROFEN = "D0009"
IBUPROFEN_SUSPENSION = "D0010"
WARFARIN = "D0032"
DIAZEPAM = "D0040"
CODEINE = "D0045"
PERIODONTITIS = "K05.2"


@pytest_asyncio.fixture
async def doctor(enter_as: Enter) -> User:
    return await enter_as(XIAOFU)


@pytest_asyncio.fixture
async def pharmacist(enter_as: Enter) -> User:
    return await enter_as(PHARMACIST)


@pytest_asyncio.fixture
async def patient(new_patient: NewPatient) -> User:
    return await new_patient()


def drug(drug_id: str = AMOXICILLIN, **changes: Any) -> dict[str, Any]:
    return {
        "drug": drug_id, "dose": 0.5, "frequency": "tid", "route": "口服", "days": 5,
        "quantity": 2, **changes,
    }  # fmt: skip


def text(*drugs: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {
        "diagnoses": [PERIODONTITIS], "drugs": list(drugs) or [drug()], "advice": "饭后服用",
        **changes,
    }  # fmt: skip


async def draft(doctor: User, consultation: str, *drugs: dict[str, Any], **changes: Any) -> Any:
    body = text(*drugs, **changes) | {"consultation": consultation}
    return await doctor.post("/prescriptions", body)


async def submitted(doctor: User, consultation: str) -> Any:
    made = await draft(doctor, consultation)
    return await doctor.post(f"/prescriptions/{made['id']}/submit")


async def approved(doctor: User, pharmacist: User, consultation: str) -> Any:
    made = await submitted(doctor, consultation)
    return await pharmacist.post(f"/prescriptions/{made['id']}/approve")


def kinds(prescription: Any) -> set[str]:
    return {warning["kind"] for warning in prescription["warnings"]}
