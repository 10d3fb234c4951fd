"""Every number of the hospital's rules, with its default. `config.yaml` may replace each."""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    IPvAnyAddress,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    field_validator,
)

Port = Annotated[int, Field(ge=1024, le=65535)]


class Section(BaseModel):
    """A part of the settings: frozen, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class AccountPolicy(Section):
    access_token_seconds: PositiveInt = 900
    refresh_token_seconds: PositiveInt = 30 * 86400
    expiring_notice_seconds: PositiveInt = 60
    sms_code_seconds: PositiveInt = 300
    sms_code_tries: PositiveInt = 5
    sms_interval_seconds: PositiveInt = 60
    sms_daily_limit: PositiveInt = 10
    login_failures: PositiveInt = 10
    login_lock_seconds: PositiveInt = 900
    one_tap_default_password: str | None = None


class PeoplePolicy(Section):
    limit: PositiveInt = 10
    adult_age: PositiveInt = 18
    guardian_present_under_age: PositiveInt = 6


class ModePolicy(Section):
    max_minutes: PositiveInt | None = None


class ConsultationPolicy(Section):
    require_prior_diagnosis: bool = False
    description_min: PositiveInt = 10
    description_max: PositiveInt = 60
    images_max: PositiveInt = 9
    payment_seconds: PositiveInt = 15 * 60
    acceptance_seconds: PositiveInt = 6 * 3600
    reply_seconds: PositiveInt = 24 * 3600
    idle_seconds: PositiveInt = 24 * 3600
    follow_up_hours: PositiveInt = 24
    transfer_seconds: PositiveInt = 24 * 3600
    text: ModePolicy = ModePolicy()
    voice: ModePolicy = ModePolicy()
    video: ModePolicy = ModePolicy()


class BookingPolicy(Section):
    days: Annotated[int, Field(ge=1, le=60)] = 7
    slot_minutes: Annotated[int, Field(ge=5, le=240, multiple_of=5)] = 20
    reminder_seconds: PositiveInt = 20 * 60
    cancel_before_seconds: NonNegativeInt = 2 * 3600
    cancellations_max: PositiveInt = 3
    cancellations_days: PositiveInt = 30
    no_show_seconds: PositiveInt = 3600


class PrescriptionPolicy(Section):
    valid_days: PositiveInt = 3
    days_max: PositiveInt = 30
    quantity_max: PositiveInt = 20
    drugs_max: PositiveInt = 5


class GroupPolicy(Section):
    invitation_seconds: PositiveInt = 24 * 3600
    doctors_max: PositiveInt = 8
    history_max: PositiveInt = 200
    after_end_seconds: PositiveInt = 24 * 3600


class CirclePolicy(Section):
    categories: tuple[str, ...] = ("生活", "睡眠", "男性", "两性", "辟谣")
    comment_max: PositiveInt = 500
    forbidden_words: str | None = None
    """A file with a word a line; None is the list that is shipped."""


class MessagePolicy(Section):
    text_max: PositiveInt = 4000
    recall_seconds: PositiveInt = 120
    page_max: PositiveInt = 200
    page_default: PositiveInt = 50


class FilePolicy(Section):
    image_max_bytes: PositiveInt = 20 * 1024 * 1024
    image_max_pixels: PositiveInt = 50_000_000
    image_side_max: PositiveInt = 4096
    thumbnail_side: PositiveInt = 320
    voice_max_bytes: PositiveInt = 5 * 1024 * 1024
    voice_max_seconds: PositiveInt = 60
    video_max_bytes: PositiveInt = 50 * 1024 * 1024
    video_max_seconds: PositiveInt = 60
    url_seconds: PositiveInt = 600
    unused_seconds: PositiveInt = 86400
    unused_max: PositiveInt = 100
    inspection_seconds: PositiveInt = 30
    inspection_workers: PositiveInt = 2


class MediaPolicy(Section):
    """Of calls whose media go through the server."""

    workers: PositiveInt = 1
    calls_max: PositiveInt = 30
    """A worker; one more is refused."""
    codecs: tuple[Literal["VP8", "H264"], ...] = ("VP8", "H264")
    """The video codecs that may be used; a call has the first of them in its first offer."""
    announced: IPvAnyAddress | None = None
    """The address the outside knows, where it isn't this machine's own."""
    ports: tuple[Port, Port] | None = None
    """The first and the last UDP port for media; None: the system's choice."""
    start_kbps: PositiveInt = 800
    min_kbps: PositiveInt = 100
    max_kbps: PositiveInt = 2_000
    """Of a side's video; the rest follows the network."""

    @field_validator("ports")
    @classmethod
    def _in_order(cls, ports: tuple[int, int] | None) -> tuple[int, int] | None:
        if ports and ports[0] > ports[1]:
            raise ValueError("the first port comes after the last")
        return ports


class Relaying(StrEnum):
    """Which calls' media go through the server (V3)."""

    RECORDED = "recorded"
    ALWAYS = "always"
    NEVER = "never"
    FALLBACK = "fallback"
    """Those recorded, and those that found no direct way."""


class CallPolicy(Section):
    early_seconds: NonNegativeInt = 300
    """How long before the booked time the doctor may call."""
    ring_seconds: PositiveInt = 45
    connect_seconds: PositiveInt = 60
    grace_seconds: PositiveInt = 30
    least_seconds: PositiveInt = 3
    ticket_seconds: PositiveInt = 60
    stun: tuple[str, ...] = ()
    turn: tuple[str, ...] = ()
    turn_seconds: Annotated[int, Field(ge=60, le=600)] = 600
    relay: Relaying = Relaying.RECORDED
    direct_seconds: PositiveInt = 10
    """With `fallback`: how long a side may fail to connect before its call is relayed."""
    media: MediaPolicy = MediaPolicy()


class PresencePolicy(Section):
    heartbeat_seconds: PositiveInt = 90
    background_seconds: PositiveInt = 10


class OutboxPolicy(Section):
    """How often what failed is tried again: after a delay that doubles, up to a longest one."""

    retry_seconds: PositiveFloat = 2.0
    retry_max_seconds: PositiveFloat = 3600.0
    attempts_max: PositiveInt = 20


class ReconciliationPolicy(Section):
    """When a day's payments are compared with the provider's bill."""

    hour: Annotated[int, Field(ge=0, le=23)] = 11
    """Of the next day, in the hospital's zone: WeChat Pay's bill is there from about 10."""
    days_max: PositiveInt = 31
    bill_days: PositiveInt = 90
    poll_seconds: PositiveFloat = 30.0


class Policy(Section):
    timezone: str = "Asia/Shanghai"
    accounts: AccountPolicy = AccountPolicy()
    people: PeoplePolicy = PeoplePolicy()
    consultations: ConsultationPolicy = ConsultationPolicy()
    bookings: BookingPolicy = BookingPolicy()
    prescriptions: PrescriptionPolicy = PrescriptionPolicy()
    groups: GroupPolicy = GroupPolicy()
    circle: CirclePolicy = CirclePolicy()
    messages: MessagePolicy = MessagePolicy()
    files: FilePolicy = FilePolicy()
    calls: CallPolicy = CallPolicy()
    presence: PresencePolicy = PresencePolicy()
    outbox: OutboxPolicy = OutboxPolicy()
    reconciliation: ReconciliationPolicy = ReconciliationPolicy()
