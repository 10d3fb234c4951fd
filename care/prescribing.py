"""What a prescription's drugs are held against: what is refused, and what is warned of (X1)."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import combinations

from pydantic import Field, PositiveFloat, PositiveInt

from care.catalogue import FREQUENCIES, Control, Drug, Frequency, Pregnancy
from care.errors import BadRequest
from care.policy import PrescriptionPolicy
from care.record import Record


class Dosage(Record):
    """How a drug is to be taken; `dose` is in the drug's own unit, `quantity` in packages."""

    dose: PositiveFloat = Field(le=10_000, allow_inf_nan=False)
    frequency: Frequency
    route: str
    days: PositiveInt
    quantity: PositiveInt


class Wanted(Dosage):
    """A drug of the catalogue, as the doctor asks for it."""

    drug: str


class Content(Record):
    """What a doctor writes; `diagnoses` are codes."""

    diagnoses: tuple[str, ...]
    drugs: tuple[Wanted, ...]
    advice: str = ""
    allergies: tuple[str, ...] = ()
    pregnant: bool = False
    accompanied: bool = False


class Item(Dosage):
    """A drug as it was prescribed: the catalogue may change, this doesn't."""

    drug: str
    name: str
    category: str
    ingredients: tuple[str, ...]
    specification: str
    unit: str
    dose_unit: str

    @property
    def usage(self) -> str:
        """Say how it is taken, as a prescription does."""
        often, _ = FREQUENCIES[self.frequency]
        return f"每次{self.dose:g}{self.dose_unit} {often} {self.route} 共{self.days}天"


class Caution(StrEnum):
    """What a warning is about."""

    ALLERGY = "allergy"
    DUPLICATE = "duplicate"
    INTERACTION = "interaction"
    DOSE = "dose"
    AGE = "age"
    PREGNANCY = "pregnancy"


class Warned(Record):
    """A warning a doctor may pass over; it stays with the prescription."""

    kind: Caution
    drugs: tuple[str, ...]
    """By name."""
    text: str


@dataclass(frozen=True, slots=True)
class Takes:
    """Who takes it, and what of earlier prescriptions he still takes."""

    age: int
    allergies: Collection[str]
    pregnant: bool
    current: Sequence[Drug] = ()


def item(drug: Drug, wanted: Wanted) -> Item:
    """Take a drug over from the catalogue."""
    taken = {name: getattr(drug, name) for name in _TAKEN}
    return Item(**taken, **dict(wanted))


_TAKEN = ("name", "category", "ingredients", "specification", "unit", "dose_unit")


def refuse(
    drugs: Sequence[Drug],
    dosages: Sequence[Dosage],
    age: int,
    child_under: int,
    policy: PrescriptionPolicy,
) -> None:
    """Refuse what may not be prescribed over the Internet at all. Raises BadRequest (X1)."""
    if len(drugs) > policy.drugs_max:
        raise BadRequest.field("drugs", f"一张处方最多{policy.drugs_max}种药品")
    for n, (drug, dosage) in enumerate(zip(drugs, dosages, strict=True)):
        where = f"drugs.{n}"
        if drug.control is not Control.NONE:
            raise BadRequest.field(f"{where}.drug", f"{drug.name}属于{CONTROLLED[drug.control]}")
        # under this age nobody passes a limit over; above it a doctor may, with a warning
        if age < child_under and not drug.fits_age(age):
            raise BadRequest.field(f"{where}.drug", f"{child_under}岁以下儿童不得使用{drug.name}")
        if dosage.route not in drug.routes:
            raise BadRequest.field(f"{where}.route", f"应为 {', '.join(drug.routes)} 之一")
        if dosage.days > policy.days_max:
            raise BadRequest.field(f"{where}.days", f"不能大于 {policy.days_max}")
        if dosage.quantity > policy.quantity_max:
            raise BadRequest.field(f"{where}.quantity", f"不能大于 {policy.quantity_max}")


_NOT_ONLINE = "，互联网医院不得开具"
CONTROLLED: Mapping[Control, str] = {
    Control.NARCOTIC: f"麻醉药品{_NOT_ONLINE}",
    Control.PSYCHOTROPIC_1: f"第一类精神药品{_NOT_ONLINE}",
    Control.PSYCHOTROPIC_2: f"第二类精神药品{_NOT_ONLINE}",
}


def warnings(drugs: Sequence[Drug], dosages: Sequence[Dosage], takes: Takes) -> tuple[Warned, ...]:
    """List what the doctor and the pharmacist should see before they sign."""
    found: list[Warned] = []
    for drug, dosage in zip(drugs, dosages, strict=True):
        found += [*_own(drug, takes), *_dose(drug, dosage)]
    for one, other in combinations(drugs, 2):
        found += _pair(one, other, "")
    for one in drugs:
        for other in takes.current:
            found += _pair(one, other, "（正在使用）")
    return tuple(found)


def _own(drug: Drug, takes: Takes) -> Iterator[Warned]:
    names = (drug.name,)
    known = {drug.name, drug.category, *drug.ingredients}
    for allergy in sorted(known & set(takes.allergies)):
        text = f"患者对{allergy}过敏，{drug.name}含该成分或属于该类"
        yield Warned(kind=Caution.ALLERGY, drugs=names, text=text)
    if not drug.fits_age(takes.age):
        text = f"{drug.name}的适用年龄为{_ages(drug)}，患者{takes.age}岁"
        yield Warned(kind=Caution.AGE, drugs=names, text=text)
    if takes.pregnant and drug.pregnancy is not Pregnancy.PERMITTED:
        must = "禁用" if drug.pregnancy is Pregnancy.FORBIDDEN else "慎用"
        yield Warned(kind=Caution.PREGNANCY, drugs=names, text=f"孕妇{must}{drug.name}")


def _ages(drug: Drug) -> str:
    low = f"{drug.min_age}岁及以上" if drug.min_age is not None else ""
    return low + (f"{drug.max_age}岁及以下" if drug.max_age is not None else "")


def _dose(drug: Drug, dosage: Dosage) -> Iterator[Warned]:
    daily = dosage.dose * FREQUENCIES[dosage.frequency][1]
    for given, most, what in (
        (dosage.dose, drug.max_single, "单次"),
        (daily, drug.max_daily, "每日"),
    ):
        # a product of floats: what is equal on paper is not more
        if most is not None and given > most * (1 + 1e-9):
            unit = drug.dose_unit
            text = f"{drug.name}{what}剂量{given:g}{unit}，超过上限{most:g}{unit}"
            yield Warned(kind=Caution.DOSE, drugs=(drug.name,), text=text)


def _pair(one: Drug, other: Drug, where: str) -> Iterator[Warned]:
    names = (one.name, other.name)
    both = f"{one.name}与{other.name}{where}"
    if same := sorted(set(one.ingredients) & set(other.ingredients)):
        text = f"{both}含相同成分：{'、'.join(same)}"
        yield Warned(kind=Caution.DUPLICATE, drugs=names, text=text)
    if met := sorted(one.meets(other)):
        text = f"{both}存在相互作用：{'、'.join(met)}"
        yield Warned(kind=Caution.INTERACTION, drugs=names, text=text)
