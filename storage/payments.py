"""The payments collection: each step is one conditional write from the state it starts in (M1)."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from pymongo import ASCENDING, DESCENDING, IndexModel

from care.effects import Outgoing, Paid
from care.payments import TABLE, Payment, PaymentState
from storage.database import Database, Document, Session
from storage.outbox import Outbox

LATE = timedelta(hours=2)
"""So long after its begin money may still come for a closed payment: longer than an order lives."""
PAGE = 100


class Payments:
    def __init__(self, database: Database, outbox: Outbox) -> None:
        self._payments = database["payments"]
        self._run = database.run
        self._outbox = outbox

    async def ensure_indexes(self) -> None:
        await self._payments.create_indexes(
            [
                # one payment an order: paying twice is paying the same one
                IndexModel([("consultation", ASCENDING)], unique=True),
                # the provider knows a payment by this number
                IndexModel([("out_trade_no", ASCENDING)], unique=True),
                # what the provider is asked for when no notification came
                IndexModel(
                    [("provider", ASCENDING), ("state", ASCENDING), ("created_at", ASCENDING)]
                ),
                # the staff's lists by state
                IndexModel([("state", ASCENDING), ("_id", DESCENDING)]),
            ]
        )

    async def ensure(self, payment: Payment) -> Payment:
        """Store the order's payment, or return the one it has."""
        document = payment.model_dump(exclude={"id"})
        stored = await self._payments.find_one_and_update(
            {"consultation": payment.consultation},
            {"$setOnInsert": {"_id": payment.id, **document}},
            upsert=True,
            return_document=True,
        )
        assert stored is not None, "an upsert always returns its document"  # noqa: S101 - for mypy
        return _from_document(stored)

    async def get(self, payment_id: str) -> Payment | None:
        document = await self._payments.find_one({"_id": payment_id})
        return _from_document(document) if document else None

    async def of(self, consultation_id: str) -> Payment | None:
        document = await self._payments.find_one({"consultation": consultation_id})
        return _from_document(document) if document else None

    async def search(
        self, states: Sequence[PaymentState] | None, before: str | None, limit: int
    ) -> list[Payment]:
        """List payments for the staff, newest first, older than the id `before`."""
        query: Document = {"state": {"$in": [s.value for s in states]}} if states else {}
        if before:
            query["_id"] = {"$lt": before}
        found = self._payments.find(query).sort("_id", DESCENDING).limit(limit)
        return [_from_document(document) async for document in found]

    async def numbered(self, out_trade_no: str) -> Payment | None:
        document = await self._payments.find_one({"out_trade_no": out_trade_no})
        return _from_document(document) if document else None

    async def unsettled(self, provider: str, now: datetime, before: datetime) -> list[Payment]:
        """List begun payments whose money may have come unnoticed, those begun last first."""
        late = {"$gte": now - LATE, "$lt": before}
        found = self._payments.find(
            {
                "provider": provider,
                "$or": [
                    {"state": PaymentState.PENDING.value, "created_at": {"$lt": before}},
                    {"state": PaymentState.CLOSED.value, "created_at": late},
                ],
            }
        )
        return [_from_document(d) async for d in found.sort("created_at", -1).limit(PAGE)]

    async def paid(self, payment: Payment, now: datetime) -> bool:
        """Note that the money arrived, once; the consultation is told by the outbox."""
        outgoing = Outgoing(
            id=f"payment:{payment.id}:paid", effects=(Paid(consultation=payment.consultation),)
        )

        async def work(session: Session) -> bool:
            moved = await self.step(payment, PaymentState.PAID, session, paid_at=now)
            if moved:
                await self._outbox.add(session, outgoing)
            return moved

        return await self._run(work)

    async def step(
        self, payment: Payment, state: PaymentState, session: Session | None = None, **fields: Any
    ) -> bool:
        """Move it to this state from whichever the table allows; say whether this call did it.

        What it is now decides, not what was seen of it: a cancellation may have come in between.
        """
        origins = [origin.value for origin, targets in TABLE.items() if state in targets]
        result = await self._payments.update_one(
            {"_id": payment.id, "state": {"$in": origins}},
            {"$set": {"state": state.value, **fields}},
            session=session,
        )
        return bool(result.modified_count)


def _from_document(document: Mapping[str, Any]) -> Payment:
    return Payment(id=document["_id"], **{k: v for k, v in document.items() if k != "_id"})
