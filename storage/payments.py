"""The payments collection: each step is one conditional write from the state it starts in (M1)."""

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

from pymongo import ASCENDING, DESCENDING, IndexModel
from pymongo.errors import OperationFailure

from care.effects import DrugOrderUpdated, Effect, Outgoing, Paid, Updated
from care.notices import refund_notice
from care.payments import SERVICES, TABLE, Payment, PaymentState, Subject
from care.reconciliation import Span
from storage.database import Database, Document, Session
from storage.outbox import Outbox

NUMBERS = 5000
"""Asked for at once: a query is at most 16 MB."""


class Payments:
    def __init__(self, database: Database, outbox: Outbox) -> None:
        self._payments = database["payments"]
        self._run = database.run
        self._outbox = outbox

    async def ensure_indexes(self) -> None:
        with suppress(OperationFailure):
            # of a time when there were no other payments; not there is as well
            await self._payments.drop_index("consultation_1")
        await self._payments.create_indexes(
            [
                # one payment an order: paying twice is paying the same one
                *(
                    IndexModel([(name, ASCENDING)], unique=True, sparse=True, name=f"of_{name}")
                    for name in SERVICES
                ),
                # the provider knows a payment by this number
                IndexModel([("out_trade_no", ASCENDING)], unique=True),
                # a refund has one number, and no other refund has it
                IndexModel(
                    [("out_refund_no", ASCENDING)],
                    unique=True,
                    partialFilterExpression={"out_refund_no": {"$type": "string"}},
                ),
                # what the providers are to be asked about next
                IndexModel([("ask_at", ASCENDING)]),
                # the staff's lists by state
                IndexModel([("state", ASCENDING), ("_id", DESCENDING)]),
                # a day's money, for the reconciliation
                IndexModel([("provider", ASCENDING), ("paid_at", ASCENDING)]),
                IndexModel([("provider", ASCENDING), ("refunded_at", ASCENDING)]),
            ]
        )

    async def ensure(self, payment: Payment) -> Payment:
        """Store the subject's payment, or return the one it has."""
        kind, subject = payment.subject
        document = payment.model_dump(exclude={"id", *SERVICES})
        stored = await self._payments.find_one_and_update(
            {kind: subject},
            {"$setOnInsert": {"_id": payment.id, **document}},
            upsert=True,
            return_document=True,
        )
        assert stored is not None, "an upsert always returns its document"  # noqa: S101 - for mypy
        return _from_document(stored)

    async def get(self, payment_id: str) -> Payment | None:
        document = await self._payments.find_one({"_id": payment_id})
        return _from_document(document) if document else None

    async def of(self, subject: Subject) -> Payment | None:
        document = await self._payments.find_one(dict([subject]))
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

    async def settled_within(self, provider: str, span: Span) -> list[Payment]:
        """List what was paid or refunded in this time."""
        within = {"$gte": span.begins, "$lt": span.ends}
        moved = [{"provider": provider, name: within} for name in ("paid_at", "refunded_at")]
        return [_from_document(d) async for d in self._payments.find({"$or": moved})]

    async def all_numbered(self, provider: str, numbers: Collection[str]) -> dict[str, Payment]:
        """Give a provider's payments among these numbers, by number."""
        listed = list(numbers)
        named: dict[str, Payment] = {}
        for begin in range(0, len(listed), NUMBERS):
            some = {"$in": listed[begin : begin + NUMBERS]}
            found = self._payments.find({"provider": provider, "out_trade_no": some})
            named |= {d["out_trade_no"]: _from_document(d) async for d in found}
        return named

    async def numbered(self, out_trade_no: str) -> Payment | None:
        document = await self._payments.find_one({"out_trade_no": out_trade_no})
        return _from_document(document) if document else None

    async def of_all(self, consultations: Collection[str]) -> dict[str, Payment]:
        """Give the payments of these consultations by their ids."""
        found = self._payments.find({"consultation": {"$in": list(consultations)}})
        return {d["consultation"]: _from_document(d) async for d in found}

    async def claim_ask(
        self, providers: Collection[str], now: datetime, lease: timedelta
    ) -> Payment | None:
        """Take the payment to be asked about longest; nobody else is given it for the lease."""
        document = await self._payments.find_one_and_update(
            {"ask_at": {"$lte": now}, "provider": {"$in": list(providers)}},
            {"$set": {"ask_at": now + lease}},
            sort=[("ask_at", ASCENDING)],
        )
        return _from_document(document) if document else None

    async def ask_again(
        self, payment: Payment, at: datetime | None, problem: str | None = None
    ) -> None:
        """Ask its provider at this time, or never, unless it moved on meanwhile."""
        await self._payments.update_one(
            {"_id": payment.id, "state": payment.state.value},
            {"$set": {"ask_at": at, "problem": problem}},
        )

    async def paid(self, payment: Payment, now: datetime) -> bool:
        """Note that the money arrived, once; the consultation is told by the outbox."""
        told = Paid(consultation=payment.consultation, drug_order=payment.drug_order)
        return await self._move(payment, PaymentState.PAID, [told], paid_at=now)

    async def refunded(self, payment: Payment, now: datetime) -> bool:
        """Note that the money went back, once; the patient is told by the outbox."""
        notice = refund_notice(payment, now)
        kind, subject = payment.subject
        shown: Effect = (
            Updated(consultation=subject, doctor=False)
            if kind == "consultation"
            else DrugOrderUpdated(order=subject)
        )
        return await self._move(payment, PaymentState.REFUNDED, [notice, shown], refunded_at=now)

    async def _move(
        self, payment: Payment, state: PaymentState, effects: list[Effect], **fields: Any
    ) -> bool:
        """Take a step that settles it, with what it causes."""
        outgoing = Outgoing(id=f"payment:{payment.id}:{state.value}", effects=tuple(effects))

        async def work(session: Session) -> bool:
            settled = {"ask_at": None, "problem": None, **fields}
            moved = await self.step(payment, state, session, **settled)
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
