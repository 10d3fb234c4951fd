"""What the staff's routes answer. Numbers are masked, but for what is revealed for a purpose."""

from pydantic import BaseModel

from care.accounts import Role
from care.consultation import ClosedReason, Mode, PersonSnapshot, State
from care.payments import Payment
from care.reconciliation import Difference, Totals
from care.slots import BookedSlot
from care.transfer import DoctorCard, Transfer
from companion.rest.answers import PersonCard, Time


class MaskedConsultation(BaseModel):
    """What running the hospital needs."""

    id: str
    order_no: str
    mode: Mode
    state: State
    room: str
    patient: str
    patient_name: str
    person: PersonCard
    doctor: DoctorCard
    price: int
    created_at: Time
    waiting_since: Time | None
    accepted_at: Time | None
    ended_at: Time | None
    closed_reason: ClosedReason | None
    check_at: Time | None


class MaskedWithPayment(MaskedConsultation):
    payment: Payment | None


class RevealedConsultation(BaseModel):
    """All that is kept of a consultation."""

    id: str
    order_no: str
    room: str
    mode: Mode
    state: State
    patient: str
    patient_name: str
    doctor: DoctorCard
    person: PersonSnapshot
    seen_before: bool
    prior_diagnosis: str | None
    guardian_present: bool
    description: str
    images: list[str]
    slot: BookedSlot | None
    consent_version: str
    price: int
    created_at: Time
    waiting_since: Time | None
    reminded_at: Time | None
    called_at: Time | None
    connected_at: Time | None
    accepted_at: Time | None
    ended_at: Time | None
    closed_reason: ClosedReason | None
    check_at: Time | None
    transfers: list[Transfer]
    former_doctors: list[str]
    groups: list[str]
    payment: Payment | None


class Letter(BaseModel):
    id: str
    effects: list[str]
    error: str
    failures: int
    died_at: Time


class Made(BaseModel):
    id: str


class MaskedAccount(BaseModel):
    id: str
    role: Role
    name: str
    phone: str
    id_card: str | None
    verified: bool
    has_password: bool
    must_change_password: bool
    created_at: Time


class RevealedAccount(MaskedAccount):
    real_name: str | None


class BriefReport(BaseModel):
    """A day's reconciliation; before it was made it has no totals."""

    provider: str
    date: str
    pending: bool
    error: str | None
    made_at: Time | None
    here: Totals | None
    there: Totals | None
    differing: int | None


class WholeReport(BriefReport):
    differences: list[Difference]
