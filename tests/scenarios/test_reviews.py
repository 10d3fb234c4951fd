"""Reviews through the wire: after the end, once, and the rate they make (E1, E2)."""

import asyncio
from typing import Any

import pytest

from tests.scenarios.conftest import Enter, NewPatient
from tests.scenarios.people import HUANGFUMI, OPERATOR, SHENNONG, XIAOFU, User, ask, begin

ADMIN = "13500000001"
STORM = 25
"""Patients who review one doctor at the same moment."""
REPEATS = 40
"""How often each sends his, all at once: 1,000 requests."""
MODERATED = 20
"""Reviews that are hidden and shown at the moment as many others are written."""
FLIPS = 4
"""How often each is hidden and shown, all at once."""


async def ended(patient: User, doctor: User) -> str:
    path = f"/consultations/{(await ask(patient, doctor))['id']}"
    await doctor.post(f"{path}/accept")
    return str((await patient.post(f"{path}/end"))["id"])


async def reviewed(patient: User, doctor: User, stars: int, text: str = "") -> str:
    path = f"/consultations/{await ended(patient, doctor)}/review"
    return str((await patient.post(path, {"stars": stars, "text": text}))["id"])


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


@pytest.mark.rule("E1", "E2", "D2", "D3", "S4")
async def test_what_the_staff_hides_is_neither_shown_nor_counted_until_it_is_shown_again(
    new_patient: NewPatient, enter_as: Enter
) -> None:
    kind, rude = await new_patient(), await new_patient()
    doctor, staff, admin = (
        await enter_as(HUANGFUMI), await enter_as(OPERATOR), await enter_as(ADMIN)
    )  # fmt: skip
    await reviewed(kind, doctor, 5, "很耐心")
    bad = await reviewed(rude, doctor, 1, "骂人的话")
    path = f"/operator/reviews/{bad}"

    async def seen() -> tuple[int, str | None, list[str], list[str]]:
        page = await kind.get(f"/doctors/{doctor.id}")
        listed = (await kind.get(f"/doctors/{doctor.id}/reviews"))["items"]
        return (*counts(page), [r["text"] for r in page["reviews"]], [r["text"] for r in listed])

    async def among(hidden: str) -> bool:
        listed = (await staff.get(f"/operator/reviews?hidden={hidden}"))["items"]
        return bad in [r["id"] for r in listed]

    whole = (2, "50.00%", ["骂人的话", "很耐心"], ["骂人的话", "很耐心"])
    assert await seen() == whole
    for _ in range(2):
        await staff.post(f"{path}/hide", {"reason": "辱骂医生"})
        assert await seen() == (1, "100.00%", ["很耐心"], ["很耐心"])
    assert (await among("true"), await among("false")) == (True, False)
    (mine,) = (await rude.get("/me/reviews"))["items"]
    assert (mine["id"], mine["text"], mine["hidden"]) == (bad, "骂人的话", True)
    again = f"/consultations/{mine['consultation']}/review"
    assert (await rude.refused("POST", again, {"stars": 5}))[0] == 409

    for _ in range(2):
        await staff.post(f"{path}/show", {"reason": "复核后恢复"})
        assert await seen() == whole
    assert (await among("true"), await among("false")) == (False, True)
    assert [r["hidden"] for r in (await rude.get("/me/reviews"))["items"]] == [False]
    trail = (await admin.get(f"/operator/audit?subject={rude.id}"))["items"]
    noted = {
        (e["action"], e["purpose"], e["actor"]) for e in trail if e["details"].get("of") == bad
    }
    assert noted == {
        ("review_hidden", "辱骂医生", staff.id),
        ("review_shown", "复核后恢复", staff.id),
    }


@pytest.mark.rule("E1", "D2")
async def test_without_a_review_that_is_shown_there_is_no_rate(
    new_patient: NewPatient, enter_as: Enter
) -> None:
    patient, doctor, staff = (
        await new_patient(), await enter_as(SHENNONG), await enter_as(OPERATOR)
    )  # fmt: skip
    await reviewed(patient, doctor, 5)
    listed = (await patient.get(f"/doctors/{doctor.id}/reviews?limit=100"))["items"]
    for review in listed:
        await staff.post(f"/operator/reviews/{review['id']}/hide", {"reason": "核查"})
    assert counts(await patient.get(f"/doctors/{doctor.id}")) == (0, None)
    ranked = (await patient.get("/doctors?sort=rating&limit=100"))["items"]
    assert None in [card["positive_rate"] for card in ranked]
    rates = [float((card["positive_rate"] or "-1%")[:-1]) for card in ranked]
    assert rates == sorted(rates, reverse=True), "who has none stands behind all others"
    for review in listed:
        await staff.post(f"/operator/reviews/{review['id']}/show", {"reason": "核查完毕"})
    assert counts(await patient.get(f"/doctors/{doctor.id}"))[0] == len(listed)


@pytest.mark.rule("E1", "D2")
async def test_counts_are_exact_however_many_are_hidden_shown_and_written_at_once(
    new_patient: NewPatient, enter_as: Enter
) -> None:
    doctor, staff = await enter_as(SHENNONG), await enter_as(OPERATOR)
    others = len(await shown(doctor))
    # each patient has room for ten people under care, and so for ten talks
    patients = [await new_patient() for _ in range(MODERATED // 5)] * 5
    early = [await reviewed(p, doctor, 1 + n % 5) for n, p in enumerate(patients)]
    late = [await ended(patient, doctor) for patient in patients]

    async def flip(review: str, way: str) -> int:
        path = f"/operator/reviews/{review}/{way}"
        return (await staff.client.call("POST", path, {"reason": "核查"})).status

    async def write(patient: User, talk: str) -> int:
        path = f"/consultations/{talk}/review"
        return (await patient.client.call("POST", path, {"stars": 5})).status

    flips = [flip(review, way) for way in ("hide", "show") * FLIPS for review in early]
    statuses = await asyncio.gather(*flips, *map(write, patients, late))

    assert statuses == [204] * len(flips) + [201] * MODERATED
    assert counts(await doctor.get(f"/doctors/{doctor.id}")) == made_by(await shown(doctor))
    for way, left in (("show", 2 * MODERATED), ("hide", MODERATED)):
        await asyncio.gather(*(flip(review, way) for review in early * 2))
        seen = await shown(doctor)
        assert len(seen) == others + left
        assert counts(await doctor.get(f"/doctors/{doctor.id}")) == made_by(seen)


async def shown(doctor: User) -> list[int]:
    """Give the stars of each of a doctor's reviews that anybody sees."""
    listed = await doctor.get(f"/doctors/{doctor.id}/reviews?limit=100")
    assert listed["cursor"] is None
    return [review["stars"] for review in listed["items"]]


def made_by(stars: list[int]) -> tuple[int, str]:
    """Count anew what these reviews make."""
    share = sum(n >= 4 for n in stars) * 10_000 // len(stars)
    return len(stars), f"{share // 100}.{share % 100:02d}%"
