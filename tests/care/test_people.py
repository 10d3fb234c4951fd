"""ID cards, children and guardians, and an account's list, as pure functions."""

from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from care.errors import BadRequest, Conflict, Forbidden
from care.people import (
    Claims,
    Family,
    Guardian,
    Kind,
    Person,
    Sex,
    age_on,
    check_claims,
    check_id_card,
    check_person,
    kind_on,
    needs_guardian_present,
)
from care.policy import PeoplePolicy
from tests.id_cards import id_card

NOW = datetime(2026, 11, 22, tzinfo=UTC)
TODAY = NOW.date()
POLICY = PeoplePolicy()
ADULT = id_card(date(1990, 5, 1))
CHILD = id_card(date(2022, 5, 1), male=False)
GUARDIAN = Guardian(name="李四", id_card=ADULT, phone="13412345678")


def person(name: str = "张三", card: str = ADULT, **fields: object) -> Person:
    given = {"id": name, "owner": "u1", "mobile": "13412345678", "created_at": NOW} | fields
    return Person.model_validate({"name": name, "id_card": card, **given})


def refused_field(value: Person, today: date = TODAY) -> str:
    with pytest.raises(BadRequest) as refusal:
        check_person(value, today, POLICY)
    return next(iter(refusal.value.fields))


def test_the_standards_own_example_is_read() -> None:
    # the example of GB 11643-1999
    assert check_id_card("11010519491231002X") == (Sex.FEMALE, date(1949, 12, 31))


def test_a_small_x_is_read_as_a_capital_one() -> None:
    assert check_id_card("11010519491231002x").sex is Sex.FEMALE


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        "110105491231002",
        "110105194912310021",
        "11010519491231002XX",
        "1101051949123100-X",
        "11010519491331002X",
        "１１０１０５１９４９１２３１００２Ｘ",
        "01010519491231002X",
        id_card(date(1899, 12, 31)),
    ],
)
def test_anything_else_is_no_id_card(wrong: str) -> None:
    with pytest.raises(BadRequest) as refusal:
        check_id_card(wrong)
    assert list(refusal.value.fields) == ["id_card"]


@given(born=st.dates(date(1900, 1, 1), TODAY), male=st.booleans(), serial=st.integers(0, 49))
def test_every_id_card_gives_back_its_holder(born: date, male: bool, serial: int) -> None:
    sex = Sex.MALE if male else Sex.FEMALE
    assert check_id_card(id_card(born, male=male, serial=serial)) == (sex, born)


@given(position=st.integers(0, 16), digit=st.sampled_from("0123456789"))
def test_any_single_wrong_digit_is_found(position: int, digit: str) -> None:
    wrong = ADULT[:position] + digit + ADULT[position + 1 :]
    if wrong != ADULT:
        with pytest.raises(BadRequest):
            check_id_card(wrong)


@pytest.mark.parametrize(
    ("today", "age"),
    [
        (date(2026, 5, 1), 36),
        (date(2026, 4, 30), 35),
        (date(1990, 5, 1), 0),
    ],
)
def test_a_year_is_full_on_the_birthday(today: date, age: int) -> None:
    assert age_on(date(1990, 5, 1), today) == age


def test_who_was_born_on_a_leap_day_turns_older_on_the_first_of_march() -> None:
    leap = date(2020, 2, 29)
    assert (age_on(leap, date(2026, 2, 28)), age_on(leap, date(2026, 3, 1))) == (5, 6)


def test_eighteen_years_end_childhood_to_the_day() -> None:
    born = date(2008, 11, 22)
    assert kind_on(born, date(2026, 11, 21), POLICY) is Kind.CHILD
    assert kind_on(born, date(2026, 11, 22), POLICY) is Kind.ADULT


def test_a_guardian_must_be_present_until_the_sixth_birthday() -> None:
    child = person(card=id_card(date(2020, 11, 22)), guardian=GUARDIAN)
    assert needs_guardian_present(child, date(2026, 11, 21), POLICY)
    assert not needs_guardian_present(child, date(2026, 11, 22), POLICY)


def test_an_adult_and_a_child_with_a_guardian_pass() -> None:
    check_person(person(), TODAY, POLICY)
    check_person(person(card=CHILD, guardian=GUARDIAN, mobile=None), TODAY, POLICY)


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        ("name", person(name=" ")),
        ("name", person(name="名" * 31)),
        ("name", person(name="张\n三")),
        ("id_card", person(card="1")),
        ("id_card", person(card=id_card(date(2026, 11, 23)), guardian=GUARDIAN)),
        ("mobile", person(mobile="12345678901")),
        ("social_security_card", person(social_security_card="1234567")),
        ("social_security_card", person(social_security_card="12345678-9")),
        ("guardian", person(card=CHILD)),
        ("guardian.name", person(card=CHILD, guardian=GUARDIAN.changed(name=""))),
        ("guardian.id_card", person(card=CHILD, guardian=GUARDIAN.changed(id_card="1"))),
        ("guardian.id_card", person(card=CHILD, guardian=GUARDIAN.changed(id_card=CHILD))),
        ("guardian.phone", person(card=CHILD, guardian=GUARDIAN.changed(phone="1"))),
    ],
)
def test_each_wrong_field_is_named(field: str, wrong: Person) -> None:
    assert refused_field(wrong) == field


@pytest.mark.parametrize(
    ("field", "claims"),
    [
        ("sex", Claims(sex=Sex.FEMALE)),
        ("birth_date", Claims(birth_date=date(1990, 5, 2))),
        ("kind", Claims(kind=Kind.CHILD)),
    ],
)
def test_what_contradicts_the_id_card_is_named(field: str, claims: Claims) -> None:
    with pytest.raises(BadRequest) as refusal:
        check_claims(claims, person(), TODAY, POLICY)
    assert list(refusal.value.fields) == [field]


def test_what_agrees_with_the_id_card_passes() -> None:
    agreeing = Claims(kind=Kind.ADULT, sex=Sex.MALE, birth_date=date(1990, 5, 1))
    check_claims(agreeing, person(), TODAY, POLICY)


NAMES = st.sampled_from("abcd")
STEPS = st.lists(st.tuples(st.sampled_from(["add", "add_default", "default", "remove"]), NAMES))


def take(family: Family, step: str, name: str) -> Family:
    if step.startswith("add"):
        return family.add(person(name, default=step == "add_default"), limit=3)
    if step == "default":
        return family.edit(family.person(name).changed(default=True))
    family.person(name)
    return family.remove(name)


@given(steps=STEPS)
def test_whatever_happens_there_is_one_default_and_never_too_many(
    steps: list[tuple[str, str]],
) -> None:
    family = Family(owner="u1")
    for step, name in steps:
        if step.startswith("add") and family.has(name):
            continue
        before = family
        try:
            family = take(family, step, name)
        except (Conflict, Forbidden):
            assert family is before
            continue
        assert family.version == before.version + 1
        assert len(family.people) <= 3
        assert sum(p.default for p in family.people) == (1 if family.people else 0)


def test_deleting_the_default_makes_the_oldest_the_default() -> None:
    family = Family(owner="u1")
    for name in "abc":
        family = family.add(person(name), limit=3)
    family = family.edit(family.person("c").changed(default=True)).remove("c")
    assert [p.id for p in family.people if p.default] == ["a"]


def test_the_default_is_given_on_but_never_given_up() -> None:
    family = Family(owner="u1").add(person("a"), limit=3).add(person("b"), limit=3)
    with pytest.raises(BadRequest) as refusal:
        family.edit(family.person("a").changed(default=False))
    assert list(refusal.value.fields) == ["default"]
