"""What a step of a transfer causes: the card, the lines in the room, whom it is told (T1–T3)."""

from collections.abc import Mapping
from typing import Any

from care.consultation import Consultation
from care.notices import Notify
from care.policy import ConsultationPolicy
from care.record import wire_time
from care.transfer import Transfer, TransferState
from care.wording import span

_PROPOSED = "该转诊有效期为{limit}，请及时进行确认操作"
_AGREED = "患者同意转诊，等待{to}医生接诊"
_ACCEPTED = "{to}医生已接诊，由{to}医生继续为您服务"
_GIVEN_BACK: Mapping[TransferState, str] = {
    TransferState.DECLINED: "{to}医生未接受转诊，由{old}医生继续为您服务",
    TransferState.EXPIRED: "转诊已超时，由{old}医生继续为您服务",
}


def line_of(c: Consultation, transfer: Transfer, policy: ConsultationPolicy) -> dict[str, Any]:
    """Say in the room what became of it, with what a record needs: who, when, why.

    Its refusal is told by the consultation's own closing line.
    """
    names = {"to": transfer.to_doctor.name, "old": transfer.from_doctor.name}
    texts = {
        TransferState.PROPOSED: _PROPOSED.format(limit=span(policy.transfer_seconds)),
        TransferState.AGREED: _AGREED.format(**names),
        TransferState.ACCEPTED: _ACCEPTED.format(**names),
    } | {state: text.format(**names) for state, text in _GIVEN_BACK.items()}
    return {"text": texts[transfer.state], "transfer": transfer.to_wire(c.id)}


def card_of(c: Consultation, transfer: Transfer) -> dict[str, Any]:
    """Give the card that asks the patient (转诊信息)."""
    return {
        "card": "transfer",
        "title": "转诊信息",
        "transfer": transfer.to_wire(c.id),
        "patient": c.patient_name,
        "person": c.person.to_wire(),
    }


def told_of_transfer(c: Consultation, transfer: Transfer) -> list[Notify]:
    """List whom the step concerns who may be away."""
    old, new = transfer.from_doctor.id, transfer.to_doctor.id
    told: Mapping[TransferState, tuple[tuple[str, str], ...]] = {
        TransferState.PROPOSED: ((c.patient, "transfer_proposed"),),
        TransferState.AGREED: ((new, "transfer_waiting"),),
        TransferState.REFUSED: ((old, "transfer_refused"),),
        TransferState.ACCEPTED: ((c.patient, "transfer_accepted"), (old, "transfer_taken")),
        TransferState.DECLINED: ((c.patient, "transfer_failed"), (old, "transfer_returned")),
        TransferState.EXPIRED: ((c.patient, "transfer_failed"), (old, "transfer_returned")),
    }
    return [_notice(c, transfer, user, template) for user, template in told.get(transfer.state, ())]


def _notice(c: Consultation, transfer: Transfer, user: str, template: str) -> Notify:
    values = {
        "service": "图文问诊",
        "doctor": transfer.to_doctor.name,
        "from_doctor": transfer.from_doctor.name,
        "person": c.person.name,
        "at": wire_time(transfer.ended_at or transfer.confirmed_at or transfer.proposed_at),
        "note": transfer.reason[:20],
    }
    return Notify(user=user, key=f"{template}:{transfer.id}", template=template, values=values)
