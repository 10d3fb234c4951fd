"""Money: it arrives by the provider's word or our asking, and goes back under one number (M1, M2).

What the provider is to be asked about, and when, stands with each payment: a process that was down
for a week asks for what it missed.
"""

import asyncio
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Protocol

import structlog

from care.consultation import Consultation, refundable
from care.effects import Paid, Settle
from care.errors import Conflict, Unavailable
from care.payments import (
    Mismatch,
    Payment,
    PaymentProvider,
    PaymentState,
    Receipt,
    RefundNews,
    Subject,
)
from care.ports import Clock, ConsultationStore, PaymentStore
from care.record import new_id

ASK_AFTER = timedelta(seconds=60)
"""A notification comes within seconds; one that hasn't by then may never come."""
AGAIN = 0.25
"""The next question comes after this part of the payment's age: often at first, then rarely."""
PATIENCE_SECONDS = 2.0
"""How long a closing waits for its provider; the asking goes on without it."""
PROBLEM_AGAIN = timedelta(hours=1)
"""A refused refund is asked for again so often: the merchant's balance may have been filled up."""

ANNOUNCED_WITHIN = timedelta(hours=2)
"""An order its provider doesn't close may be on its way there; after so long nobody can pay it."""

logger = structlog.get_logger(__name__)


class ProviderMissing(Unavailable):
    """The settings no longer join the provider that the payment began with."""


class Moves(Protocol):
    """Moves the consultation whose money came. Raises Conflict when it closed before."""

    async def paid(self, consultation_id: str) -> Consultation: ...


class Orders(Protocol):
    """The orders of drugs, as their money sees them.

    `paid` raises Conflict for one that closed before. `ended` says whether its end gives the money
    back; None while it is open.
    """

    async def paid(self, order_id: str) -> object: ...

    async def ended(self, order_id: str) -> bool | None: ...


class Carrier(Protocol):
    """Carries a stored change's effects out, now if possible."""

    async def carry_out(self, outgoing_id: str) -> None: ...


