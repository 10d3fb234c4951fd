"""The daily reconciliation (对账): our payments and refunds beside the provider's bill (M3)."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from enum import StrEnum
from typing import Any, Protocol

from care.payments import Payment, PaymentState
from care.record import Record

FAILED_THERE = frozenset({"FAIL", "CHANGE", "CLOSED", "ABNORMAL"})
"""A refund's states in a bill that mean the payer didn't get it. A bill is never brought up to
date, so PROCESSING there contradicts nothing here."""


class Kind(StrEnum):
    UNKNOWN_PAYMENT = "unknown_payment"
    UNPAID_HERE = "unpaid_here"
    MISSING_PAYMENT = "missing_payment"
    PAYMENT_AMOUNT = "payment_amount"
    UNKNOWN_REFUND = "unknown_refund"
    MISSING_REFUND = "missing_refund"
    REFUND_AMOUNT = "refund_amount"
    REFUND_STATE = "refund_state"


class BillRow(Record):
    """A payment of the provider's bill, or a refund where it has a number of one. Amount in fen."""

    out_trade_no: str
    out_refund_no: str | None = None
    amount: int
    state: str


class Difference(Record):
    kind: Kind
    out_trade_no: str
    out_refund_no: str | None = None
    consultation: str | None = None
    drug_order: str | None = None
    amount_here: int | None = None
    amount_there: int | None = None
    state_here: PaymentState | None = None
    state_there: str | None = None


class Totals(Record):
    """Counts, and sums in fen."""

    payments: int = 0
    paid: int = 0
    refunds: int = 0
    refunded: int = 0


class Comparison(Record):
    here: Totals
    there: Totals
    differences: tuple[Difference, ...]


class Report(Record):
    """One provider's day in the hospital's zone; `result` is there once it was made.

    `attempts` numbers the claims of it, so that only the last one may store what it found.
    """

    provider: str
    day: date
    attempts: int = 0
    pending: bool = True
    error: str | None = None
    made_at: datetime | None = None
    result: Comparison | None = None

    @property
    def id(self) -> str:
        return report_id(self.provider, self.day)


class Bills(Protocol):
    """A provider's bills. Raises Unavailable for one that isn't there yet or came spoiled."""

    name: str

    async def bill(self, day: date) -> Sequence[BillRow]:
        """Give all that was paid and all refunds taken on, on this day; none without trade."""
        ...


class Span(Record):
    """A day's bounds; the end is outside."""

    begins: datetime
    ends: datetime

    def holds(self, at: datetime | None) -> bool:
        return at is not None and self.begins <= at < self.ends


def report_id(provider: str, day: date) -> str:
    return f"{provider}:{day.isoformat()}"


def compare(
    bill: Sequence[BillRow],
    earlier: Sequence[BillRow],
    known: Mapping[str, Payment],
    ours: Sequence[Payment],
    span: Span,
) -> Comparison:
    """Compare a day's bill with what we have.

    `known` are our payments the bill names, of any day; `ours` those paid or refunded in the span;
    `earlier` the bills before: we may have learnt a day later of what happened at midnight.
    """
    there = [d for row in bill for d in _of_row(row, known.get(row.out_trade_no))]
    payments, refunds = lacking([*bill, *earlier], ours, span)
    missing = [_difference(Kind.MISSING_PAYMENT, p) for p in payments]
    missing += [_difference(Kind.MISSING_REFUND, p, refund=True) for p in refunds]
    return Comparison(
        here=_totals_here(ours, span), there=_totals_there(bill), differences=(*there, *missing)
    )


def lacking(
    rows: Iterable[BillRow], ours: Sequence[Payment], span: Span
) -> tuple[list[Payment], list[Payment]]:
    """Give our payments, and our refunds, of the span that no row names."""
    named = {(row.out_trade_no, row.out_refund_no) for row in rows}
    paid = [p for p in ours if span.holds(p.paid_at) and (p.out_trade_no, None) not in named]
    refunded = [
        p
        for p in ours
        if span.holds(p.refunded_at) and (p.out_trade_no, p.out_refund_no) not in named
    ]
    return paid, refunded


def _of_row(row: BillRow, payment: Payment | None) -> list[Difference]:
    judge = _of_payment if row.out_refund_no is None else _of_refund
    return [_difference(kind, payment, row) for kind in judge(row, payment)]


def _of_payment(row: BillRow, payment: Payment | None) -> list[Kind]:
    if payment is None:
        return [Kind.UNKNOWN_PAYMENT]
    kinds = [Kind.UNPAID_HERE] if payment.paid_at is None else []
    return kinds + ([Kind.PAYMENT_AMOUNT] if row.amount != payment.amount else [])


def _of_refund(row: BillRow, payment: Payment | None) -> list[Kind]:
    if payment is None or payment.out_refund_no != row.out_refund_no:
        return [Kind.UNKNOWN_REFUND]
    refunded = payment.state is PaymentState.REFUNDED
    failed, settled = row.state in FAILED_THERE, row.state == "SUCCESS"
    kinds = [Kind.REFUND_STATE] if (failed and refunded) or (settled and not refunded) else []
    return kinds + ([Kind.REFUND_AMOUNT] if row.amount != payment.amount else [])


def _difference(
    kind: Kind, payment: Payment | None, row: BillRow | None = None, *, refund: bool = False
) -> Difference:
    fields: dict[str, Any] = {}
    if payment is not None:
        number = payment.out_refund_no if refund else None
        fields |= {"out_trade_no": payment.out_trade_no, "out_refund_no": number}
        fields |= {"consultation": payment.consultation, "drug_order": payment.drug_order}
        fields |= {"amount_here": payment.amount, "state_here": payment.state}
    if row is not None:
        fields |= {"out_trade_no": row.out_trade_no, "out_refund_no": row.out_refund_no}
        fields |= {"amount_there": row.amount, "state_there": row.state}
    return Difference(kind=kind, **fields)


def _totals_here(ours: Sequence[Payment], span: Span) -> Totals:
    paid = [p.amount for p in ours if span.holds(p.paid_at)]
    refunded = [p.amount for p in ours if span.holds(p.refunded_at)]
    return _totals(paid, refunded)


def _totals_there(bill: Sequence[BillRow]) -> Totals:
    paid = [row.amount for row in bill if row.out_refund_no is None]
    refunded = [row.amount for row in bill if row.out_refund_no is not None]
    return _totals(paid, refunded)


def _totals(paid: list[int], refunded: list[int]) -> Totals:
    return Totals(payments=len(paid), paid=sum(paid), refunds=len(refunded), refunded=sum(refunded))
