"""The pharmacies and the offers collections: near first, and what each has at which price (X4)."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from pymongo import ASCENDING, GEOSPHERE, IndexModel, ReplaceOne

from care.drug_orders import OrderedDrug
from care.errors import Conflict
from care.pharmacies import Offer, Pharmacy
from storage.database import Database, Document, Session


@dataclass(frozen=True, slots=True)
class Near:
    """A pharmacy, and how far it is in metres; None where nobody said from where."""

    pharmacy: Pharmacy
    distance: int | None


class Pharmacies:
    def __init__(self, database: Database) -> None:
        self._pharmacies = database["pharmacies"]
        self._offers = database["offers"]

    async def ensure_indexes(self) -> None:
        # the nearest first
        await self._pharmacies.create_indexes([IndexModel([("location", GEOSPHERE)])])
        # one price a drug and pharmacy; what a pharmacy has of a prescription
        await self._offers.create_indexes(
            [IndexModel([("pharmacy", ASCENDING), ("drug", ASCENDING)], unique=True)]
        )

    async def put(self, pharmacies: Sequence[Pharmacy], offers: Sequence[Offer]) -> None:
        """Add them; what has the same id, or drug and pharmacy, is replaced."""
        if pharmacies:
            await self._pharmacies.bulk_write(
                [ReplaceOne({"_id": p.id}, _to_document(p), upsert=True) for p in pharmacies]
            )
        if offers:
            await self._offers.bulk_write(
                [
                    ReplaceOne(
                        {"pharmacy": o.pharmacy, "drug": o.drug}, o.model_dump(), upsert=True
                    )
                    for o in offers
                ]
            )

    async def near(self, latitude: float, longitude: float, limit: int) -> list[Near]:
        """List the nearest, the nearest first."""
        point = {"type": "Point", "coordinates": [longitude, latitude]}
        steps: list[Document] = [
            {"$geoNear": {"near": point, "distanceField": "distance", "spherical": True}},
            {"$limit": limit},
        ]
        found = await self._pharmacies.aggregate(steps)
        return [Near(_pharmacy(d), round(d["distance"])) async for d in found]

    async def all(self, limit: int) -> list[Near]:
        found = self._pharmacies.find().sort("_id", ASCENDING).limit(limit)
        return [Near(_pharmacy(document), None) async for document in found]

    async def get(self, pharmacy_id: str) -> Pharmacy | None:
        document = await self._pharmacies.find_one({"_id": pharmacy_id})
        return _pharmacy(document) if document else None

    async def offers(
        self, pharmacies: Collection[str], drugs: Collection[str]
    ) -> dict[tuple[str, str], Offer]:
        """Give these pharmacies' offers of these drugs, by pharmacy and drug."""
        wanted = {"pharmacy": {"$in": list(pharmacies)}, "drug": {"$in": list(drugs)}}
        found = self._offers.find(wanted, {"_id": 0})
        return {(d["pharmacy"], d["drug"]): Offer(**d) async for d in found}

    async def take(self, session: Session, pharmacy: str, drugs: Sequence[OrderedDrug]) -> None:
        """Take an order's packages out of the stock. Raises Conflict where there are too few."""
        for drug in drugs:
            known = {"pharmacy": pharmacy, "drug": drug.drug}
            counted = {"stock": {"$gte": drug.quantity}}
            taken = await self._offers.update_one(
                known | {"$or": [counted, {"stock": None}]},
                # nothing is taken from where nobody counts
                [{"$set": {"stock": {"$cond": [
                    {"$eq": ["$stock", None]}, None, {"$subtract": ["$stock", drug.quantity]},
                ]}}}],
                session=session,
            )  # fmt: skip
            if taken.matched_count == 0:
                raise Conflict(f"{drug.name}库存不足")

    async def give_back(
        self, session: Session, pharmacy: str, drugs: Sequence[OrderedDrug]
    ) -> None:
        for drug in drugs:
            await self._offers.update_one(
                {"pharmacy": pharmacy, "drug": drug.drug, "stock": {"$ne": None}},
                {"$inc": {"stock": drug.quantity}},
                session=session,
            )


def _to_document(p: Pharmacy) -> Document:
    point = {"type": "Point", "coordinates": [p.longitude, p.latitude]}
    return {"_id": p.id, "location": point, **p.model_dump(exclude={"id"})}


def _pharmacy(document: Document) -> Pharmacy:
    fields = {n: document[n] for n in Pharmacy.model_fields if n in document}
    return Pharmacy(id=document["_id"], **fields)
