"""The drug orders collection: one document an order, changed by its version (X4).

Placing one marks its prescription, ending one frees it or delivers it, in one transaction: two
orders of a prescription meet there, and so do an order and the doctor who makes it void.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from pymongo import ASCENDING, DESCENDING, IndexModel
from pymongo.errors import DuplicateKeyError

from care.accounts import STAFF, Caller, Role
from care.drug_orders import DrugOrder, OrderState
from care.effects import Outgoing
from care.errors import Conflict
from care.ports import Vault
from storage.addresses import opened, sealed
from storage.database import Database, Document, Session
from storage.outbox import Outbox
from storage.pharmacies import Pharmacies
from storage.prescriptions import Prescriptions

FILLED = "该处方已下单购药"
_KEPT = {"_id", "live"}

INDEXES = [
    # a request sent again
    IndexModel([("request", ASCENDING)], unique=True),
    # X4: a prescription is filled once; an order that came to nothing frees it
    IndexModel(
        [("prescription", ASCENDING)],
        unique=True,
        partialFilterExpression={"live": True},
        name="one_filling",
    ),
    # a patient's list, newest first, whole or by state
    IndexModel([("patient", ASCENDING), ("_id", DESCENDING)]),
    IndexModel([("patient", ASCENDING), ("state", ASCENDING), ("_id", DESCENDING)]),
    # the counter's lists
    IndexModel([("state", ASCENDING), ("_id", DESCENDING)]),
    # the clocks: only what waits for its payment has one
    IndexModel([("check_at", ASCENDING)], partialFilterExpression={"check_at": {"$type": "date"}}),
]


class DrugOrders:
    def __init__(
        self,
        database: Database,
        outbox: Outbox,
        prescriptions: Prescriptions,
        pharmacies: Pharmacies,
        vault: Vault,
    ) -> None:
        self._orders = database["drug_orders"]
        self._run = database.run
        self._outbox = outbox
        self._prescriptions = prescriptions
        self._pharmacies = pharmacies
        self._vault = vault

    async def ensure_indexes(self) -> None:
        await self._orders.create_indexes(INDEXES)

    async def create(self, order: DrugOrder, outgoing: Outgoing) -> DrugOrder:
        """Store a new order, or give the one an earlier try of the request stored.

        Raises Conflict when the prescription is filled, void or expired, or the stock too small.
        """

        async def work(session: Session) -> None:
            at, patient = order.created_at, order.patient
            if not await self._prescriptions.fill(
                session, order.prescription, patient, order.id, at
            ):
                raise Conflict(FILLED)
            await self._pharmacies.take(session, order.pharmacy.id, order.drugs)
            await self._orders.insert_one(self._to_document(order), session=session)
            await self._outbox.add(session, outgoing)

        existing = await self._one({"request": order.request})
        if existing is not None:
            return existing
        try:
            await self._run(work)
        except (DuplicateKeyError, Conflict) as error:
            existing = await self._one({"request": order.request})
            if existing is not None:
                return existing
            if isinstance(error, Conflict):
                raise
            raise Conflict(FILLED) from error
        return order

    async def replace(self, before: DrugOrder, after: DrugOrder, outgoing: Outgoing) -> bool:
        """Store the change unless somebody else changed it first; say whether it was stored."""

        async def work(session: Session) -> bool:
            known = {"_id": before.id, "version": before.version}
            result = await self._orders.replace_one(
                known, self._to_document(after), session=session
            )
            if result.matched_count == 0:
                return False
            await self._outbox.add(session, outgoing)
            if not after.live:
                await self._prescriptions.free(session, after.prescription, after.id)
                await self._pharmacies.give_back(session, after.pharmacy.id, after.drugs)
            if after.state is OrderState.COMPLETED:
                await self._prescriptions.deliver(session, after.prescription, after.id)
            return True

        return await self._run(work)

    async def get(self, order_id: str) -> DrugOrder | None:
        return await self._one({"_id": order_id})

    async def _one(self, query: Document) -> DrugOrder | None:
        document = await self._orders.find_one(query)
        return self._from_document(document) if document else None

    async def page(
        self,
        caller: Caller,
        states: Sequence[OrderState] | None,
        before: str | None,
        limit: int,
    ) -> list[DrugOrder]:
        """List what the caller may see, newest first, older than the id `before`."""
        shown = list(states or OrderState)
        if caller.role is Role.PHARMACIST:
            shown = [s for s in shown if s not in {OrderState.PLACED, OrderState.EXPIRED}]
        query: Document = {"state": {"$in": [s.value for s in shown]}}
        if caller.role is Role.PHARMACIST:
            query["paid_at"] = {"$ne": None}
        elif caller.role not in STAFF:
            query["patient"] = caller.user
        if before:
            query["_id"] = {"$lt": before}
        found = self._orders.find(query).sort("_id", DESCENDING).limit(limit)
        return [self._from_document(document) async for document in found]

    async def claim_due(self, now: datetime, until: datetime) -> DrugOrder | None:
        """Take the one due longest; no other process is given it before `until`."""
        document = await self._orders.find_one_and_update(
            {"check_at": {"$type": "date", "$lte": now}},
            {"$set": {"check_at": until}},
            sort=[("check_at", ASCENDING)],
        )
        return self._from_document(document) if document else None

    async def next_check(self) -> datetime | None:
        """Tell when the next clock is to be looked at."""
        found = await self._orders.find_one(
            {"check_at": {"$type": "date"}}, {"check_at": 1}, sort=[("check_at", ASCENDING)]
        )
        return found["check_at"] if found else None

    async def postpone(self, order: DrugOrder, check_at: datetime) -> None:
        """Look at it again at this time, unless it changed meanwhile."""
        await self._orders.update_one(
            {"_id": order.id, "version": order.version}, {"$set": {"check_at": check_at}}
        )

    def _to_document(self, order: DrugOrder) -> Document:
        document = order.model_dump(exclude={"id", "address"})
        address = order.address and sealed(self._vault, order.address)
        return {"_id": order.id, "live": order.live, "address": address, **document}

    def _from_document(self, document: Mapping[str, Any]) -> DrugOrder:
        fields = {k: v for k, v in document.items() if k not in _KEPT}
        address = fields.pop("address")
        return DrugOrder(
            id=document["_id"],
            address=opened(self._vault, address) if address else None,
            **fields,
        )
