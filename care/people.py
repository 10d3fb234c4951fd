"""People under care (就诊人): ID cards, children and their guardians, an account's list (P1–P4).

Sex and birth date are read from the ID card and kept nowhere else, so they can't disagree with it;
whether someone is a child follows from the birth date and the day.
"""

import re
from datetime import date, datetime
from enum import StrEnum
from typing import NamedTuple, Protocol

from care.accounts import check_phone
from care.errors import BadRequest, Conflict, Forbidden
from care.policy import PeoplePolicy
from care.record import Record

OLDEST_YEAR = 1900
NAME_MAX = 30

_ID_CARD = re.compile(r"[1-9][0-9]{16}[0-9X]")
_WEIGHTS = [2 ** (17 - i) % 11 for i in range(17)]
_CHECKS = "10X98765432"
_SOCIAL_SECURITY_CARD = re.compile(r"[0-9A-Za-z]{8,32}")


class Sex(StrEnum):
    MALE = "male"
    FEMALE = "female"

    @classmethod
    def _missing_(cls, value: object) -> "Sex | None":
        """Take the ID card's own words too."""
        return {"男": cls.MALE, "女": cls.FEMALE}.get(value) if isinstance(value, str) else None


class Kind(StrEnum):
    ADULT = "adult"
    CHILD = "child"

    @classmethod
    def _missing_(cls, value: object) -> "Kind | None":
        """Take the manual's words too."""
        return {"成人": cls.ADULT, "儿童": cls.CHILD}.get(value) if isinstance(value, str) else None


class IdCard(NamedTuple):
    """What a resident's ID card says of its holder."""

    sex: Sex
    birth_date: date


def check_id_card(id_card: str, field: str = "id_card") -> IdCard:
    """Read an 18-character ID card (GB 11643): its form, date and checksum. Raises BadRequest."""
    number = id_card.upper()
    if not _ID_CARD.fullmatch(number):
        raise BadRequest.field(field, "请输入18位身份证号")
    total = sum(w * int(digit) for w, digit in zip(_WEIGHTS, number[:17], strict=True))
    birth_date = _read_date(number[6:14])
    if birth_date is None or _CHECKS[total % 11] != number[17]:
        raise BadRequest.field(field, "身份证号不正确")
    return IdCard(Sex.MALE if int(number[16]) % 2 else Sex.FEMALE, birth_date)


def _read_date(digits: str) -> date | None:
    try:
        read = date(int(digits[:4]), int(digits[4:6]), int(digits[6:]))
    except ValueError:
        return None
    return read if read.year >= OLDEST_YEAR else None


def refuse_unborn(birth_date: date, today: date, field: str = "id_card") -> None:
    """Refuse a birth date that lies ahead. Raises BadRequest."""
    if birth_date > today:
        raise BadRequest.field(field, "出生日期不能晚于今天")


def age_on(birth_date: date, today: date) -> int:
    """Count full years; who was born on 29 February turns a year older on 1 March."""
    before_birthday = (today.month, today.day) < (birth_date.month, birth_date.day)
    return today.year - birth_date.year - before_birthday


class Guardian(Record):
    name: str
    id_card: str
    phone: str


class Person(Record):
    """Numbers are clear here only: storage seals them and answers mask them."""

    id: str
    owner: str
    name: str
    id_card: str
    mobile: str | None = None
    social_security_card: str | None = None
    guardian: Guardian | None = None
    default: bool = False
    created_at: datetime

    @property
    def sex(self) -> Sex:
        return check_id_card(self.id_card).sex

    @property
    def birth_date(self) -> date:
        return check_id_card(self.id_card).birth_date


def kind_on(birth_date: date, today: date, policy: PeoplePolicy) -> Kind:
    return Kind.CHILD if age_on(birth_date, today) < policy.adult_age else Kind.ADULT


def needs_guardian_present(person: Person, today: date, policy: PeoplePolicy) -> bool:
    """Say whether a consultation needs the guardian beside the child (P2)."""
    return age_on(person.birth_date, today) < policy.guardian_present_under_age


