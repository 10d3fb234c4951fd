"""The directory through the wire: search, order, pages, doctors' pages, favourites (D1–D3, D5)."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from care.accounts import Role
from care.record import new_id
from storage.database import Database
from tests.clock import START, ManualClock
from tests.companion.conftest import Hospital, Phone
from tests.companion.ward import User, Ward

PHONES = [f"139000000{i:02d}" for i in range(1, 60)]


@pytest.fixture
async def ward(hospital: Hospital, database: Database, phone: Phone) -> AsyncIterator[Ward]:
    async with Ward(hospital, database, phone) as ward:
        yield ward


@pytest.fixture
async def patient(ward: Ward) -> User:
    return await ward.user(Role.PATIENT, "13800000001")


@pytest.fixture
async def doctors(ward: Ward) -> dict[str, str]:
    """Make four doctors, and give their ids by name."""
    entries: list[dict[str, Any]] = [
        {"name": "小傅", "department": "口腔颌面科", "diseases": ["智齿冠周炎"],
         "prices": {"text": 0, "voice": None, "video": 1}, "consultation_count": 5,
         "positive_count": 2, "review_count": 3, "recommended": True},
        {"name": "皇甫谧", "department": "外科", "speciality": "心肌梗塞,ct", "bio": "专家",
         "positive_count": 3, "review_count": 3},
        {"name": "华佗", "department": "儿科", "speciality": "心律失常,失聪",
         "title": "副主任医师", "consultation_count": 9, "positive_count": 0, "review_count": 4},
        {"name": "小华", "department": "外科", "diseases": ["华佗再造"], "title": "住院医师",
         "consultation_count": 5},
    ]  # fmt: skip
    return {
        entry["name"]: await ward.doctor(phone, **entry)
        for phone, entry in zip(PHONES, entries, strict=False)
    }


async def names(user: User, query: str) -> list[str]:
    found = await user.get(f"doctors?{query}")
    assert found.status == 200, found
    return [card["name"] for card in found["items"]]


@pytest.mark.rule("D1", "D4")
@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("q=小傅", {"小傅"}),
        ("q=华", {"华佗", "小华"}),
        ("q=智齿", {"小傅"}),
        ("q=心", {"皇甫谧", "华佗"}),
        ("q=失聪", {"华佗"}),
        ("q=佗", {"华佗", "小华"}),
        ("q=CT", {"皇甫谧"}),
        ("q=肌梗", {"皇甫谧"}),
        # its two pairs are there, but not together
        ("q=律失聪", set()),
        ("recommended=true&department=外科", set()),
        ("recommended=false&q=心", {"皇甫谧", "华佗"}),
        ("q=%20心律%20", {"华佗"}),
        ("q=.*", set()),
        ("q=(", set()),
        ("q=$where", set()),
        ("q=", {"小傅", "皇甫谧", "华佗", "小华"}),
        ("department=外科", {"皇甫谧", "小华"}),
        ("title=主任医师", {"小傅", "皇甫谧"}),
        ("department=外科&title=住院医师", {"小华"}),
        ("department=外科&q=心", {"皇甫谧"}),
        ("department=儿科&title=主任医师", set()),
        ("department=没有", set()),
        ("recommended=true", {"小傅"}),
        ("recommended=true&q=华", set()),
        ("recommended=false&department=外科", {"皇甫谧", "小华"}),
    ],
)
async def test_doctors_are_found_by_name_disease_department_and_title(
    patient: User, doctors: dict[str, str], query: str, found: set[str]
) -> None:
    assert set(await names(patient, query)) == found


@pytest.mark.rule("D1")
@pytest.mark.parametrize(
    ("query", "order"),
    [
        ("", ["小傅", "华佗", "小华", "皇甫谧"]),
        ("sort=relevance", ["小傅", "华佗", "小华", "皇甫谧"]),
        ("q=华佗", ["华佗", "小华"]),
        ("sort=count", ["华佗", "小傅", "小华", "皇甫谧"]),
        ("sort=rating", ["皇甫谧", "小傅", "华佗", "小华"]),
    ],
)
async def test_doctors_stand_in_the_asked_order(
    patient: User, doctors: dict[str, str], query: str, order: list[str]
) -> None:
    found = await names(patient, query)
    # these two are as busy as each other: their ids decide, which are random
    if query == "sort=count":
        order[1:3] = sorted(order[1:3], key=lambda name: doctors[name])
    assert found == order


@pytest.mark.rule("D1")
async def test_whose_name_it_is_stands_before_whoever_treats_it(
    ward: Ward, patient: User, doctors: dict[str, str]
) -> None:
    for phone, name in zip(PHONES[10:12], ("心语", "心"), strict=True):
        await ward.doctor(phone, name=name)
    assert await names(patient, "q=心") == ["心", "心语", "华佗", "皇甫谧"]


@pytest.mark.rule("D1")
@pytest.mark.parametrize("sort", ["relevance", "count", "rating"])
async def test_pages_give_every_doctor_once(
    ward: Ward, patient: User, doctors: dict[str, str], sort: str
) -> None:
    for i, phone in enumerate(PHONES[10:20]):
        await ward.doctor(phone, name=f"医生{i}", consultation_count=i % 3, recommended=i % 2 == 0)
    found: list[str] = []
    cursor = ""
    while True:
        listed = await patient.get(f"doctors?limit=3&sort={sort}{cursor}")
        found += [card["name"] for card in listed["items"]]
        assert len(listed["items"]) <= 3
        if listed["cursor"] is None:
            break
        cursor = f"&cursor={listed['cursor']}"
    assert found == await names(patient, f"limit=100&sort={sort}")
    assert len(set(found)) == len(found) == 14


@pytest.mark.rule("D1")
@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("title=院士", "title"),
        ("online=maybe", "online"),
        ("sort=price", "sort"),
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("cursor=nonsense", "cursor"),
        ("cursor=eyJzY29yZSI6MSwiY291bnQiOjk5OTk5OTk5OTk5OTk5OTk5OTk5LCJpZCI6IiJ9", "cursor"),
        ("q=" + "心" * 51, "q"),
        ("q=a%00", "q"),
        ("name=小傅", "name"),
        ("q=a&q=b", "q"),
    ],
)
async def test_a_wrong_search_names_the_field(patient: User, query: str, field: str) -> None:
    refused = await patient.get(f"doctors?{query}")
    assert (refused.status, list(refused["fields"])) == (400, [field])


@pytest.mark.rule("D2")
async def test_a_card_shows_who_he_is_how_good_how_busy_and_what_he_costs(
    patient: User, doctors: dict[str, str]
) -> None:
    (card,) = (await patient.get("doctors?q=小傅"))["items"]
    assert card == {
        "id": doctors["小傅"], "name": "小傅", "title": "主任医师", "hospital": "福州市第七医院",
        "department": "口腔颌面科", "speciality": "", "avatar_url": None, "online": False,
        "positive_rate": "66.66%", "consultation_count": 5, "recommended": True,
        "prices": {
            "text": {"price": 0, "label": "免费"},
            "voice": {"price": None, "label": "未开通"},
            "video": {"price": 1, "label": "¥0.01元"},
        },
    }  # fmt: skip


@pytest.mark.rule("D2")
@pytest.mark.parametrize(
    ("name", "rate"), [("皇甫谧", "100.00%"), ("华佗", "0.00%"), ("小华", None)]
)
async def test_the_positive_rate_has_two_decimals_and_is_null_without_reviews(
    patient: User, doctors: dict[str, str], name: str, rate: str | None
) -> None:
    assert (await patient.get(f"doctors/{doctors[name]}"))["positive_rate"] == rate


async def review(database: Database, doctor: str, stars: int, minutes: int) -> None:
    at = START + timedelta(minutes=minutes)
    id_ = new_id(at)
    await database["reviews"].insert_one(
        {"_id": id_, "request": id_, "consultation": id_, "doctor": doctor, "doctor_name": "小傅",
         "patient": "p", "patient_name": "问**", "stars": stars, "label": "非常满意",
         "text": f"第{minutes}条", "at": at}
    )  # fmt: skip


@pytest.mark.rule("D3")
async def test_a_doctors_page_shows_bio_favourite_prices_and_the_newest_reviews(
    database: Database, patient: User, doctors: dict[str, str]
) -> None:
    for minutes in range(5):
        await review(database, doctors["小傅"], 5, minutes)
    shown = await patient.get(f"doctors/{doctors['小傅']}")
    assert (shown["bio"], shown["favourite"], shown["review_count"]) == ("暂无简介", False, 3)
    assert shown["prices"]["voice"]["label"] == "未开通"
    assert [r["text"] for r in shown["reviews"]] == ["第4条", "第3条", "第2条"]
    newest = {k: v for k, v in shown["reviews"][0].items() if k != "id"}
    assert newest == {
        "stars": 5, "label": "非常满意", "text": "第4条", "patient_name": "问**",
        "at": "2036-11-24T00:04:00.000Z",
    }  # fmt: skip
    assert (await patient.get(f"doctors/{doctors['皇甫谧']}"))["bio"] == "专家"


@pytest.mark.rule("D3")
async def test_reviews_come_in_pages_newest_first(
    database: Database, patient: User, doctors: dict[str, str]
) -> None:
    for minutes in range(5):
        await review(database, doctors["小傅"], 4, minutes)
    await review(database, doctors["华佗"], 1, 9)
    path = f"doctors/{doctors['小傅']}/reviews"
    first = await patient.get(f"{path}?limit=3")
    rest = await patient.get(f"{path}?limit=3&cursor={first['cursor']}")
    texts = [r["text"] for r in first["items"] + rest["items"]]
    assert texts == ["第4条", "第3条", "第2条", "第1条", "第0条"]
    assert rest["cursor"] is None


@pytest.mark.rule("D3")
@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "doctors/nobody"), ("GET", "doctors/nobody/reviews"), ("PUT", "favourites/nobody")],
)
async def test_an_unknown_doctor_is_forbidden(patient: User, method: str, path: str) -> None:
    refused = await patient.call(method, path)
    assert (refused.status, refused["code"]) == (403, "forbidden")


@pytest.mark.rule("D3")
async def test_a_favourite_is_switched_on_and_off_for_oneself_alone(
    ward: Ward, patient: User, doctors: dict[str, str]
) -> None:
    other = await ward.user(Role.PATIENT, "13800000002")
    doctor = doctors["华佗"]
    for _ in range(2):
        assert (await patient.call("PUT", f"favourites/{doctor}")).status == 204
    assert (await patient.get(f"doctors/{doctor}"))["favourite"] is True
    assert (await patient.get("me/favourites"))["count"] == 1
    assert (await other.get(f"doctors/{doctor}"))["favourite"] is False
    for _ in range(2):
        assert (await patient.call("DELETE", f"favourites/{doctor}")).status == 204
    assert (await patient.get(f"doctors/{doctor}"))["favourite"] is False
    assert await patient.get("me/favourites") == {"items": [], "cursor": None, "count": 0}


@pytest.mark.rule("D5")
async def test_favourites_come_in_pages_newest_first_with_their_count(
    patient: User, doctors: dict[str, str], clock: ManualClock
) -> None:
    for name in ("小傅", "华佗", "小华"):
        await patient.call("PUT", f"favourites/{doctors[name]}")
        clock.advance(1)
    first = await patient.get("me/favourites?limit=2")
    rest = await patient.get(f"me/favourites?limit=2&cursor={first['cursor']}")
    assert [card["name"] for card in first["items"]] == ["小华", "华佗"]
    assert [card["name"] for card in rest["items"]] == ["小傅"]
    assert (first["count"], rest["count"], rest["cursor"]) == (3, 3, None)


@pytest.mark.rule("D1")
async def test_departments_and_hospitals_are_listed_in_their_order(
    ward: Ward, patient: User
) -> None:
    await ward.departments.put(["内科", "外科", "儿科"])
    await ward.hospitals.put(["福州市第七医院"])
    listed = await patient.get("departments")
    assert [d["name"] for d in listed["items"]] == ["内科", "外科", "儿科"]
    assert (await patient.get("hospitals"))["items"] == [
        {"id": "福州市第七医院", "name": "福州市第七医院"}
    ]


@pytest.mark.parametrize(
    "path", ["departments", "hospitals", "doctors", "doctors/x", "doctors/x/reviews"]
)
async def test_the_directory_is_for_users(ward: Ward, path: str) -> None:
    assert (await ward.api.call("GET", path)).status == 401


async def test_the_texts_to_agree_to_are_public(ward: Ward) -> None:
    listed = await ward.api.call("GET", "consents")
    assert listed.status == 200
    kinds = {(c["kind"], c["version"]) for c in listed["items"]}
    assert kinds == {("terms", "1"), ("informed_consent", "1"), ("recording", "1")}
    for consent in listed["items"]:
        assert 0 < len(consent["title"]) < 20
        assert len(consent["text"]) > 200
        assert not consent["text"].startswith("#")
