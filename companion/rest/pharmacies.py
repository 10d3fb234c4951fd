"""The routes of pharmacies, and of a patient's addresses (X4)."""

from dataclasses import replace
from typing import Annotated, Any

from pydantic import BaseModel, Field, StringConstraints

from care.accounts import Name, Phone, Role
from care.drug_orders import address_view
from care.errors import BadRequest
from care.pharmacies import Address
from care.ports import Clock
from companion.pharmacies import Choice, PharmacyService
from companion.rest.kernel import Body, Call, Route
from companion.rest.paging import Listed, Query, page

PATIENT = frozenset({Role.PATIENT})

Place = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100)]


class Nearby(Query):
    near: str | None = Field(default=None, max_length=64)
    """Latitude and longitude, with a comma."""
    prescription: str | None = Field(default=None, max_length=64)
    """Shows what it costs at each."""


class NewAddress(Body):
    name: Name
    phone: Phone
    region: Place
    detail: Place


class PharmacyView(BaseModel):
    id: str
    name: str
    address: str
    telephone: str
    latitude: float
    longitude: float
    delivers: bool
    delivery_fee: int
    distance_m: int | None
    price: int | None
    """Of the prescription that was named, in fen; null where it hasn't everything."""


class AddressView(BaseModel):
    id: str
    name: str
    phone: str
    """Masked."""
    region: str
    detail: str


class PharmacyRoutes:
    def __init__(self, pharmacies: PharmacyService, clock: Clock) -> None:
        self._pharmacies = pharmacies
        self._clock = clock

    def routes(self) -> list[Route]:
        rows = [
            Route("GET", "/pharmacies", self.list, query=Nearby, answer=Listed[PharmacyView],
                  summary="Pharmacies (药房), the nearest first"),
            Route("GET", "/addresses", self.addresses, roles=PATIENT, answer=Listed[AddressView],
                  summary="The own addresses (收货地址)"),
            Route("POST", "/addresses", self.add, body=NewAddress, roles=PATIENT, status=201,
                  answer=AddressView, summary="Add an address"),
            Route("DELETE", "/addresses/{id}", self.remove, roles=PATIENT, status=204,
                  summary="Remove one"),
        ]  # fmt: skip
        return [replace(row, tag="pharmacies") for row in rows]

    async def list(self, call: Call) -> Any:
        query: Nearby = call.query
        found = await self._pharmacies.choices(
            call.caller, _coordinates(query.near), query.prescription
        )
        return page([_view(choice) for choice in found])

    async def addresses(self, call: Call) -> Any:
        return page([address_view(a) for a in await self._pharmacies.addresses(call.caller)])

    async def add(self, call: Call) -> Any:
        body: NewAddress = call.body
        address = Address(id=call.creation_id(self._clock.now()), **body.model_dump())
        return address_view(await self._pharmacies.add_address(call.caller, address))

    async def remove(self, call: Call) -> None:
        await self._pharmacies.remove_address(call.caller, call.path["id"])


def _view(choice: Choice) -> dict[str, Any]:
    near = choice.near
    return near.pharmacy.model_dump() | {"distance_m": near.distance, "price": choice.price}


def _coordinates(text: str | None) -> tuple[float, float] | None:
    if text is None:
        return None
    parts = text.split(",")
    try:
        latitude, longitude = (float(part) for part in parts)
    except ValueError:
        raise BadRequest.field("near", "应为 纬度,经度") from None
    if not (-90 <= latitude <= 90 and -180 <= longitude <= 180):
        raise BadRequest.field("near", "应为 纬度,经度")
    return latitude, longitude
