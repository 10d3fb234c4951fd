"""Consultations: creating one, moving it, listing them (C1–C14)."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Protocol

from care import transferring
from care.accounts import Caller, Role
from care.bookings import missed_by, refuse_untimely, reminder_at
from care.consultation import (
    TABLE,
    Action,
    Because,
    ClosedReason,
    Consultation,
    State,
    move,
    permit,
    refundable,
)
from care.deadlines import deadline, refuse_late
from care.effects import Settle, caused_by
from care.errors import Conflict, Forbidden
from care.payments import Payment
from care.policy import ConsultationPolicy
from care.ports import Clock, ConsultationStore, FileUrls, LogReader, PaymentStore
from care.rooms import Activity
from care.wording import closed
from realtime.rooms.views import consultation_view

ATTEMPTS = 10
"""How often a change is tried again after losing to another; each loss means the other one won."""

_ENDED_BY = {Role.PATIENT: Because.ENDED_BY_PATIENT, Role.DOCTOR: Because.ENDED_BY_DOCTOR}


class Carrier(Protocol):
    """Carries a stored change's effects out, now if possible."""

    async def carry_out(self, outgoing_id: str) -> None: ...


class Money(Protocol):
    """Begins a consultation's payment: what of it is stored, and what the client needs to pay.

    `settle` brings the payment in line with the consultation's end.
    """

    async def begin(self, c: Consultation) -> tuple[Payment, Mapping[str, Any]]: ...

    async def settle(self, effect: Settle) -> None: ...


