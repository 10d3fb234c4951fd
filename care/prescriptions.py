"""A prescription (处方): its one table, who may move it, and what is signed (X1–X3).

`TABLE` is the whole state machine; a missing key is the refusal.
"""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any

import orjson
from pydantic import Field

from care.accounts import STAFF, Caller, Role
from care.catalogue import Diagnosis
from care.consultation import Consultation, PersonSnapshot, State
from care.deadlines import follow_up_until
from care.errors import Conflict, Forbidden
from care.policy import ConsultationPolicy
from care.prescribing import Content, Item, Wanted, Warned
from care.record import Record, wire_time
from care.rooms import CANONICAL
from care.transfer import DoctorCard


class PrescriptionState(StrEnum):
    DRAFT = "draft"
    SUBMITTED = "submitted"
    APPROVED = "approved"
    REJECTED = "rejected"
    DELIVERED = "delivered"
    VOID = "void"


class PrescriptionAction(StrEnum):
    EDIT = "edit"
    SUBMIT = "submit"
    APPROVE = "approve"
    REJECT = "reject"
    VOID = "void"
    DELIVER = "deliver"


TABLE: Mapping[tuple[PrescriptionState, PrescriptionAction], PrescriptionState] = {
    (PrescriptionState.DRAFT, PrescriptionAction.EDIT): PrescriptionState.DRAFT,
    (PrescriptionState.DRAFT, PrescriptionAction.SUBMIT): PrescriptionState.SUBMITTED,
    (PrescriptionState.DRAFT, PrescriptionAction.VOID): PrescriptionState.VOID,
    (PrescriptionState.SUBMITTED, PrescriptionAction.APPROVE): PrescriptionState.APPROVED,
    (PrescriptionState.SUBMITTED, PrescriptionAction.REJECT): PrescriptionState.REJECTED,
    (PrescriptionState.SUBMITTED, PrescriptionAction.VOID): PrescriptionState.VOID,
    # corrected, it is signed and looked at anew
    (PrescriptionState.REJECTED, PrescriptionAction.EDIT): PrescriptionState.DRAFT,
    (PrescriptionState.REJECTED, PrescriptionAction.VOID): PrescriptionState.VOID,
    (PrescriptionState.APPROVED, PrescriptionAction.VOID): PrescriptionState.VOID,
    (PrescriptionState.APPROVED, PrescriptionAction.DELIVER): PrescriptionState.DELIVERED,
}

ACTORS: Mapping[PrescriptionAction, Role | None] = {
    PrescriptionAction.EDIT: Role.DOCTOR,
    PrescriptionAction.SUBMIT: Role.DOCTOR,
    PrescriptionAction.APPROVE: Role.PHARMACIST,
    PrescriptionAction.REJECT: Role.PHARMACIST,
    PrescriptionAction.VOID: Role.DOCTOR,
    # the order whose medicine was had; no caller may ask for it
    PrescriptionAction.DELIVER: None,
}


class Signature(Record):
    """Who signed, as what, when; `value` is the Ed25519 signature in base64."""

    by: str
    name: str
    role: Role
    at: datetime
    value: str = ""


class Decision(Record):
    """What the pharmacist decided, under his signature."""

    approved: bool
    reason: str | None = None
    valid_until: datetime | None = None
    signature: Signature


class Voided(Record):
    at: datetime
    reason: str


class Prescription(Record):
    id: str
    request: str
    """The same for every try of one request: the second gives the first one's prescription."""
    consultation: str
    order_no: str
    room: str
    patient: str
    doctor: DoctorCard
    person: PersonSnapshot
    diagnoses: tuple[Diagnosis, ...] = Field(min_length=1)
    drugs: tuple[Item, ...] = Field(min_length=1)
    advice: str = ""
    allergies: tuple[str, ...] = ()
    pregnant: bool = False
    accompanied: bool = False
    """The doctor saw guardian and specialist beside a child that needs them (X1)."""
    warnings: tuple[Warned, ...] = ()
    created_at: datetime
    state: PrescriptionState = PrescriptionState.DRAFT
    signature: Signature | None = None
    decision: Decision | None = None
    voided: Voided | None = None
    order: str | None = None
    """Which order fills it."""
    check_at: datetime | None = None
    """When the room that it opened for questions closes again (C13)."""
    version: int = 1

    @property
    def issued(self) -> bool:
        """Say whether a pharmacist approved it: the patient never sees it before."""
        return self.decision is not None and self.decision.approved

    @property
    def valid_until(self) -> datetime | None:
        return self.decision.valid_until if self.decision else None

    def usable(self, now: datetime) -> bool:
        """Say whether medicine may be had for it."""
        valid = self.valid_until
        return self.state is PrescriptionState.APPROVED and valid is not None and now < valid

    @property
    def content(self) -> Content:
        """Give what the doctor wrote, as he could write it again."""
        names = Wanted.model_fields
        return Content(
            diagnoses=tuple(d.code for d in self.diagnoses),
            drugs=tuple(Wanted(**{n: getattr(i, n) for n in names}) for i in self.drugs),
            **{n: getattr(self, n) for n in ("advice", "allergies", "pregnant", "accompanied")},
        )

    def to_wire(self) -> dict[str, Any]:
        """Show it; who may see it sees the whole."""
        same = {
            "id", "consultation", "order_no", "room", "state", "advice", "allergies", "pregnant",
            "accompanied", "warnings", "diagnoses",
        }  # fmt: skip
        decision, voided = self.decision, self.voided
        return {
            **self.model_dump(mode="json", include=same),
            "doctor": self.doctor.model_dump(),
            "person": self.person.to_wire(),
            "drugs": [i.model_dump(mode="json") | {"usage": i.usage} for i in self.drugs],
            "created_at": wire_time(self.created_at),
            "submitted_at": self.signature and wire_time(self.signature.at),
            "decision": decision
            and {
                "approved": decision.approved,
                "reason": decision.reason,
                "pharmacist": {"id": decision.signature.by, "name": decision.signature.name},
                "at": wire_time(decision.signature.at),
            },
            "valid_until": self.valid_until and wire_time(self.valid_until),
            "order": self.order,
            "voided": voided and {"at": wire_time(voided.at), "reason": voided.reason},
        }

    def allows(self, caller: Caller) -> bool:
        """Say whether the caller may see it."""
        if caller.role is Role.PHARMACIST:
            return self.signature is not None
        if caller.role in STAFF or caller.user == self.doctor.id:
            return True
        return caller.user == self.patient and self.issued


