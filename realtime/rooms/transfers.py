"""Transfers (转诊): proposing one, answering it, listing them (T1–T3)."""

from typing import Any, Protocol

from care import transferring as rules
from care.accounts import Caller
from care.consultation import Action, Because, Consultation, Mode
from care.directory import Doctor
from care.effects import TransferUpdated
from care.errors import BadRequest, Conflict, Forbidden
from care.policy import ConsultationPolicy
from care.ports import Channel, Clock
from care.record import new_id
from care.transfer import Transfer, TransferAction, TransferState
from realtime.rooms.consultations import ConsultationService


class Transfers(Protocol):
    """Finds transfers in the consultations that keep them."""

    async def get(self, consultation_id: str) -> Consultation | None: ...

    async def of_transfer(self, transfer_id: str) -> Consultation | None: ...

    async def open_between(self, patient: str, doctor: str, mode: Mode) -> bool: ...

    async def transfers(
        self, user: str, states: list[TransferState] | None, before: str | None, limit: int
    ) -> list[tuple[str, Transfer]]: ...

    async def count_transfers(self, user: str) -> dict[str, int]: ...


class DoctorSource(Protocol):
    async def find(self, doctor_id: str) -> Doctor | None: ...


class TransferService:
    def __init__(
        self,
        store: Transfers,
        doctors: DoctorSource,
        consultations: ConsultationService,
        channel: Channel,
        clock: Clock,
        policy: ConsultationPolicy,
    ) -> None:
        self._store = store
        self._doctors = doctors
        self._consultations = consultations
        self._channel = channel
        self._clock = clock
        self._policy = policy

    async def propose(
        self, caller: Caller, consultation_id: str, to_doctor: str, reason: str
    ) -> dict[str, Any]:
        """Ask the patient whether another doctor may go on (T1). Raises Forbidden, Conflict."""
        found = await self._consultations.find(consultation_id, caller)
        to = await self._doctors.find(to_doctor)
        if to is None:
            raise BadRequest.field("to_doctor", "没有这位医生")
        if to.prices.of(Mode.TEXT) is None:
            raise Conflict("该医生未开通图文问诊")
        if await self._store.open_between(found.patient, to.id, Mode.TEXT) and (
            to.id != found.doctor.id
        ):
            raise Conflict("患者与该医生已有进行中的问诊")
        now = self._clock.now()
        transfer_id = new_id(now)

        def step(c: Consultation) -> Consultation:
            return rules.propose(
                c, caller, to.card, reason, transfer_id, self._clock.now(), self._policy
            )

        after = await self._consultations.change(consultation_id, Action.TRANSFER, step)
        return after.transfers[-1].to_wire(after.id)

    async def answer(
        self, caller: Caller, transfer_id: str, action: TransferAction
    ) -> dict[str, Any]:
        """Let whom it asks move it (T2, T3). Raises Forbidden, Conflict."""
        found = await self._store.of_transfer(transfer_id)
        if found is None:
            raise Forbidden

        def step(c: Consultation) -> Consultation:
            refusal = self._consultations.closing(c, Because.TRANSFER_REFUSED, caller.role)
            now = self._clock.now()
            return rules.step(c, transfer_id, action, caller, now, self._policy, refusal)

        refuses = action is TransferAction.REFUSE
        move = Action.REFUSE_TRANSFER if refuses else Action.TRANSFER
        after = await self._consultations.change(found.id, move, step)
        return _one(after, transfer_id).to_wire(after.id)

    async def find(self, caller: Caller, transfer_id: str) -> dict[str, Any]:
        """Show one to whom it concerns. Raises Forbidden to all others."""
        found = await self._store.of_transfer(transfer_id)
        if found is None or caller.user not in _concerned(found, _one(found, transfer_id)):
            raise Forbidden
        return _one(found, transfer_id).to_wire(found.id)

    async def page(
        self, caller: Caller, states: list[TransferState] | None, before: str | None, limit: int
    ) -> tuple[list[dict[str, Any]], str | None, dict[str, int]]:
        """List the caller's, newest first: the views, the next cursor, the counts by state."""
        found = await self._store.transfers(caller.user, states, before, limit + 1)
        more = found[limit - 1][1].id if len(found) > limit else None
        views = [transfer.to_wire(consultation) for consultation, transfer in found[:limit]]
        return views, more, await self._store.count_transfers(caller.user)

    async def updated(self, effect: TransferUpdated) -> None:
        """Push it to whom it concerns."""
        c = await self._store.get(effect.consultation)
        if c is None:
            return
        transfer = _one(c, effect.transfer)
        self._channel.push(_concerned(c, transfer), "transfer:updated", transfer.to_wire(c.id))


def _one(c: Consultation, transfer_id: str) -> Transfer:
    return next(t for t in c.transfers if t.id == transfer_id)


def _concerned(c: Consultation, transfer: Transfer) -> tuple[str, ...]:
    """List who may know of it: the new doctor only once the patient agreed."""
    asked = (transfer.to_doctor.id,) if transfer.confirmed_at else ()
    return (c.patient, transfer.from_doctor.id, *asked)