class ConsultationService:
    def __init__(
        self,
        store: ConsultationStore,
        log: LogReader,
        payments: PaymentStore,
        money: Money,
        files: FileUrls,
        clock: Clock,
        policy: ConsultationPolicy,
        carrier: Carrier,
    ) -> None:
        self._store = store
        self._log = log
        self._payments = payments
        self._money = money
        self._files = files
        self._clock = clock
        self._policy = policy
        self._carrier = carrier

    async def create(self, consultation: Consultation) -> Consultation:
        """Store a new consultation with what it causes; a repeated request gives the first one."""
        c = self._scheduled(consultation, Activity())
        outgoing = caused_by(None, c, self._policy)
        stored = await self._store.create(c, outgoing)
        await self._carrier.carry_out(outgoing.id)
        return stored

    async def find(self, consultation_id: str, caller: Caller) -> Consultation:
        """Give the consultation to one of its own. Raises Forbidden to all others."""
        consultation = await self._store.get(consultation_id)
        if consultation is None or not consultation.allows(caller):
            raise Forbidden
        return consultation

    async def accept(self, consultation_id: str, caller: Caller) -> Consultation:
        return await self._act(consultation_id, caller, Action.ACCEPT, Because.DECLINED)

    async def decline(self, consultation_id: str, caller: Caller, reason: str) -> Consultation:
        return await self._act(consultation_id, caller, Action.DECLINE, Because.DECLINED, reason)

    async def call_off(self, consultation_id: str, caller: Caller, reason: str) -> Consultation:
        """Let the doctor call a booking off before it begins, also one not paid for yet (B8).

        Gives it as it is then: one that has begun, or is over, stays so.
        """

        def step(c: Consultation) -> Consultation:
            permit(c, Action.DECLINE, caller)
            if c.state not in {State.AWAITING_PAYMENT, State.AWAITING_DOCTOR}:
                return c
            closing = self.closing(c, Because.DECLINED, caller.role, reason)
            return move(c, Action.DECLINE, self._clock.now(), closing)

        return await self.change(consultation_id, Action.DECLINE, step)

    async def end(self, consultation_id: str, caller: Caller) -> Consultation:
        because = _ENDED_BY.get(caller.role, Because.ENDED_BY_PATIENT)
        return await self._act(consultation_id, caller, Action.END, because)

    async def cancel(self, consultation_id: str, caller: Caller) -> Consultation:
        by_patient = caller.role is Role.PATIENT
        because = Because.CANCELLED if by_patient else Because.CANCELLED_BY_STAFF
        return await self._act(consultation_id, caller, Action.CANCEL, because)

    async def withdraw(self, consultation_id: str, caller: Caller, reason: str) -> Consultation:
        """Close it in the hospital's name, whoever's turn it is."""
        because = Because.CANCELLED_BY_STAFF
        return await self._act(consultation_id, caller, Action.WITHDRAW, because, reason)

    async def _act(
        self,
        consultation_id: str,
        caller: Caller,
        action: Action,
        because: Because,
        detail: str | None = None,
    ) -> Consultation:
        """Let a person move it. Raises Forbidden or Conflict, then nothing has changed."""

        def step(c: Consultation) -> Consultation:
            permit(c, action, caller)
            refuse_untimely(c, action, caller, self._clock.now())
            closing = self.closing(c, because, caller.role, detail)
            return move(c, action, self._clock.now(), closing)

        await self.find(consultation_id, caller)
        return await self.change(consultation_id, action, step)

    async def paid(self, consultation_id: str) -> Consultation:
        """Let the payment move it. Raises Conflict when its time was up, or it closed, before."""

        def step(c: Consultation) -> Consultation:
            closing = self.closing(c, Because.UNPAID, "payment")
            return move(c, Action.PAID, self._clock.now(), closing)

        return await self.change(consultation_id, Action.PAID, step)

    async def note_called(self, consultation_id: str) -> None:
        """Note that the doctor of a booked one called, once (B6)."""
        await self._let_call(consultation_id, Action.CALL, lambda c: c.called_at is None)

    async def connect(self, consultation_id: str) -> None:
        """Begin the talk: a call connected them. Does nothing the second time, or once closed."""
        await self._let_call(consultation_id, Action.CONNECT, lambda c: c.connected_at is None)

    async def _let_call(
        self, consultation_id: str, action: Action, wanted: Callable[[Consultation], bool]
    ) -> None:
        """Let a call move it where the table has the move; what is over stays over."""

        def step(c: Consultation) -> Consultation:
            possible = wanted(c) and (c.state, action) in TABLE
            return move(c, action, self._clock.now()) if possible else c

        await self.change(consultation_id, action, step)

    async def run_out(self, consultation: Consultation) -> bool:
        """Close it if its time is up, else remind or look again in time; say whether it closed."""
        c = consultation
        activity = await self._activity(c)
        now = self._clock.now()
        lapsed = transferring.run_out(c, now)
        if lapsed is not c:
            await self._store_change(c, lapsed, Action.TRANSFER, activity)
            return False
        due = deadline(c, activity, self._policy)
        if due is None or due.at > now:
            await self._remind_or_postpone(c, activity, now)
            return False
        missed = missed_by(c) if due.because is Because.NO_SHOW else None
        closing = self.closing(c, due.because, "deadline").changed(at=due.at, missed_by=missed)
        after = move(c, Action.RUN_OUT, due.at, closing)
        return await self._store_change(c, after, Action.RUN_OUT, activity)

    async def _remind_or_postpone(self, c: Consultation, activity: Activity, now: datetime) -> None:
        """Remind of a booking whose time comes near, or look again when there is something to do.

        What changed meanwhile was given its next look by whoever changed it.
        """
        soon = reminder_at(c)
        if soon is not None and soon <= now:
            after = move(c, Action.REMIND, soon)
            await self._store_change(c, after, Action.REMIND, activity)
        elif (next_look := self._scheduled(c, activity).check_at) is not None:
            await self._store.postpone(c, next_look)

    async def change(
        self, consultation_id: str, action: Action, step: Callable[[Consultation], Consultation]
    ) -> Consultation:
        """Change a consultation as it is now. Raises Forbidden, Conflict when too late."""
        for _ in range(ATTEMPTS):
            before = await self._store.get(consultation_id)
            if before is None:
                raise Forbidden
            after = step(before)
            if after is before:
                return after
            activity = await self._activity(before)
            refuse_late(before, activity, self._clock.now(), self._policy)
            if await self._store_change(before, after, action, activity):
                return after
        raise Conflict

    async def _activity(self, c: Consultation) -> Activity:
        return (await self._log.activity([c.room]))[c.room]

    async def _store_change(
        self, before: Consultation, after: Consultation, action: Action, activity: Activity
    ) -> bool:
        after = self._scheduled(after, activity)
        outgoing = caused_by(action, after, self._policy)
        stored = await self._store.replace(before, after, outgoing)
        if stored:
            await self._carrier.carry_out(outgoing.id)
        return stored

    def _scheduled(self, consultation: Consultation, activity: Activity) -> Consultation:
        due = deadline(consultation, activity, self._policy)
        asked = consultation.transfer
        looks = [
            due.at if due else None,
            reminder_at(consultation),
            asked.expires_at if asked else None,
        ]
        return consultation.changed(check_at=min(filter(None, looks), default=None))

    def closing(
        self, c: Consultation, because: Because, by: str, detail: str | None = None
    ) -> ClosedReason:
        """Say why it closes, if it does now."""
        return ClosedReason(
            by=by,
            because=because,
            text=closed(because, self._policy, paid=c.paid),
            at=self._clock.now(),
            detail=detail,
        )

    async def pay(self, consultation_id: str, caller: Caller) -> tuple[Payment, Mapping[str, Any]]:
        """Begin the payment, or go on with the one begun; answer what the client needs to pay."""
        c = await self.find(consultation_id, caller)
        if caller.user != c.patient:
            raise Forbidden
        if c.state is not State.AWAITING_PAYMENT:
            raise Conflict
        refuse_late(c, Activity(), self._clock.now(), self._policy)
        begun = await self._money.begin(c)
        now = await self._store.get(c.id)
        if now is not None and not now.open:
            # its closing found no payment yet that it could have closed along
            await self._money.settle(Settle(consultation=c.id, refund=refundable(now)))
            raise Conflict
        return begun

    async def show(self, consultation: Consultation, viewer: str) -> dict[str, Any]:
        return (await self.show_all([consultation], viewer))[0]

    async def show_all(self, found: list[Consultation], viewer: str) -> list[dict[str, Any]]:
        """Show consultations with their clocks, whose turn it is, and the place in the queue."""
        activity = await self._log.activity([c.room for c in found]) if found else {}
        # what a patient paid, and whether it went back, is not the doctor's business
        paid_for = [c.id for c in found if c.price and viewer not in c.doctors]
        payments = await self._payments.of_all(paid_for) if paid_for else {}
        views = []
        for c in found:
            view = consultation_view(c, activity[c.room], self._policy, self._files, viewer)
            payment = payments.get(c.id)
            view["payment"] = payment and payment.to_wire()
            if c.state is State.AWAITING_DOCTOR and c.waiting_since and c.slot is None:
                waited = (self._clock.now() - c.waiting_since).total_seconds()
                position = await self._store.ahead(c) + 1
                view["queue"] = {"position": position, "waited_s": max(0, int(waited))}
            views.append(view)
        return views

    async def page(
        self, caller: Caller, states: list[State] | None, before: str | None, limit: int
    ) -> tuple[list[dict[str, Any]], str | None, dict[str, int]]:
        """List the caller's consultations: the views, the next cursor, the counts by state."""
        found = await self._store.page(caller, states, before, limit + 1)
        more = found[limit - 1].id if len(found) > limit else None
        views = await self.show_all(found[:limit], caller.user)
        return views, more, await self._store.counts(caller)
