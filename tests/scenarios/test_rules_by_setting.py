"""Rules that a hospital switches on, on a server of their own (C1, C8)."""

from collections.abc import AsyncIterator

import aiohttp
import pytest
import pytest_asyncio

from tests.scenarios.people import XIAOFU, User, add_person, begin, enter, form, register
from tests.server import ServerProcess


@pytest_asyncio.fixture(scope="module")
async def strict(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ServerProcess]:
    process = ServerProcess(
        tmp_path_factory.mktemp("strict") / "data",
        "--virtual-clock",
        env={
            "WENZHEN_CONSULTATIONS__REQUIRE_PRIOR_DIAGNOSIS": "true",
            "WENZHEN_CONSULTATIONS__TEXT__MAX_MINUTES": "30",
        },
    )
    try:
        await process.start()
        yield process
    finally:
        await process.close()


@pytest_asyncio.fixture
async def pair(strict: ServerProcess) -> AsyncIterator[tuple[User, User]]:
    async with aiohttp.ClientSession() as http:
        patient = await register(strict.url, http)
        doctor = await enter(strict.url, http, XIAOFU)
        yield patient, doctor
        await patient.close()
        await doctor.close()


@pytest.mark.rule("C1")
async def test_a_first_visit_needs_a_prior_diagnosis(pair: tuple[User, User]) -> None:
    patient, doctor = pair
    wanted = form(doctor.id, await add_person(patient), seen_before=False)
    status, problem = await patient.refused("POST", "/consultations", wanted)
    assert (status, list(problem["fields"])) == (400, ["prior_diagnosis"])
    made = await patient.post("/consultations", wanted | {"prior_diagnosis": "慢性牙周炎"})
    assert made["prior_diagnosis"] == "慢性牙周炎"


@pytest.mark.rule("C8")
async def test_a_modes_cap_ends_it(pair: tuple[User, User], strict: ServerProcess) -> None:
    patient, doctor = pair
    talk = await begin(patient, doctor)
    assert talk["closes_because"] == "time_up"
    answer = await patient.client.advance_clock(30 * 60)
    assert answer.status == 200
    await patient.client.log_in()
    gone = await patient.get(f"/consultations/{talk['id']}")
    # the doctor never replied, but his time was up before the 24 hours were
    assert (gone["state"], gone["closed_reason"]["because"]) == ("ended", "time_up")
