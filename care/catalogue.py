"""The catalogue: drugs (药品) with the limits of their use, and diagnoses by ICD-10 (X1)."""

from enum import StrEnum

from pydantic import Field, NonNegativeInt, PositiveFloat

from care.record import Record


class Control(StrEnum):
    """How the state controls a drug: 麻醉药品, 第一类 and 第二类精神药品."""

    NONE = "none"
    NARCOTIC = "narcotic"
    PSYCHOTROPIC_1 = "psychotropic_1"
    PSYCHOTROPIC_2 = "psychotropic_2"


class Pregnancy(StrEnum):
    PERMITTED = "permitted"
    CAUTION = "caution"
    FORBIDDEN = "forbidden"


class Drug(Record):
    """A drug in one package. Doses are in `dose_unit`, an age in years; None is no limit."""

    id: str = Field(min_length=1, max_length=32)
    name: str = Field(min_length=1, max_length=60)
    category: str = Field(min_length=1, max_length=40)
    ingredients: tuple[str, ...] = Field(min_length=1)
    specification: str = Field(min_length=1, max_length=60)
    unit: str = Field(min_length=1, max_length=8)
    dose_unit: str = Field(min_length=1, max_length=8)
    routes: tuple[str, ...] = Field(min_length=1)
    max_single: PositiveFloat | None = None
    max_daily: PositiveFloat | None = None
    min_age: NonNegativeInt | None = None
    max_age: NonNegativeInt | None = None
    pregnancy: Pregnancy = Pregnancy.CAUTION
    interactions: tuple[str, ...] = ()
    """Ingredients of other drugs it does not go together with."""
    control: Control = Control.NONE

    def fits_age(self, age: int) -> bool:
        too_young = self.min_age is not None and age < self.min_age
        return not too_young and (self.max_age is None or age <= self.max_age)

    def meets(self, other: "Drug") -> set[str]:
        """Give the ingredients by which the two interact, whichever of them says so."""
        mine = set(self.interactions) & set(other.ingredients)
        return mine | (set(other.interactions) & set(self.ingredients))


class Diagnosis(Record):
    """A diagnosis by its code in ICD-10."""

    code: str = Field(pattern=r"^[A-Z][0-9]{2}(\.[0-9]{1,2}(x[0-9]{3})?)?$")
    name: str = Field(min_length=1, max_length=60)


class Frequency(StrEnum):
    """How often a dose is taken, in the abbreviations doctors write."""

    ONCE = "st"
    DAILY = "qd"
    TWICE = "bid"
    THRICE = "tid"
    FOUR_TIMES = "qid"
    EVERY_12_HOURS = "q12h"
    EVERY_8_HOURS = "q8h"
    EVERY_6_HOURS = "q6h"
    AT_NIGHT = "qn"
    EVERY_OTHER_DAY = "qod"
    AS_NEEDED = "prn"


FREQUENCIES: dict[Frequency, tuple[str, int]] = {
    Frequency.ONCE: ("立即一次", 1),
    Frequency.DAILY: ("每日1次", 1),
    Frequency.TWICE: ("每日2次", 2),
    Frequency.THRICE: ("每日3次", 3),
    Frequency.FOUR_TIMES: ("每日4次", 4),
    Frequency.EVERY_12_HOURS: ("每12小时1次", 2),
    Frequency.EVERY_8_HOURS: ("每8小时1次", 3),
    Frequency.EVERY_6_HOURS: ("每6小时1次", 4),
    Frequency.AT_NIGHT: ("每晚1次", 1),
    Frequency.EVERY_OTHER_DAY: ("隔日1次", 1),
    Frequency.AS_NEEDED: ("必要时", 1),
}
"""Each in words, and the most doses a day."""
