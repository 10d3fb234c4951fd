"""The directory (找医生): doctors, their prices, ratings and order (D1–D3, D6)."""

from datetime import datetime
from enum import StrEnum

from pydantic import Field, NonNegativeInt

from care.consultation import Mode
from care.record import Record
from care.transfer import DoctorCard

NO_BIO = "暂无简介"
RATING_WHOLE = 10_000
"""A rating is kept in hundredths of a percent."""


class Title(StrEnum):
    CHIEF = "主任医师"
    ASSOCIATE_CHIEF = "副主任医师"
    ATTENDING = "主治医师"
    RESIDENT = "住院医师"


class Order(StrEnum):
    RELEVANCE = "relevance"
    RATING = "rating"
    COUNT = "count"


class Prices(Record):
    """What each mode costs in fen: 0 is free, None is not offered."""

    text: NonNegativeInt | None = None
    voice: NonNegativeInt | None = None
    video: NonNegativeInt | None = None

    def of(self, mode: Mode) -> int | None:
        return {Mode.TEXT: self.text, Mode.VOICE: self.voice, Mode.VIDEO: self.video}[mode]


def price_label(price: int | None) -> str:
    """Say a price as the manual does."""
    if price is None:
        return "未开通"
    if price == 0:
        return "免费"
    return f"¥{price // 100}.{price % 100:02d}元"


class Doctor(Record):
    """A doctor as patients find him; `id` is his account's."""

    id: str
    name: str
    title: Title
    hospital: str
    department: str
    speciality: str = ""
    bio: str = ""
    avatar: str | None = None
    diseases: tuple[str, ...] = ()
    """More words he is found by."""
    prices: Prices = Prices()
    recommended: bool = False
    """Chosen by the staff to be shown on the home page."""
    consultation_count: int = Field(default=0, ge=0)
    positive_count: int = Field(default=0, ge=0)
    review_count: int = Field(default=0, ge=0)
    online_until: datetime | None = None

    @property
    def card(self) -> DoctorCard:
        return DoctorCard(
            id=self.id,
            name=self.name,
            title=self.title.value,
            department=self.department,
            hospital=self.hospital,
        )

    @property
    def rating(self) -> int | None:
        """The share of positive reviews in hundredths of a percent; None without reviews."""
        if self.review_count == 0:
            return None
        return self.positive_count * RATING_WHOLE // self.review_count

    @property
    def positive_rate(self) -> str | None:
        """Say the share with two decimals, cut off: 100.00% means every one."""
        if self.rating is None:
            return None
        return f"{self.rating // 100}.{self.rating % 100:02d}%"

    def is_online(self, now: datetime) -> bool:
        return self.online_until is not None and self.online_until > now


class Practice(Record):
    """Where a new doctor stands in the directory. He offers text consultations, free of charge."""

    title: Title
    hospital: str
    department: str


class Search(Record):
    """What to look for; what is None is left open."""

    text: str | None = None
    department: str | None = None
    title: Title | None = None
    online: bool | None = None
    recommended: bool | None = None
    order: Order = Order.RELEVANCE


class Rank(Record):
    """Where a doctor stands in a search: higher scores first, then busier, then by id."""

    score: int
    count: int
    id: str


class Favourite(Record):
    doctor: str
    mark: str
    """Sorts by the time it was made at."""
