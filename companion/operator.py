"""What the hospital's staff may see and do: every look is noted before anything is shown (S4)."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from care.accounts import Account, Caller, Role
from care.audit import Entry, Inspection
from care.consultation import Consultation, Search
from care.directory import Practice
from care.effects import DeadLetter
from care.errors import Conflict, Forbidden
from care.payments import Payment, PaymentState, Subject
from companion.staff import Staff
from realtime.rooms.consultations import ConsultationService

SEARCH = "search"
EVERYBODY = "hospital"
"""The subject of a look at what belongs to no patient."""

NOTHING_TO_REFUND: Mapping[PaymentState, str] = {
    PaymentState.PENDING: "订单尚未支付，没有可退的费用",
    PaymentState.CLOSED: "订单未支付，已关闭，没有可退的费用",
    PaymentState.REFUNDING: "费用正在退回，请勿重复操作",
    PaymentState.REFUNDED: "费用已经退回，请勿重复操作",
}

STILL_OPEN: Mapping[str, str] = {
    "consultation": "问诊尚未结束，请取消问诊，费用会随之退回",
    "drug_order": "购药订单尚未结束，请取消订单，费用会随之退回",
}

BELOW_ADMIN = frozenset({Role.DOCTOR, Role.PHARMACIST})


class ConsultationSearch(Protocol):
    """Finds consultations whosoever they are."""

    async def get(self, consultation_id: str) -> Consultation | None: ...

    async def search(
        self, wanted: Search, before: str | None, limit: int
    ) -> list[Consultation]: ...

    async def running(self, limit: int) -> list[Consultation]: ...


class PaymentSearch(Protocol):
    """Finds payments, newest first."""

    async def search(
        self, states: Sequence[PaymentState] | None, before: str | None, limit: int
    ) -> list[Payment]: ...

    async def get(self, payment_id: str) -> Payment | None: ...

    async def of(self, subject: Subject) -> Payment | None: ...


class Refunds(Protocol):
    """Gives the whole of a payment back under its one number. Raises Conflict for an unpaid one.

    `ended` says whether what was paid for is over: None while it isn't.
    """

    async def ended(self, subject: Subject) -> bool | None: ...

    async def give_back(self, payment: Payment) -> None: ...


class DeadLetters(Protocol):
    """Keeps what could not be carried out until somebody has it tried again."""

    async def dead_letters(self, before: str | None, limit: int) -> list[DeadLetter]: ...

    async def revive(self, outgoing_id: str) -> bool: ...


class AccountSearch(Protocol):
    async def get(self, account_id: str) -> Account | None: ...


class OperatorService:
    def __init__(
        self,
        consultations: ConsultationSearch,
        moves: ConsultationService,
        payments: PaymentSearch,
        refunds: Refunds,
        dead_letters: DeadLetters,
        found: AccountSearch,
        staff: Staff,
        audit: Inspection,
    ) -> None:
        self._consultations = consultations
        self._moves = moves
        self._payments = payments
        self._refunds = refunds
        self._dead_letters = dead_letters
        self._found = found
        self._staff = staff
        self._audit = audit

    async def search(
        self, caller: Caller, wanted: Search, before: str | None, limit: int
    ) -> list[Consultation]:
        found = await self._consultations.search(wanted, before, limit)
        await self._audit.record_all(
            caller.user, "consultation_listed", {c.id: c.patient for c in found}, SEARCH
        )
        return found

    async def look_up(
        self, caller: Caller, consultation_id: str, purpose: str | None = None
    ) -> tuple[Consultation, Payment | None]:
        """Give one and its payment; with a purpose it is going to be shown in full."""
        consultation = await self._one(consultation_id)
        action = "consultation_read" if purpose is None else "consultation_revealed"
        await self._note(caller, action, consultation, purpose or "look_up")
        return consultation, await self._payments.of(("consultation", consultation.id))

    async def cancel(self, caller: Caller, consultation_id: str, reason: str) -> Consultation:
        """Close an open one in the hospital's name; what was paid goes back. Raises Conflict."""
        consultation = await self._one(consultation_id)
        await self._note(caller, "consultation_cancelled", consultation, reason)
        return await self._moves.withdraw(consultation_id, caller, reason)

    async def payments(
        self,
        caller: Caller,
        states: Sequence[PaymentState] | None,
        before: str | None,
        limit: int,
    ) -> list[Payment]:
        found = await self._payments.search(states, before, limit)
        await self._audit.record_all(
            caller.user, "payment_listed", {p.subject[1]: p.payer for p in found}, SEARCH
        )
        return found

    async def refund(self, caller: Caller, payment_id: str, reason: str) -> Payment:
        """Give back what was paid for a consultation or an order that is over. Raises Conflict.

        A refund that its provider refused is asked for again, under the number it has.
        """
        payment = await self._payments.get(payment_id)
        if payment is None:
            raise Forbidden
        details = dict([payment.subject])
        await self._audit.record(caller.user, "payment_refunded", payment.payer, reason, details)
        if await self._refunds.ended(payment.subject) is None:
            raise Conflict(STILL_OPEN[payment.subject[0]])
        if payment.state in NOTHING_TO_REFUND and payment.problem is None:
            raise Conflict(NOTHING_TO_REFUND[payment.state])
        await self._refunds.give_back(payment)
        return await self._payments.get(payment_id) or payment

    async def deadlines(self, caller: Caller, limit: int) -> list[Consultation]:
        """List the open ones by the time at which the clock looks at them next."""
        found = await self._consultations.running(limit)
        await self._audit.record_all(
            caller.user, "deadline_listed", {c.id: c.patient for c in found}, SEARCH
        )
        return found

    async def dead_letters(
        self, caller: Caller, before: str | None, limit: int
    ) -> list[DeadLetter]:
        await self._audit.record(caller.user, "dead_letters_listed", EVERYBODY, SEARCH)
        return await self._dead_letters.dead_letters(before, limit)

    async def revive(self, caller: Caller, letter_id: str) -> None:
        """Have a dead letter tried again. Raises Forbidden for one that isn't there."""
        details = {"letter": letter_id}
        await self._audit.record(caller.user, "dead_letter_retried", EVERYBODY, "retry", details)
        if not await self._dead_letters.revive(letter_id):
            raise Forbidden

    async def account(self, caller: Caller, account_id: str, purpose: str | None = None) -> Account:
        """Give an account; with a purpose it is going to be shown in full. Raises Forbidden."""
        account = await self._found.get(account_id)
        if account is None:
            raise Forbidden
        action = "account_read" if purpose is None else "account_revealed"
        await self._audit.record(caller.user, action, account.id, purpose or "look_up")
        return account

    async def create_staff(
        self,
        caller: Caller,
        role: Role,
        phone: str,
        name: str,
        password: str,
        practice: Practice | None,
    ) -> str:
        """Make an account of the staff (A11): whom an operator makes is no operator.

        The password was chosen for somebody else, so it must be changed first.
        """
        if caller.role is not Role.ADMIN and role not in BELOW_ADMIN:
            raise Forbidden
        return await self._staff.create(
            role, phone, name, password, practice, by=caller.user, must_change_password=True
        )

    async def trail(
        self, caller: Caller, subject: str, before: str | None, limit: int
    ) -> list[Entry]:
        """List what was done with a subject's data, newest first; looking is noted as well."""
        await self._audit.record(caller.user, "audit_read", subject, "look_up")
        return await self._audit.page(subject, before, limit)

    async def _one(self, consultation_id: str) -> Consultation:
        consultation = await self._consultations.get(consultation_id)
        if consultation is None:
            raise Forbidden
        return consultation

    async def _note(
        self, caller: Caller, action: str, consultation: Consultation, purpose: str
    ) -> None:
        details: Mapping[str, Any] = {"consultation": consultation.id}
        await self._audit.record(caller.user, action, consultation.patient, purpose, details)
