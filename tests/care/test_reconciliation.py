"""The comparison of our payments with a provider's bill, row by row (M3)."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from care.payments import Payment, PaymentState
from care.reconciliation import BillRow, Comparison, Kind, Span, Totals, compare

BEGINS = datetime(2026, 5, 1, 16, tzinfo=UTC)
SPAN = Span(begins=BEGINS, ends=BEGINS + timedelta(days=1))
NOON = BEGINS + timedelta(hours=12)
ROW = BillRow(out_trade_no="n1", amount=100, state="SUCCESS")
REFUND = BillRow(out_trade_no="n1", out_refund_no="Rn1", amount=100, state="SUCCESS")


def payment(state: PaymentState = PaymentState.PAID, **fields: Any) -> Payment:
    paid = None if state in {PaymentState.PENDING, PaymentState.CLOSED} else NOON
    refund = {PaymentState.REFUNDING: "Rn1", PaymentState.REFUNDED: "Rn1"}.get(state)
    back = NOON if state is PaymentState.REFUNDED else None
    made = {
        "id": "p1", "consultation": "c1", "payer": "u1", "provider": "wechat",
        "out_trade_no": "n1", "amount": 100, "state": state, "created_at": NOON,
        "paid_at": paid, "out_refund_no": refund, "refunded_at": back, **fields,
    }  # fmt: skip
    return Payment.model_validate(made)


def compared(
    bill: list[BillRow], *ours: Payment, earlier: list[BillRow] | None = None
) -> Comparison:
    moved = [p for p in ours if SPAN.holds(p.paid_at) or SPAN.holds(p.refunded_at)]
    return compare(bill, earlier or [], {p.out_trade_no: p for p in ours}, moved, SPAN)


PENDING, CLOSED = PaymentState.PENDING, PaymentState.CLOSED
REFUNDING, REFUNDED = PaymentState.REFUNDING, PaymentState.REFUNDED


@pytest.mark.parametrize(
    ("bill", "ours", "kinds"),
    [
        ([], [], []),
        ([ROW], [payment()], []),
        ([ROW, REFUND], [payment(REFUNDED)], []),
        ([ROW], [], [Kind.UNKNOWN_PAYMENT]),
        ([ROW], [payment(PENDING)], [Kind.UNPAID_HERE]),
        ([ROW], [payment(CLOSED)], [Kind.UNPAID_HERE]),
        ([ROW], [payment(CLOSED, amount=99)], [Kind.UNPAID_HERE, Kind.PAYMENT_AMOUNT]),
        ([], [payment()], [Kind.MISSING_PAYMENT]),
        ([], [payment(PENDING)], []),
        ([ROW], [payment(amount=99)], [Kind.PAYMENT_AMOUNT]),
        ([ROW, REFUND], [payment()], [Kind.UNKNOWN_REFUND]),
        ([REFUND], [], [Kind.UNKNOWN_REFUND]),
        (
            [ROW, REFUND, REFUND.changed(out_refund_no="other")],
            [payment(REFUNDED)],
            [Kind.UNKNOWN_REFUND],
        ),
        ([ROW], [payment(REFUNDED)], [Kind.MISSING_REFUND]),
        ([ROW, REFUND.changed(amount=1)], [payment(REFUNDED)], [Kind.REFUND_AMOUNT]),
        ([ROW, REFUND], [payment(REFUNDING)], [Kind.REFUND_STATE]),
        ([ROW, REFUND.changed(state="FAIL")], [payment(REFUNDED)], [Kind.REFUND_STATE]),
        ([ROW, REFUND.changed(state="FAIL")], [payment(REFUNDING)], []),
        ([ROW, REFUND.changed(state="PROCESSING")], [payment(REFUNDED)], []),
        ([ROW, REFUND.changed(state="PROCESSING")], [payment(REFUNDING)], []),
    ],
)
def test_each_way_to_differ_is_told_and_nothing_else(
    bill: list[BillRow], ours: list[Payment], kinds: list[Kind]
) -> None:
    assert [d.kind for d in compared(bill, *ours).differences] == kinds


def test_a_difference_names_both_sides() -> None:
    (told,) = compared([ROW.changed(amount=120)], payment()).differences
    assert told.model_dump(exclude={"out_refund_no"}) == {
        "kind": Kind.PAYMENT_AMOUNT, "out_trade_no": "n1", "consultation": "c1",
        "drug_order": None, "amount_here": 100, "amount_there": 120, "state_here": "paid",
        "state_there": "SUCCESS",
    }  # fmt: skip


def test_a_payment_of_another_day_is_known_by_its_number() -> None:
    old = payment(REFUNDED, paid_at=BEGINS - timedelta(days=2))
    result = compared([REFUND], old)
    assert result.differences == ()
    assert result.here == result.there == Totals(refunds=1, refunded=100)


def test_what_we_learnt_of_after_midnight_stands_in_the_bill_before() -> None:
    late = payment(REFUNDED)
    assert compared([], late, earlier=[ROW, REFUND]).differences == ()
    assert [d.kind for d in compared([], late, earlier=[ROW]).differences] == [Kind.MISSING_REFUND]


def test_the_end_of_the_day_belongs_to_the_next() -> None:
    edge = payment(paid_at=SPAN.ends)
    assert compared([], edge).differences == ()
    begin = payment(paid_at=SPAN.begins)
    assert [d.kind for d in compared([], begin).differences] == [Kind.MISSING_PAYMENT]


def test_totals_are_of_each_sides_own_money() -> None:
    result = compared([ROW.changed(amount=120), REFUND], payment(REFUNDED))
    assert result.here == Totals(payments=1, paid=100, refunds=1, refunded=100)
    assert result.there == Totals(payments=1, paid=120, refunds=1, refunded=100)
