"""Carries out what changes cause: right after the change, or from the outbox after a crash."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import structlog

from care.consultation import Consultation
from care.effects import CallNoted, Effect, Line, Outgoing, Paid, QueueMoved, Settle, Updated
from care.notices import Deliver, Notify
from care.ports import Channel, Clock, ConsultationStore, Log, OutboxStore
from care.record import Record, new_id
from care.rooms import SYSTEM, Draft, Fence
from realtime.rooms.consultations import ConsultationService
from realtime.rooms.notices import NoticeService
from realtime.rooms.payments import PaymentService

logger = structlog.get_logger(__name__)

POLL_SECONDS = 1.0
TAKERS = 4
"""How many rows are carried out at once: one that waits for somebody outside holds up no other."""


class Carrier:
    """Perform effects; each kind has one method, and each method may run twice without harm."""

    def __init__(
        self,
        outbox: OutboxStore,
        store: ConsultationStore,
        log: Log,
        payments: PaymentService,
        notices: NoticeService,
        channel: Channel,
        clock: Clock,
    ) -> None:
        self._outbox = outbox
        self._store = store
        self._log = log
        self._channel = channel
        self._clock = clock
        self._consultations: ConsultationService | None = None
        self._rooms_changed: Callable[[Consultation], Awaitable[None]] | None = None
        self._perform: dict[type[Record], Callable[[Any], Awaitable[None]]] = {
            Line: self._line,
            Updated: self._updated,
            QueueMoved: self._queue_moved,
            Notify: notices.notify,
            Deliver: notices.deliver,
            Settle: payments.settle,
            Paid: payments.paid,
            CallNoted: self._call_noted,
        }

    def perform(self, kind: type[Record], work: Callable[[Any], Awaitable[None]]) -> None:
        """Let a service outside the rooms carry out a kind of effect of its own."""
        self._perform[kind] = work

    def serve(
        self,
        consultations: ConsultationService,
        room_changed: Callable[[Consultation], Awaitable[None]],
    ) -> None:
        """Join the services that themselves need a carrier."""
        self._consultations = consultations
        self._rooms_changed = room_changed

    async def carry_out(self, outgoing_id: str) -> None:
        """Perform one change's effects now. What fails stays in the outbox and is tried again."""
        try:
            await self._carry(await self._outbox.claim_own(outgoing_id))
        except Exception:
            logger.exception("effects_postponed", outgoing=outgoing_id)

    async def run(self) -> None:
        """Perform what is due and nobody's, for as long as the process runs."""
        await asyncio.gather(*(self._take() for _ in range(TAKERS)))

    async def _take(self) -> None:
        while True:
            try:
                while await self._carry(await self._outbox.claim_left()):
                    pass
            except Exception:
                logger.exception("outbox_failed")
            await asyncio.sleep(POLL_SECONDS)

    async def _carry(self, outgoing: Outgoing | None) -> bool:
        """Perform a change's effects, after those of earlier changes: a room's lines have an order.

        Whoever holds an earlier one may be dead, or be at it too: twice does no harm.
        """
        if outgoing is None:
            return False
        held: dict[type[Record], str] = {}
        for due in (*await self._outbox.before(outgoing.id), outgoing):
            left, error = await self._perform_all(due, held)
            if error is None:
                await self._outbox.done(due.id)
            elif await self._outbox.put_off(due.id, left, error):
                logger.error("effects_given_up", outgoing=due.id, error=error)
        return True

    async def _perform_all(
        self, outgoing: Outgoing, held: dict[type[Record], str]
    ) -> tuple[list[Effect], str | None]:
        """Perform what can be; give what is left to do, and why.

        What failed holds back its kind, here and in later changes of the record, and nothing else.
        """
        left: list[Effect] = []
        for effect in outgoing.effects:
            kind = type(effect)
            if kind not in held:
                try:
                    await self._perform[kind](effect)
                    continue
                except Exception as failure:
                    logger.exception("effect_failed", outgoing=outgoing.id, effect=effect.type)
                    held[kind] = type(failure).__name__
            left.append(effect)
        return left, held[type(left[0])] if left else None

    async def _line(self, line: Line) -> None:
        fence = Fence(line.version, line.members, line.writers) if line.version else None
        draft = Draft(
            id=new_id(self._clock.now()),
            room=line.room,
            sender=SYSTEM,
            client_id=line.key,
            kind=line.kind,
            body=line.body,
            fence=fence,
        )
        await self._log.append(draft)

    async def _updated(self, effect: Updated) -> None:
        c = await self._store.get(effect.consultation)
        if c is None:
            return
        for user in c.members if effect.doctor else (c.patient,):
            self._channel.push([user], "consultation:updated", await self._show(c, user))
        if self._rooms_changed is not None and effect.doctor:
            await self._rooms_changed(c)

    async def _queue_moved(self, effect: QueueMoved) -> None:
        for c in await self._store.waiting(effect.doctor):
            self._channel.push([c.patient], "consultation:updated", await self._show(c, c.patient))

    async def _call_noted(self, effect: CallNoted) -> None:
        service = self._service()
        await (service.connect if effect.connected else service.note_called)(effect.consultation)

    async def _show(self, c: Consultation, viewer: str) -> Mapping[str, Any]:
        return await self._service().show(c, viewer)

    def _service(self) -> ConsultationService:
        if self._consultations is None:
            raise RuntimeError("Carrier.serve must be called before effects are carried out")
        return self._consultations