class PaymentService:
    def __init__(
        self,
        store: PaymentStore,
        consultations: ConsultationStore,
        providers: Mapping[str, PaymentProvider],
        current: str,
        clock: Clock,
        ask_seconds: float,
    ) -> None:
        self._store = store
        self._consultations = consultations
        self._providers = providers
        self._current = current
        self._clock = clock
        self._ask_seconds = ask_seconds
        self._moves: Moves | None = None
        self._orders: Orders | None = None
        self._carrier: Carrier | None = None
        self._asking: set[asyncio.Task[None]] = set()

    def serve(self, moves: Moves, carrier: Carrier) -> None:
        """Join the services that themselves need this one."""
        self._moves = moves
        self._carrier = carrier

    def serve_orders(self, orders: Orders) -> None:
        self._orders = orders

    async def begin(self, c: Consultation) -> tuple[Payment, Mapping[str, Any]]:
        """Begin its payment, or go on with the one begun; answer what the client needs to pay."""
        return await self.begin_for(("consultation", c.id), c.patient, c.order_no, c.price)

    async def begin_for(
        self, subject: Subject, payer: str, order_no: str, amount: int
    ) -> tuple[Payment, Mapping[str, Any]]:
        now = self._clock.now()
        payment = Payment(
            id=new_id(now),
            payer=payer,
            provider=self._current,
            out_trade_no=order_no,
            amount=amount,
            created_at=now,
            ask_at=now + ASK_AFTER,
            **dict([subject]),
        )
        stored = await self._store.ensure(payment)
        return stored, await self._provider(stored).prepare(stored)

    async def arrived(self, provider: str, receipt: Receipt) -> None:
        """Take note of money, once however often it is told. Raises Mismatch."""
        payment = await self._store.numbered(receipt.out_trade_no)
        asked = payment and (payment.provider, payment.amount)
        if payment is None or asked != (provider, receipt.amount):
            logger.error("payment_mismatch", payment=payment and payment.id)
            raise Mismatch
        await self.settle_paid(payment)

    async def settle_paid(self, payment: Payment) -> None:
        """Let what follows from arrived money follow, once."""
        if await self._store.paid(payment, self._clock.now()):
            await self._carry(f"payment:{payment.id}:paid")

    async def paid(self, effect: Paid) -> None:
        """Let what was paid for go on, or give the money back when it closed in the meantime."""
        kind, subject = effect.subject
        moved = self._orders if kind == "drug_order" else self._moves
        if moved is None:
            raise RuntimeError("PaymentService.serve must be called before money moves")
        try:
            await moved.paid(subject)
        except Conflict:
            refund = await self.ended(effect.subject)
            if refund is not None:
                await self.settle(Settle(refund=refund, **dict([effect.subject])))

    async def ended(self, subject: Subject) -> bool | None:
        """Say whether the end of what is paid for gives the money back; None while it is open."""
        kind, id_ = subject
        if kind == "drug_order":
            return await self._orders.ended(id_) if self._orders else None
        c = await self._consultations.get(id_)
        return None if c is None or c.open else refundable(c)

    async def settle(self, effect: Settle) -> None:
        """Bring the payment in line with its subject's end: close it, or give it back."""
        payment = await self._store.of(effect.subject)
        if payment is None:
            return
        now = self._clock.now()
        await self._store.step(payment, PaymentState.CLOSED, ask_at=now)
        if effect.refund:
            await self._begin_refund(payment, now)
        await self._try(payment.id)

    async def give_back(self, payment: Payment) -> None:
        """Give back what was paid, also for a regular end, or try again. Raises Conflict."""
        moved = await self._begin_refund(payment, self._clock.now())
        if not moved and payment.state is not PaymentState.REFUNDING:
            raise Conflict("该笔款项不能退还")
        await self._try(payment.id)

    async def _begin_refund(self, payment: Payment, now: datetime) -> bool:
        """Name the refund's one number; whoever asks, and however often, asks under it (M2)."""
        number = f"R{payment.out_trade_no}"
        return await self._store.step(
            payment, PaymentState.REFUNDING, out_refund_no=number, ask_at=now
        )

    async def _try(self, payment_id: str) -> None:
        """Tell the provider now; where that fails, the asking goes on until it doesn't."""
        # what it is now, for money may have come, or gone back, since it was read
        payment = await self._store.get(payment_id)
        if payment is None or payment.ask_at is None:
            return
        self._provider(payment)  # the staff must see what the asking would pass over
        asking = asyncio.create_task(self._ask_once(payment))
        self._asking.add(asking)
        asking.add_done_callback(self._asking.discard)
        # a provider that hangs holds up neither a patient's click nor the hospital's clocks
        await asyncio.wait({asking}, timeout=PATIENCE_SECONDS)

    async def _ask_once(self, payment: Payment) -> None:
        """Ask; what fails is asked again when it is due."""
        try:
            await self._ask(payment)
        except Exception:
            logger.exception("payment_not_asked", payment=payment.id)

    async def refund_told(self, provider: str, news: RefundNews) -> None:
        """Take note of a refund's end, once however often it is told. Raises Mismatch."""
        payment = await self._store.numbered(news.out_trade_no)
        if payment is None or payment.provider != provider:
            logger.error("refund_mismatch", payment=payment and payment.id)
            raise Mismatch
        await self._note(payment, news)

    async def _note(self, payment: Payment, news: RefundNews) -> None:
        told = (news.out_trade_no, news.out_refund_no, news.amount)
        if told != (payment.out_trade_no, payment.out_refund_no, payment.amount):
            logger.error("refund_mismatch", payment=payment.id)
            raise Mismatch
        if payment.state is not PaymentState.REFUNDING:
            return  # what was said before the end may be said again after it
        now = self._clock.now()
        if news.done:
            if await self._store.refunded(payment, now):
                await self._carry(f"payment:{payment.id}:refunded")
            return
        if news.problem:
            logger.error("refund_refused", payment=payment.id, problem=news.problem)
        ask_at = now + PROBLEM_AGAIN if news.problem else _later(payment, now)
        await self._store.ask_again(payment, ask_at, problem=news.problem)

    async def run(self) -> None:
        """Ask for what no notification told, for as long as the process runs."""
        while True:
            await asyncio.sleep(self._ask_seconds)
            try:
                await self.ask_for_missing()
            except Exception:
                logger.exception("payments_not_asked")

    async def ask_for_missing(self) -> None:
        """Ask for each payment that is due; one that can't be asked holds up no other."""
        names = list(self._providers)
        while payment := await self._store.claim_ask(names, self._clock.now(), ASK_AFTER):
            await self._ask_once(payment)

    async def _ask(self, payment: Payment) -> None:
        """Ask about its order or its refund. Raises Unavailable."""
        provider, now = self._provider(payment), self._clock.now()
        if payment.state is PaymentState.REFUNDING:
            await self._note(payment, await provider.refund(payment))
            return
        final = payment.state is PaymentState.CLOSED and (
            await provider.close_order(payment) or now - payment.created_at > ANNOUNCED_WITHIN
        )
        if receipt := await provider.query(payment):
            await self.arrived(payment.provider, receipt)
        elif payment.state is PaymentState.PENDING and await self._over(payment):
            # its closing came before this payment was stored, and could not close it along
            await self._store.step(payment, PaymentState.CLOSED, ask_at=now)
        else:
            # for an order that is closed there too, no money can come any more
            await self._store.ask_again(payment, None if final else _later(payment, now))

    async def _over(self, payment: Payment) -> bool:
        return await self.ended(payment.subject) is not None

    def _provider(self, payment: Payment) -> PaymentProvider:
        """Give the one that the payment began with. Raises ProviderMissing."""
        provider = self._providers.get(payment.provider)
        if provider is None:
            logger.error("payment_provider_missing", payment=payment.id, provider=payment.provider)
            raise ProviderMissing
        return provider

    async def _carry(self, outgoing_id: str) -> None:
        if self._carrier is None:
            raise RuntimeError("PaymentService.serve must be called before money moves")
        await self._carrier.carry_out(outgoing_id)


def _later(payment: Payment, now: datetime) -> datetime:
    return now + max(ASK_AFTER, (now - payment.created_at) * AGAIN)
