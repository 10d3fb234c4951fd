"""What REST answers of the things that rooms, calls and bookings are about; see docs/wire.md."""

from collections.abc import Mapping
from datetime import date
from typing import Annotated, Any, Generic, TypeVar

from pydantic import BaseModel, Field

from care.bookings import BookingState
from care.calls import CallState, Device, EndReason, Media, Path, SideState
from care.consultation import Because, Mode, State
from care.groups import GroupMode, GroupState, SeatState
from care.payments import PaymentState
from care.transfer import DoctorCard, TransferState
from companion.rest.paging import Listed

Time = Annotated[str, Field(json_schema_extra={"format": "date-time"})]
Item = TypeVar("Item")


class Counted(Listed[Item], Generic[Item]):
    """A list with how many there are in each state."""

    counts: Mapping[str, int]


class Someone(BaseModel):
    id: str
    name: str


class PersonCard(Someone):
    sex: str
    age: int


class Picture(BaseModel):
    file: str
    url: str
    thumbnail_url: str


class PaymentView(BaseModel):
    """Money paid or given back, in fen, for one of the two."""

    id: str
    consultation: str | None
    drug_order: str | None
    provider: str
    amount: int
    state: PaymentState
    refunded_at: Time | None


class BegunPayment(BaseModel):
    payment: PaymentView
    params: Mapping[str, Any]
    """What the client needs to pay, as the provider wants it."""


class SettledPayment(BaseModel):
    payment: PaymentView | None


class Queue(BaseModel):
    position: int
    waited_s: int


class BookedSlotView(BaseModel):
    id: str
    starts_at: Time
    ends_at: Time
    number: int
    """Its place in the doctor's period, from 1 (预约序号)."""
    cancel_until: Time


class TransferView(BaseModel):
    id: str
    consultation: str
    state: TransferState
    from_doctor: DoctorCard
    to_doctor: DoctorCard
    reason: str
    proposed_at: Time
    expires_at: Time
    confirmed_at: Time | None
    ended_at: Time | None


class ClosedReasonView(BaseModel):
    by: str
    because: Because
    text: str
    detail: str | None
    missed_by: str | None
    at: Time


class ConsultationView(BaseModel):
    id: str
    version: int
    """Grows with each change: what comes with a lower one than is known is late, and old."""
    order_no: str
    order_label: str
    """What a patient is shown: 免费咨询,无订单号 for a free one."""
    mode: Mode
    state: State
    room: str
    patient: Someone
    doctor: DoctorCard
    person: PersonCard
    seen_before: bool
    prior_diagnosis: str | None
    description: str
    images: list[Picture]
    slot: BookedSlotView | None
    price: int
    transfer: TransferView | None
    turn: str | None
    """Who is to write: patient or doctor."""
    queue: Queue | None
    payment: PaymentView | None
    closes_at: Time | None
    closes_because: Because | None
    closed_reason: ClosedReasonView | None
    follow_up_until: Time | None
    created_at: Time
    accepted_at: Time | None
    ended_at: Time | None


class NumberedPerson(PersonCard):
    id_card: str | None
    """Masked."""
    phone: str | None
    """Masked."""


class BookingEnd(BaseModel):
    text: str
    detail: str | None
    missed_by: str | None


class BookingView(BaseModel):
    """A booking; its id is its consultation's."""

    id: str
    state: BookingState
    order_no: str
    room: str
    mode: Mode
    doctor: DoctorCard
    account: Someone
    person: NumberedPerson
    slot: BookedSlotView | None
    time: str | None
    """2020-09-02 20:00:00, in the hospital's zone."""
    label: str | None
    """上午, 下午 or 晚上."""
    price: int
    closed_reason: BookingEnd | None
    created_at: Time


class SpokenTimes(BaseModel):
    starts_at: Time
    ends_at: Time
    begins: str
    ends: str
    label: str


class StripDay(BaseModel):
    date: date
    weekday: int
    label: str
    free: int


class SlotOffer(SpokenTimes):
    id: str
    number: int
    free: bool


class DayEntry(SpokenTimes):
    id: str | None
    number: int | None
    modes: list[Mode]
    state: str
    """free, blocked, or the booking's."""
    booking: BookingView | None


class GroupDoctor(Someone):
    title: str | None
    state: SeatState


class Opinion(BaseModel):
    doctor: str
    name: str
    text: str
    at: Time


class GroupView(BaseModel):
    """A group consultation (会诊) as its viewer sees it."""

    id: str
    version: int
    consultation: str
    room: str
    title: str
    reason: str
    mode: GroupMode
    state: GroupState
    opener: DoctorCard
    doctors: list[GroupDoctor]
    my_state: SeatState | None
    person: PersonCard
    opinions: list[Opinion]
    conclusion: str | None
    opened_at: Time
    lapses_at: Time
    ended_at: Time | None


class CallParty(BaseModel):
    user: str
    role: str
    name: str
    mic: Device
    camera: Device
    state: SideState
    present: bool
    me: bool
    """It is the reader's own side."""


class CallView(BaseModel):
    id: str
    version: int
    room: str
    consultation: str
    group: str | None
    """The group consultation whose call it is."""
    media: Media
    mode: Path
    state: CallState
    started_by: str
    accepted_by: str | None
    device_id: str | None
    """The device of the reader's own that is in it."""
    parties: list[CallParty]
    polite: bool
    generation: int
    recording: bool
    recording_asked_by: str | None
    consents: list[str]
    """Who agrees to being recorded."""
    started_at: Time
    connected_at: Time | None
    ended_at: Time | None
    end_reason: EndReason | None
    duration_s: int


class CallWithQuality(CallView):
    quality: Mapping[str, Any] = {}
    """A doctor's alone: by user, sums, counts and worst values of what both sides measured."""


class CallTicket(BaseModel):
    ticket: str
    url: str
    expires_in: int


class NoticeView(BaseModel):
    id: str
    template: str
    title: str
    values: Mapping[str, str]
    at: Time
    read: bool


class Unread(BaseModel):
    unread_count: int


class Notices(Listed[NoticeView]):
    unread_count: int


class Subscription(BaseModel):
    template: str
    template_id: str
    left: int


class Subscriptions(BaseModel):
    items: list[Subscription]


class ConsentsLeft(BaseModel):
    template: str
    left: int
