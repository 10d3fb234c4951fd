"""What a transfer does to its consultation (T1–T3): clocks, the change of doctor, the refusal."""

from datetime import datetime, timedelta

from care.accounts import Caller
from care.consultation import Action, ClosedReason, Consultation, Mode, State
from care.consultation import move as move_consultation
from care.errors import Conflict, Forbidden
from care.policy import ConsultationPolicy
from care.transfer import ACTORS, DoctorCard, Side, Transfer, TransferAction, TransferState, move


def propose(
    c: Consultation, caller: Caller, to: DoctorCard, reason: str, transfer_id: str,
    now: datetime, policy: ConsultationPolicy,
) -> Consultation:  # fmt: skip
    """Ask the patient (T1). Raises Forbidden, Conflict."""
    if caller.user != c.doctor.id:
        raise Forbidden
    if to.id == c.doctor.id:
        raise Conflict("不能转诊给自己")
    if c.mode is not Mode.TEXT or c.state is not State.IN_PROGRESS:
        raise Conflict("只有进行中的图文问诊可以转诊")
    if c.transfer:
        raise Conflict("已有转诊等待确认")
    transfer = Transfer(
        id=transfer_id, from_doctor=c.doctor, to_doctor=to, reason=reason, proposed_at=now,
        expires_at=now + timedelta(seconds=policy.transfer_seconds),
    )  # fmt: skip
    return _moved(c, (*c.transfers, transfer), now)


def permit(c: Consultation, transfer: Transfer, action: TransferAction, caller: Caller) -> None:
    """Refuse a caller who may not ask for the action. Raises Forbidden."""
    asked = {Side.PATIENT: c.patient, Side.NEW_DOCTOR: transfer.to_doctor.id}
    if caller.user != asked.get(ACTORS[action]):
        raise Forbidden


def step(
    c: Consultation, transfer_id: str, action: TransferAction, caller: Caller, now: datetime,
    policy: ConsultationPolicy, refusal: ClosedReason,
) -> Consultation:  # fmt: skip
    """Let a person move the transfer; `refusal` is kept where that closes the consultation.

    Raises Forbidden for everyone but whom it asks, also for the new doctor before the patient
    agreed; Conflict where the table has no such move, or its time is up.
    """
    transfer = next((t for t in c.transfers if t.id == transfer_id), None)
    if transfer is None:
        raise Forbidden
    permit(c, transfer, action, caller)
    if ACTORS[action] is Side.NEW_DOCTOR and transfer.confirmed_at is None:
        raise Forbidden
    if transfer is not c.transfer or transfer.expires_at <= now:
        raise Conflict
    after = move(transfer, action, now)
    if after.state is TransferState.AGREED:
        waits = timedelta(seconds=policy.acceptance_seconds)
        after = after.changed(expires_at=now + waits)
    if after.state is TransferState.ACCEPTED:
        after = after.changed(version=c.version + 1)
    moved = _moved(c, (*c.transfers[:-1], after), now, refusal)
    return _handed_over(moved, after) if after.handed_over else moved


def run_out(c: Consultation, now: datetime) -> Consultation:
    """Give the consultation back to its doctor once whoever was asked has waited too long."""
    transfer = c.transfer
    if transfer is None or transfer.expires_at > now:
        return c
    over = move(transfer, TransferAction.RUN_OUT, transfer.expires_at)
    return _moved(c, (*c.transfers[:-1], over), transfer.expires_at)


def _moved(
    c: Consultation, transfers: tuple[Transfer, ...], now: datetime,
    refusal: ClosedReason | None = None,
) -> Consultation:  # fmt: skip
    refused = transfers[-1].state is TransferState.REFUSED
    action = Action.REFUSE_TRANSFER if refused else Action.TRANSFER
    return move_consultation(c.changed(transfers=transfers), action, now, refusal)


def _handed_over(c: Consultation, transfer: Transfer) -> Consultation:
    """Change the doctor; the old one keeps what he was party to (T2)."""
    former = (*(d for d in c.former_doctors if d != transfer.to_doctor.id), transfer.from_doctor.id)
    return c.changed(doctor=transfer.to_doctor, former_doctors=former)
