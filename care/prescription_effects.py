"""What a move of a prescription causes: the card in its room, the notices, the hints (X2, X3)."""

from collections.abc import Sequence
from typing import Any

from care.consultation import Consultation
from care.effects import Effect, Line, Outgoing, PrescriptionUpdated, Updated
from care.notices import Notify
from care.prescriptions import Prescription, PrescriptionState
from care.record import wire_time
from care.rooms import Kind

ASKED = "处方咨询时间已结束，会话已关闭"


def caused_by(
    p: Prescription, pharmacists: Sequence[str] = (), ended: Consultation | None = None
) -> Outgoing:
    """List what entering its state causes; `pharmacists` are told of what waits for them.

    `ended`: its consultation, whose room takes questions again once the card is there (C13).
    """
    effects: list[Effect] = []
    if p.state is PrescriptionState.APPROVED:
        effects.append(_line(p, Kind.CARD, card(p), ended, ended.members if ended else ()))
    if ended:
        effects.append(Updated(consultation=ended.id))
    effects.append(PrescriptionUpdated(prescription=p.id))
    effects += _notices(p, pharmacists)
    return _outgoing(p, *effects)


def asked(p: Prescription, ended: Consultation) -> Outgoing:
    """Close the room again once the time for questions is over."""
    line = _line(p, Kind.SYSTEM, {"text": ASKED}, ended, ())
    return _outgoing(p, line, Updated(consultation=ended.id))


def _outgoing(p: Prescription, *effects: Effect) -> Outgoing:
    return Outgoing(id=f"prescription:{p.id}:{p.version:06d}", effects=effects)


def _line(
    p: Prescription, kind: Kind, body: dict[str, Any], ended: Consultation | None,
    writers: tuple[str, ...],
) -> Line:  # fmt: skip
    """Write a line; into an ended room with the fence that says who may answer it."""
    line = Line(room=p.room, key=f"prescription:{p.id}:{kind}", kind=kind, body=body)
    if ended is None:
        return line
    return line.changed(version=ended.version, members=ended.members, writers=writers)


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