def check_person(person: Person, today: date, policy: PeoplePolicy) -> None:
    """Hold a person against P1 and P2. Raises BadRequest naming the field."""
    _check_name(person.name, "name")
    refuse_unborn(check_id_card(person.id_card).birth_date, today)
    card = person.social_security_card
    if card is not None and not _SOCIAL_SECURITY_CARD.fullmatch(card):
        raise BadRequest.field("social_security_card", "社保卡号应为 8–32 位字母或数字")
    if person.mobile is not None:
        _check_phone(person.mobile, "mobile")
    if person.guardian is not None:
        _check_guardian(person.guardian, today, policy)
    child = kind_on(person.birth_date, today, policy) is Kind.CHILD
    if child and person.guardian is None:
        raise BadRequest.field("guardian", f"{policy.adult_age}岁以下儿童须填写监护人")


class Claims(Record):
    """What a form says beside the ID card; what it leaves out is None."""

    kind: Kind | None = None
    sex: Sex | None = None
    birth_date: date | None = None


def check_claims(claims: Claims, person: Person, today: date, policy: PeoplePolicy) -> None:
    """Refuse what the form says and the ID card doesn't (P2). Raises BadRequest with the field."""
    known = {
        "sex": (claims.sex, person.sex),
        "birth_date": (claims.birth_date, person.birth_date),
        "kind": (claims.kind, kind_on(person.birth_date, today, policy)),
    }
    for field, (given, true) in known.items():
        if given is not None and given != true:
            raise BadRequest.field(field, "与身份证号不一致")


def _check_guardian(guardian: Guardian, today: date, policy: PeoplePolicy) -> None:
    _check_name(guardian.name, "guardian.name")
    _check_phone(guardian.phone, "guardian.phone")
    card = check_id_card(guardian.id_card, "guardian.id_card")
    if kind_on(card.birth_date, today, policy) is Kind.CHILD:
        raise BadRequest.field("guardian.id_card", "监护人应为成年人")


def _check_name(name: str, field: str) -> None:
    if not (0 < len(name.strip()) <= NAME_MAX and name.isprintable()):
        raise BadRequest.field(field, f"姓名应为 1–{NAME_MAX} 个字")


def _check_phone(phone: str, field: str) -> None:
    try:
        check_phone(phone)
    except ValueError as error:
        raise BadRequest.field(field, str(error)) from None


class Family(Record):
    """An account's people, oldest first: while there is one, exactly one is the default (P1)."""

    owner: str
    people: tuple[Person, ...] = ()
    version: int = 0
    """Also raised by each consultation made for one of them."""

    def person(self, person_id: str) -> Person:
        """Give one of them. Raises Forbidden for anybody else."""
        for person in self.people:
            if person.id == person_id:
                return person
        raise Forbidden

    def has(self, person_id: str) -> bool:
        return any(p.id == person_id for p in self.people)

    def add(self, person: Person, limit: int) -> "Family":
        """Take one more in. Raises Conflict when there are as many as allowed."""
        if len(self.people) >= limit:
            raise Conflict(f"最多可添加{limit}位就诊人")
        return self._with((*self.people, person), person.id if person.default else None)

    def edit(self, person: Person) -> "Family":
        """Replace one. Raises BadRequest when it would leave no default."""
        before = self.person(person.id)
        if before.default and not person.default:
            raise BadRequest.field("default", "请将其他就诊人设为默认")
        people = tuple(person if p.id == person.id else p for p in self.people)
        return self._with(people, person.id if person.default else None)

    def remove(self, person_id: str) -> "Family":
        """Drop one; the oldest that remains takes the default over from it."""
        return self._with(tuple(p for p in self.people if p.id != person_id), None)

    def _with(self, people: tuple[Person, ...], default: str | None) -> "Family":
        """Give the next version; without a new default the present one, or the oldest, is it."""
        if default is None:
            flagged = (p.id for p in people if p.default)
            default = next(flagged, people[0].id if people else None)
        marked = tuple(p.changed(default=p.id == default) for p in people)
        return self.changed(people=marked, version=self.version + 1)


class OpenCare(Protocol):
    """Knows what is still going on for a person.

    Sees whatever was committed before the call, and whoever begins something new raises the
    family's version in the same transaction: a deletion that asks here in between loses then.
    """

    async def has_open(self, person_id: str) -> bool: ...
