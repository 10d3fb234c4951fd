"""The use cases of pharmacies and of a patient's addresses (X4)."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from care.accounts import Caller
from care.errors import Forbidden
from care.pharmacies import Address, Offer, Pharmacy
from care.prescriptions import Prescription
from companion.catalogue import SHIPPED, read
from storage.addresses import Addresses
from storage.pharmacies import Near, Pharmacies
from storage.prescriptions import Prescriptions

SHOWN_MAX = 20


@dataclass(frozen=True, slots=True)
class Choice:
    """A pharmacy; `price` is a prescription's there in fen, None where it hasn't everything."""

    near: Near
    price: int | None


class PharmacyService:
    def __init__(
        self, pharmacies: Pharmacies, addresses: Addresses, prescriptions: Prescriptions
    ) -> None:
        self._pharmacies = pharmacies
        self._addresses = addresses
        self._prescriptions = prescriptions

    async def choices(
        self, caller: Caller, near: tuple[float, float] | None, prescription_id: str | None
    ) -> list[Choice]:
        """List pharmacies, the nearest first; with what a prescription of the caller's costs there.

        `near` is latitude and longitude. Raises Forbidden for anyone else's prescription.
        """
        if near is None:
            found = await self._pharmacies.all(SHOWN_MAX)
        else:
            found = await self._pharmacies.near(*near, SHOWN_MAX)
        if prescription_id is None:
            return [Choice(one, None) for one in found]
        p = await self._prescriptions.get(prescription_id)
        if p is None or not p.allows(caller):
            raise Forbidden
        offers = await self._pharmacies.offers(
            [one.pharmacy.id for one in found], [i.drug for i in p.drugs]
        )
        return [Choice(one, _price(p, one.pharmacy, offers)) for one in found]

    async def load(self, pharmacies: Path | None, offers: Path | None) -> tuple[int, int]:
        """Put in what the files hold. Raises BadRequest with the line that is wrong."""
        read_pharmacies = read(pharmacies, Pharmacy) if pharmacies else []
        read_offers = read(offers, Offer, 2) if offers else []
        await self._pharmacies.put(read_pharmacies, read_offers)
        return len(read_pharmacies), len(read_offers)

    async def load_demo(self) -> None:
        await self.load(
            Path(str(SHIPPED / "demo_pharmacies.csv")), Path(str(SHIPPED / "demo_offers.csv"))
        )

    async def addresses(self, caller: Caller) -> Sequence[Address]:
        return await self._addresses.of(caller.user)

    async def add_address(self, caller: Caller, address: Address) -> Address:
        """Keep one more. Raises Conflict past the limit."""
        await self._addresses.add(caller.user, address)
        return await self._addresses.get(caller.user, address.id)

    async def remove_address(self, caller: Caller, address_id: str) -> None:
        """Remove one; orders keep theirs. Raises Forbidden for anyone else's."""
        await self._addresses.remove(caller.user, address_id)


def _price(p: Prescription, pharmacy: Pharmacy, offers: dict[tuple[str, str], Offer]) -> int | None:
    price = 0
    for i in p.drugs:
        offer = offers.get((pharmacy.id, i.drug))
        if offer is None or not offer.has(i.quantity):
            return None
        price += offer.price * i.quantity
    return price
