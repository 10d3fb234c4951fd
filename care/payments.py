"""A payment and its refund: two small state machines and the provider's port (M1, M2)."""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol

from pydantic import PositiveInt

from care.record import Record, wire_time


class PaymentState(StrEnum):
    PENDING = "pending"
    PAID = "paid"
    REFUNDING = "refunding"
    REFUNDED = "refunded"
    CLOSED = "closed"


TABLE: Mapping[PaymentState, frozenset[PaymentState]] = {
    PaymentState.PENDING: frozenset({PaymentState.PAID, PaymentState.CLOSED}),
    # money that arrives after the order was closed is kept as paid first, then given back
    PaymentState.CLOSED: frozenset({PaymentState.PAID}),
    PaymentState.PAID: frozenset({PaymentState.REFUNDING}),
    PaymentState.REFUNDING: frozenset({PaymentState.REFUNDED}),
}


Subject = tuple[str, str]
"""What money is for: the field that names it, and its id."""

SERVICES: Mapping[str, str] = {"consultation": "问诊费", "drug_order": "购药费"}


class ForSubject(Record):
    """What concerns the money of one thing: a consultation, or an order of drugs."""

    consultation: str | None = None
    drug_order: str | None = None

    @property
    def subject(self) -> Subject:
        if self.drug_order is not None:
            return "drug_order", self.drug_order
        return "consultation", self.consultation or ""


class Payment(ForSubject):
    id: str
    payer: str
    provider: str
    out_trade_no: str
    amount: PositiveInt
    state: PaymentState = PaymentState.PENDING
    out_refund_no: str | None = None
    created_at: datetime
    paid_at: datetime | None = None
    refunded_at: datetime | None = None
    ask_at: datetime | None = None
    """When its provider is asked for news that didn't come by themselves; None is never."""
    problem: str | None = None
    """Why the provider won't give the money back, in its own code: somebody must look into it."""

    @property
    def service(self) -> str:
        """Say what it pays for."""
        return SERVICES[self.subject[0]]

    def to_wire(self) -> dict[str, Any]:
        shown = self.model_dump(
            mode="json",
            include={"id", "consultation", "drug_order", "provider", "amount", "state"},
        )
        return shown | {"refunded_at": self.refunded_at and wire_time(self.refunded_at)}


class Receipt(Record):
    """What a provider says of money that arrived."""

    out_trade_no: str
    amount: int


class RefundNews(Record):
    """What a provider says of a refund: done, or refused for a reason, or neither yet."""

    out_trade_no: str
    out_refund_no: str
    amount: int
    done: bool
    problem: str | None = None


class Mismatch(Exception):
    """The provider speaks of a payment or a refund that isn't ours, or of another amount."""


class PaymentProvider(Protocol):
    """Takes and gives back money.

    Every call may be repeated with the same numbers and then has one effect. Each raises
    Unavailable where a later try may do.
    """

    name: str

    async def prepare(self, payment: Payment) -> Mapping[str, Any]:
        """Announce the payment; answer what the client needs to pay."""
        ...

    async def query(self, payment: Payment) -> Receipt | None:
        """Ask whether the money came."""
        ...

    async def close_order(self, payment: Payment) -> bool:
        """Let nobody pay it any more; one that was paid stays paid. Say whether that is sure."""
        ...

    async def refund(self, payment: Payment) -> RefundNews:
        """Give the whole amount back under `out_refund_no`, or tell how far that is."""
        ...
