"""Reviews through the wire: after the end, once, and the rate they make (E1, E2)."""

import asyncio
from typing import Any

import pytest

from tests.scenarios.conftest import Enter, NewPatient
from tests.scenarios.people import SHENNONG, XIAOFU, User, ask, begin

STORM = 25
"""Patients who review one doctor at the same moment."""
REPEATS = 40
"""How often each sends his, all at once: 1,000 requests."""


async def ended(patient: User, doctor: User) -> str:
    path = f"/consultations/{(await ask(patient, doctor))['id']}"
    await doctor.post(f"{path}/accept")
    return str((await patient.post(f"{path}/end"))["id"])


def counts(doctor: Any) -> tuple[int, str | None]:
    return doctor["review_count"], doctor["positive_rate"]


@pytest.mark.rule("E1", "E2", "D2", "D3")
async def test_a_review_is_read_by_all_and_feeds_the_rate(
    new_patient: NewPatient, enter_as: Enter
) -> None:
    patient, other, doctor = await new_patient(), await new_patient(), await enter_as(SHENNONG)
    first, second = await ended(patient, doctor), await ended(other, doctor)
    before = await patient.get(f"/doctors/{doctor.id}")
    assert counts(before) == (0, None)

    said = {"stars": 5, "text": "回复很及时"}
    made = await patient.post(f"/consultations/{first}/review", said)
    await other.post(f"/consultations/{second}/review", {"stars": 3, "label": "还行"})

    assert (made["stars"], made["label"], made["text"]) == (5, "非常满意", "回复很及时")
    page = await other.get(f"/doctors/{doctor.id}")
    assert counts(page) == (2, "50.00%")
    assert [(r["stars"], r["label"]) for r in page["reviews"]] == [(3, "还行"), (5, "非常满意")]
    assert patient.name not in str(page)
    (mine,) = (await patient.get("/me/reviews"))["items"]
    assert (mine["consultation"], mine["doctor"]["name"]) == (first, "神农")
    ranked = (await patient.get("/doctors?sort=rating&limit=100"))["items"]
    assert doctor.id in [d["id"] for d in ranked]


@pytest.mark.rule("E1")
async def test_only_its_patient_reviews_it_after_the_end_and_once(
    new_patient: NewPatient, enter_as: Enter
) -> None:
    patient, stranger, doctor = await new_patient(), await new_patient(), await enter_as(XIAOFU)
    made = await begin(patient, doctor)
    path, said = f"/consultations/{made['id']}/review", {"stars": 4}
    assert (await patient.refused("POST", path, said))[0] == 409
    await patient.post(f"/consultations/{made['id']}/end")
    for user in (stranger, doctor):
        assert (await user.refused("POST", path, said))[0] == 403
    for stars in (0, 6, 4.5, "5"):
        status, problem = await patient.refused("POST", path, {"stars": stars})
        assert (status, list(problem["fields"])) == (400, ["stars"])

    sent = [await patient.client.call("POST", path, said, key="one") for _ in range(2)]

    assert [answer.status for answer in sent] == [201, 201]
    assert sent[0].body == sent[1].body
    status, problem = await patient.refused("POST", path, {"stars": 1})
    assert (status, problem["code"]) == (409, "conflict")


@pytest.mark.rule("E1", "D2")
async def test_counts_are_exact_however_many_review_at_once(
    new_patient: NewPatient, enter_as: Enter
) -> None:
    doctor = await enter_as(XIAOFU)
    before = await doctor.get(f"/doctors/{doctor.id}")
    patients = [await new_patient() for _ in range(STORM)]
    talks = [await ended(patient, doctor) for patient in patients]

    async def review(patient: User, talk: str, stars: int) -> int:
        tries = [
            patient.client.call("POST", f"/consultations/{talk}/review", {"stars": stars})
            for _ in range(REPEATS)
        ]
        return sorted(answer.status for answer in await asyncio.gather(*tries)).count(201)

    stars = [4 if n % 3 else 2 for n in range(STORM)]
    stored = await asyncio.gather(*map(review, patients, talks, stars))

    assert stored == [1] * STORM
    after = await doctor.get(f"/doctors/{doctor.id}")
    assert after["review_count"] == before["review_count"] + STORM
    positive = sum(n >= 4 for n in stars)
    known = before["positive_rate"] or "0.00%"
    earlier = round(float(known[:-1]) * before["review_count"] / 100)
    share = (positive + earlier) * 10_000 // after["review_count"]
    assert after["positive_rate"] == f"{share // 100}.{share % 100:02d}%"
