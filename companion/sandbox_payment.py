"""The sandbox payment provider: takes no money, for the demo and the tests of everything else."""

from collections.abc import Mapping
from typing import Any

import structlog

from care.payments import Payment, Receipt, RefundNews

logger = structlog.get_logger(__name__)


class SandboxPayments:
    name = "sandbox"
    bills = None
    """It keeps no ledger."""

    async def prepare(self, payment: Payment) -> Mapping[str, Any]:
        return {"succeed": f"/api/v1/payments/sandbox/{payment.id}/succeed"}

    async def close_order(self, _payment: Payment) -> bool:
        """Do nothing: only its route lets a sandbox payment succeed."""
        return True

    async def refund(self, payment: Payment) -> RefundNews:
        number = payment.out_refund_no or ""
        logger.info("sandbox_refund", payment=payment.id, out_refund_no=number)
        return RefundNews(
            out_trade_no=payment.out_trade_no, out_refund_no=number, amount=payment.amount,
            done=True,
        )  # fmt: skip

    async def query(self, _payment: Payment) -> Receipt | None:
        """Say nothing: a sandbox payment succeeds by its route alone."""
        return None

    async def close(self) -> None:
        """Do nothing: there is no connection."""
