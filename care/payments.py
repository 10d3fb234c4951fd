"""A payment and its refund: two small state machines and the provider's port (M1, M2)."""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol

from pydantic import PositiveInt

from care.record import Record


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


class Payment(Record):
    id: str
    consultation: str
    payer: str
    provider: str
    out_trade_no: str
    amount: PositiveInt
    state: PaymentState = PaymentState.PENDING
    out_refund_no: str | None = None
    created_at: datetime
    paid_at: datetime | None = None
    refunded_at: datetime | None = None

    def to_wire(self) -> dict[str, Any]:
        return self.model_dump(
            mode="json", include={"id", "consultation", "provider", "amount", "state"}
        )


class Receipt(Record):
    """What a provider says of money that arrived."""

    out_trade_no: str
    amount: int


class PaymentProvider(Protocol):
    """Takes and gives back money.

    Both calls may be repeated with the same numbers and then have one effect.
    """

    name: str

    async def prepare(self, payment: Payment) -> Mapping[str, Any]:
        """Announce the payment; answer what the client needs to pay."""
        ...

    async def refund(self, payment: Payment) -> None:
        """Give the whole amount back under `out_refund_no`. Returns once the provider took it."""
        ...
