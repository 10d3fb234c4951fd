"""Pharmacies (药房), what they ask for a drug, and where a patient has things sent (X4)."""

from pydantic import Field, NonNegativeInt, PositiveInt

from care.record import Record


class Pharmacy(Record):
    """A pharmacy that fills prescriptions; its fee in fen."""

    id: str = Field(min_length=1, max_length=32)
    name: str = Field(min_length=1, max_length=60)
    address: str = Field(min_length=1, max_length=200)
    telephone: str = Field(min_length=1, max_length=20)
    latitude: float = Field(ge=-90, le=90)
    longitude: float = Field(ge=-180, le=180)
    delivers: bool = False
    delivery_fee: NonNegativeInt = 0


class Offer(Record):
    """What a pharmacy asks for a package, in fen; `stock` is None where nobody counts."""

    pharmacy: str = Field(min_length=1, max_length=32)
    drug: str = Field(min_length=1, max_length=32)
    price: PositiveInt
    stock: NonNegativeInt | None = None

    def has(self, quantity: int) -> bool:
        return self.stock is None or self.stock >= quantity


class Address(Record):
    """Where something is sent. `phone` and `detail` are clear here only: storage seals them."""

    id: str
    name: str
    phone: str
    region: str
    detail: str
