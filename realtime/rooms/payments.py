"""Money that arrived: by the provider's word, or by our asking when its word is missing (M1)."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Protocol

import structlog

from care.payments import Payment, Receipt
from care.ports import Clock

ASK_AFTER = timedelta(seconds=60)
"""A notification comes within seconds; one that hasn't by then may never come."""

logger = structlog.get_logger(__name__)


class Store(Protocol):
    async def numbered(self, out_trade_no: str) -> Payment | None: ...

    async def unsettled(self, provider: str, now: datetime, before: datetime) -> list[Payment]: ...


class Asked(Protocol):
    """A provider that can be asked for a payment."""

    name: str

    async def query(self, payment: Payment) -> Receipt | None: ...


class Mismatch(Exception):
    """The provider speaks of a payment we didn't ask for, or of another amount."""


class PaymentService:
    def __init__(
        self,
        store: Store,
        provider: Asked,
        settle_paid: Callable[[Payment], Awaitable[None]],
        clock: Clock,
        ask_seconds: float,
    ) -> None:
        self._store = store
        self._provider = provider
        self._settle_paid = settle_paid
        self._clock = clock
        self._ask_seconds = ask_seconds

    async def arrived(self, receipt: Receipt) -> None:
        """Take note of money, once however often it is told. Raises Mismatch."""
        payment = await self._store.numbered(receipt.out_trade_no)
        asked = payment and (payment.provider, payment.amount)
        if payment is None or asked != (self._provider.name, receipt.amount):
            logger.error("payment_mismatch", payment=payment.id if payment else None)
            raise Mismatch
        await self._settle_paid(payment)

    async def run(self) -> None:
        """Ask for what no notification told, for as long as the process runs."""
        while True:
            await asyncio.sleep(self._ask_seconds)
            try:
                await self.ask_for_missing()
            except Exception:
                logger.exception("payments_not_asked")

    async def ask_for_missing(self) -> None:
        """Ask for each unsettled payment; one that can't be asked holds up no other."""
        now = self._clock.now()
        for payment in await self._store.unsettled(self._provider.name, now, now - ASK_AFTER):
            try:
                if receipt := await self._provider.query(payment):
                    await self.arrived(receipt)
            except Exception:
                logger.exception("payment_not_asked", payment=payment.id)
