"""What a move of a prescription causes: the card in its room, the notices, the hints (X2, X3)."""

from collections.abc import Sequence
from typing import Any

from care.effects import Effect, Line, Outgoing, PrescriptionUpdated
from care.notices import Notify
from care.prescriptions import Prescription, PrescriptionState
from care.record import wire_time
from care.rooms import Kind


def caused_by(p: Prescription, pharmacists: Sequence[str] = ()) -> Outgoing:
    """List what entering its state causes; `pharmacists` are told of what waits for them."""
    effects: list[Effect] = []
    if p.state is PrescriptionState.APPROVED:
        body = card(p)
        effects.append(Line(room=p.room, key=f"prescription:{p.id}", kind=Kind.CARD, body=body))
    effects.append(PrescriptionUpdated(prescription=p.id))
    effects += _notices(p, pharmacists)
    return Outgoing(id=f"prescription:{p.id}:{p.version:06d}", effects=tuple(effects))


def card(p: Prescription) -> dict[str, Any]:
    """Give the room's card of an approved prescription (X3)."""
    return {
        "card": "prescription",
        "prescription": p.id,
        "person": p.person.to_wire(),
        "doctor": p.doctor.name,
        "diagnoses": [d.name for d in p.diagnoses],
        "drugs": [
            {
                "name": drug.name,
                "specification": drug.specification,
                "usage": drug.usage,
                "quantity": drug.quantity,
                "unit": drug.unit,
            }
            for drug in p.drugs
        ],
        "advice": p.advice,
        "valid_until": p.valid_until and wire_time(p.valid_until),
    }


def _notices(p: Prescription, pharmacists: Sequence[str]) -> list[Notify]:
    match p.state:
        case PrescriptionState.SUBMITTED:
            told, template, note = tuple(pharmacists), "prescription_submitted", "请及时审核"
        case PrescriptionState.APPROVED:
            told, template, note = (p.patient,), "prescription_approved", "处方已通过审核，可购药"
        case PrescriptionState.REJECTED:
            why = p.decision.reason if p.decision else None
            told, template, note = (p.doctor.id,), "prescription_rejected", why or ""
        case PrescriptionState.VOID if p.issued:
            told, template, note = (p.patient,), "prescription_void", "处方已作废，请勿购药"
        case _:
            return []
    values = {"person": p.person.name, "doctor": p.doctor.name, "note": note}
    if p.valid_until:
        values["valid_until_at"] = wire_time(p.valid_until)
    # a prescription may be submitted, and refused, more than once
    key = f"{template}:{p.id}:{p.version}"
    return [
        Notify(user=user, key=f"{key}:{user}", template=template, values=values) for user in told
    ]