def permit(p: Prescription, action: PrescriptionAction, caller: Caller) -> None:
    """Refuse a caller who may not ask for the action. Raises Forbidden."""
    own = caller.user == p.doctor.id
    # who wrote it can't be the one who checks it, whatever else he is
    if caller.role is not ACTORS[action] or own is not (caller.role is Role.DOCTOR):
        raise Forbidden
    if not p.allows(caller):
        raise Forbidden


def move(p: Prescription, action: PrescriptionAction, **changes: Any) -> Prescription:
    """Return it after the action. Raises Conflict where the table has no such move."""
    if action is PrescriptionAction.VOID and p.order is not None:
        raise Conflict("处方已下单购药，请患者先取消订单")
    state = TABLE.get((p.state, action))
    if state is None:
        raise Conflict
    return p.changed(state=state, version=p.version + 1, **changes)


def edited(p: Prescription, **content: Any) -> Prescription:
    """Return it with other contents, unsigned: what was signed or refused was another text."""
    return move(p, PrescriptionAction.EDIT, **content, signature=None, decision=None)


def refuse_closed(c: Consultation, now: datetime, policy: ConsultationPolicy) -> None:
    """Refuse once the consultation takes no prescription any more. Raises Conflict (C13, X1)."""
    if c.state is State.IN_PROGRESS:
        return
    until = follow_up_until(c, policy)
    if until is None or now >= until:
        raise Conflict("问诊未在进行中，或结束已超过可开方的时间")


AFTER_SIGNING = frozenset({"state", "decision", "voided", "order", "check_at", "version"})
"""What comes after the doctor's signature, and so can't be under it."""


def doctors_text(p: Prescription) -> bytes:
    """Give the canonical text the doctor signs: everything he wrote, and who and when he is."""
    return _canonical(_signed(p))


def pharmacists_text(p: Prescription) -> bytes:
    """Give the canonical text the pharmacist signs: the doctor's, his signature, the decision."""
    decision = p.decision
    without = {"signature": {"value": True}}
    decided = decision and decision.model_dump(mode="json", exclude=without)
    sealed = p.signature and p.signature.value
    return _canonical(_signed(p) | {"signed": sealed, "decision": decided})


def _signed(p: Prescription) -> dict[str, Any]:
    exclude: dict[str, Any] = dict.fromkeys(AFTER_SIGNING, True)
    return p.model_dump(mode="json", exclude=exclude | {"signature": {"value": True}})


def _canonical(value: Mapping[str, Any]) -> bytes:
    """Write JSON with sorted keys and no spaces, in UTF-8."""
    return orjson.dumps(value, option=CANONICAL)


def agrees(p: Prescription) -> bool:
    """Say whether the state fits the signatures that are there, and nothing else could be so."""
    decided = p.decision and p.decision.approved
    if p.state is PrescriptionState.VOID:
        return p.voided is not None
    if p.state is PrescriptionState.DELIVERED and p.order is None:
        return False
    signed = (p.signature is not None, decided, p.voided is not None)
    return signed == _SIGNED[p.state]


_SIGNED: Mapping[PrescriptionState, tuple[bool, bool | None, bool]] = {
    PrescriptionState.DRAFT: (False, None, False),
    PrescriptionState.SUBMITTED: (True, None, False),
    PrescriptionState.APPROVED: (True, True, False),
    PrescriptionState.REJECTED: (True, False, False),
    PrescriptionState.DELIVERED: (True, True, False),
}
"""By state: whether the doctor signed, what the pharmacist decided, whether it was made void."""
