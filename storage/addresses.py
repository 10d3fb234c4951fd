"""The addresses collection: one document a patient, phones and places sealed (X4, P3)."""

from care.errors import Conflict, Forbidden
from care.pharmacies import Address
from care.ports import Vault
from storage.database import Database, Document

MOST = 20
SEALED = ("phone", "detail")


class Addresses:
    def __init__(self, database: Database, vault: Vault) -> None:
        # read and written by `_id`, the patient's: no further index
        self._addresses = database["addresses"]
        self._vault = vault

    async def of(self, patient: str) -> list[Address]:
        """List a patient's, the oldest first."""
        found = await self._addresses.find_one({"_id": patient})
        return [opened(self._vault, a) for a in found["addresses"]] if found else []

    async def get(self, patient: str, address_id: str) -> Address:
        """Give the patient's address. Raises Forbidden for anyone else's."""
        for address in await self.of(patient):
            if address.id == address_id:
                return address
        raise Forbidden

    async def add(self, patient: str, address: Address) -> None:
        """Keep one more; one with this id is an earlier try's. Raises Conflict past the limit."""
        await self._addresses.update_one(
            {"_id": patient}, {"$setOnInsert": {"addresses": []}}, upsert=True
        )
        full = f"addresses.{MOST - 1}"
        added = await self._addresses.update_one(
            {"_id": patient, full: {"$exists": False}, "addresses.id": {"$ne": address.id}},
            {"$push": {"addresses": sealed(self._vault, address)}},
        )
        if not added.matched_count and address.id not in {a.id for a in await self.of(patient)}:
            raise Conflict(f"最多可添加{MOST}个收货地址")

    async def remove(self, patient: str, address_id: str) -> None:
        """Remove one. Raises Forbidden for anyone else's."""
        removed = await self._addresses.update_one(
            {"_id": patient, "addresses.id": address_id},
            {"$pull": {"addresses": {"id": address_id}}},
        )
        if not removed.matched_count:
            raise Forbidden


def sealed(vault: Vault, address: Address) -> Document:
    return address.model_dump() | {name: vault.seal(getattr(address, name)) for name in SEALED}


def opened(vault: Vault, document: Document) -> Address:
    return Address(**document | {name: vault.open(document[name]) for name in SEALED})
