"""The sandbox payment provider: takes no money, for the demo and the tests of everything else."""

from collections.abc import Mapping
from typing import Any

import structlog

from care.payments import Payment, Receipt

logger = structlog.get_logger(__name__)


class SandboxPayments:
    name = "sandbox"

    async def prepare(self, payment: Payment) -> Mapping[str, Any]:
        return {"succeed": f"/api/v1/payments/sandbox/{payment.id}/succeed"}

    async def refund(self, payment: Payment) -> None:
        logger.info("sandbox_refund", payment=payment.id, out_refund_no=payment.out_refund_no)

    async def query(self, _payment: Payment) -> Receipt | None:
        """Say nothing: a sandbox payment succeeds by its route alone."""
        return None

    async def close(self) -> None:
        """Do nothing: there is no connection."""
