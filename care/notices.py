"""Notices: what the hospital tells a user outside a room, and by which ways (N1, N2, R8, C5)."""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal, Protocol
from zoneinfo import ZoneInfo

from pydantic import Field

from care.consultation import Action, Because, Consultation, Mode, State, refundable
from care.payments import Payment
from care.record import Record, read_time, wire_time


class Notify(Record):
    """Reach a user by the notice's ways, once for each key."""

    type: Literal["notify"] = "notify"
    user: str
    key: str
    template: str
    values: dict[str, str]


class Deliver(Record):
    """Send a stored notice outside: by subscription message, or by SMS."""

    type: Literal["deliver"] = "deliver"
    notice: str


class Way(StrEnum):
    SOCKET = "socket"
    WECHAT = "wechat"
    SMS = "sms"


class Delivered(StrEnum):
    """How far a notice is on one way; what isn't named yet was not tried."""

    SENDING = "sending"
    """Its consent is spent; whether it left is not known until SENT."""
    SENT = "sent"
    AWAY = "away"
    """No live socket took it."""
    NO_CONSENT = "no_consent"
    REFUSED = "refused"
    FAILED = "failed"


class Notice(Record):
    id: str
    user: str
    template: str
    values: dict[str, str]
    at: datetime
    read_at: datetime | None = None
    deliveries: dict[Way, Delivered] = Field(default_factory=dict)

    def to_wire(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "template": self.template,
            "title": TEMPLATES[self.template].title,
            "values": self.values,
            "at": wire_time(self.at),
            "read": self.read_at is not None,
        }


class Template(Record):
    """A notice's form.

    `fields` are WeChat's names for our values, in the order of the message; a template without any
    stays inside. Who is urgent and away gets an SMS where WeChat does not reach him. `even_here`:
    the subscription message goes out also to those who have the mini-program before them.
    `good_seconds`: one that is older stays inside, for what it asks for is over.
    """

    title: str
    fields: dict[str, str] = Field(default_factory=dict)
    urgent: bool = False
    even_here: bool = False
    good_seconds: int | None = None


_BOOKING = {"thing1": "service", "name2": "doctor", "time3": "begins_at", "thing4": "note"}
_TRANSFER = {"thing1": "service", "name2": "doctor", "time3": "at", "thing4": "note"}

TEMPLATES: Mapping[str, Template] = {
    "consultation_started": Template(
        title="服务开始提醒",
        fields={
            "thing1": "service",
            "name2": "doctor",
            "name3": "initiator",
            "time4": "started_at",
            "thing5": "note",
        },
        urgent=True,
        even_here=True,
    ),
    "consultation_closed": Template(
        title="服务结束提醒",
        fields={"thing1": "service", "name2": "doctor", "time3": "closed_at", "thing4": "note"},
    ),
    "consultation_refused": Template(
        title="退诊提醒",
        fields={"thing1": "service", "name2": "doctor", "time3": "closed_at", "thing4": "note"},
        urgent=True,
    ),
    "refunded": Template(
        title="退款成功通知",
        fields={"thing1": "service", "amount2": "amount", "time3": "refunded_at", "thing4": "note"},
    ),
    "patient_waiting": Template(title="新的候诊患者"),
    "incoming_call": Template(
        title="通话邀请",
        fields={"thing1": "service", "name2": "doctor", "time3": "called_at", "thing4": "note"},
        urgent=True,
        good_seconds=60,
    ),
    "booking_confirmed": Template(
        title="预约成功通知", fields=_BOOKING, urgent=True, even_here=True
    ),
    "booking_reminder": Template(
        title="预约提醒", fields=_BOOKING, urgent=True, even_here=True, good_seconds=20 * 60
    ),
    "booking_cancelled": Template(title="预约取消通知", fields=_BOOKING, urgent=True),
    "no_show": Template(title="预约未完成通知", fields=_BOOKING),
    "booking_received": Template(title="新的预约"),
    "booking_soon": Template(title="预约即将开始"),
    "booking_dropped": Template(title="预约已取消"),
    "booking_missed": Template(title="预约未完成"),
    "missed_call": Template(title="未接来电"),
    "transfer_proposed": Template(title="转诊确认提醒", fields=_TRANSFER, urgent=True),
    "transfer_accepted": Template(title="转诊成功通知", fields=_TRANSFER, urgent=True),
    "transfer_failed": Template(title="转诊未成功通知", fields=_TRANSFER),
    "transfer_waiting": Template(title="新的转诊患者"),
    "transfer_refused": Template(title="患者拒绝转诊"),
    "transfer_taken": Template(title="转诊已被接诊"),
    "transfer_returned": Template(title="转诊未成功"),
    "group_invited": Template(title="会诊邀请"),
    "group_opened": Template(title="会诊邀请提醒", fields=_TRANSFER, urgent=True),
    "prescription_submitted": Template(title="新的待审处方"),
    "prescription_approved": Template(
        title="处方审核通过通知",
        fields={
            "name1": "person",
            "name2": "doctor",
            "time3": "valid_until_at",
            "thing4": "note",
        },
        urgent=True,
    ),
    "prescription_rejected": Template(title="处方审核未通过"),
    "drug_order_paid": Template(title="新的购药订单"),
    "drug_order_ready": Template(
        title="取药通知",
        fields={"thing1": "service", "thing2": "pharmacy", "thing3": "note"},
        urgent=True,
    ),
    "drug_order_shipped": Template(
        title="发货通知", fields={"thing1": "service", "thing2": "pharmacy", "thing3": "note"}
    ),
    "drug_order_closed": Template(
        title="购药订单关闭通知",
        fields={"thing1": "service", "thing2": "pharmacy", "thing3": "note"},
    ),
    "prescription_void": Template(title="处方作废通知"),
    "complaint_answered": Template(
        title="投诉建议回复通知",
        fields={"thing1": "service", "thing2": "reason", "time3": "answered_at", "thing4": "note"},
    ),
}

_LENGTHS: Mapping[str, int] = {"thing": 20, "name": 10}
"""What WeChat takes of a field, by the name's kind; it refuses a whole message for one longer."""


def message_data(template: Template, values: Mapping[str, str]) -> dict[str, str]:
    """Fill a subscription message in, each value cut to what WeChat takes."""
    data = {}
    for field, name in template.fields.items():
        kind = field.rstrip("0123456789")
        data[field] = values[name][: _LENGTHS.get(kind)]
    return data


def shown_values(values: Mapping[str, str], zone: ZoneInfo) -> dict[str, str]:
    """Write times as the hospital does: 2020-09-01 11:36:29."""
    return {
        name: f"{read_time(value).astimezone(zone):%Y-%m-%d %H:%M:%S}"
        if name.endswith("_at")
        else value
        for name, value in values.items()
    }


_SERVICES: Mapping[Mode, str] = {
    Mode.TEXT: "图文问诊",
    Mode.VOICE: "语音问诊",
    Mode.VIDEO: "视频问诊",
}
_NOTES: Mapping[Because, str] = {
    Because.UNPAID: "超时未付款，订单已自动取消",
    Because.NOT_ACCEPTED: "医生未能接诊",
    Because.NO_REPLY: "医生未能回复",
    Because.IDLE: "长时间没有新的回复，问诊已结束",
    Because.TIME_UP: "问诊时长已满，问诊已结束",
    Because.CANCELLED_BY_STAFF: "医院取消了问诊",
    Because.DECLINED: "医生已退诊",
    Because.ENDED_BY_DOCTOR: "医生结束了问诊",
}
"""What a patient is told of a closing that he did not bring about."""


def with_refund(note: str, c: Consultation) -> str:
    """Add that the money goes back, where there is any and it does."""
    return f"{note}，费用将原路退回" if c.paid and refundable(c) else note


def notices_of(action: Action | None, consultation: Consultation) -> list[Notify]:
    """List whom a move concerns who did not make it; `action` is None for the creation."""
    c = consultation
    if action is Action.ACCEPT and c.accepted_at:
        return [_started(c, c.accepted_at)]
    if c.state is State.AWAITING_DOCTOR:
        values = {"service": _SERVICES[c.mode], "person": c.person.name}
        waiting = f"waiting:{c.id}"
        return [Notify(user=c.doctor.id, key=waiting, template="patient_waiting", values=values)]
    if c.closed_reason and c.closed_reason.because in _NOTES:
        values = {
            "service": _SERVICES[c.mode],
            "doctor": c.doctor.name,
            "closed_at": wire_time(c.closed_reason.at),
            "note": with_refund(_NOTES[c.closed_reason.because], c),
        }
        refused = c.state in {State.DECLINED, State.EXPIRED}
        template = "consultation_refused" if refused else "consultation_closed"
        return [Notify(user=c.patient, key=f"closed:{c.id}", template=template, values=values)]
    return []


def _started(c: Consultation, accepted_at: datetime) -> Notify:
    """Fill the manual's 服务开始提醒 in (C5)."""
    return Notify(
        user=c.patient,
        key=f"accepted:{c.id}",
        template="consultation_started",
        values={
            "service": "医生接诊",
            "doctor": c.doctor.name,
            "initiator": c.person.name,
            "started_at": wire_time(accepted_at),
            "note": "医生已接诊，可以进行问诊操作了",
        },
    )


def refund_notice(payment: Payment, now: datetime) -> Notify:
    """Tell the payer that his money is on its way back."""
    return Notify(
        user=payment.payer,
        key=f"refunded:{payment.id}",
        template="refunded",
        values={
            "service": f"{payment.service}用",
            "amount": f"{payment.amount // 100}.{payment.amount % 100:02d}元",
            "refunded_at": wire_time(now),
            "note": "费用已原路退回，请留意到账通知",
        },
    )


class QuotaUsed(Exception):
    """The user's consents for the template are used up, whatever the ledger says (43101)."""


class InvalidUser(Exception):
    """WeChat knows nobody by this openid, or he blocked the mini-program: sending again is vain."""


class SubscriptionMessages(Protocol):
    """Sends one WeChat subscription message.

    `template_id` is WeChat's, `page` what the mini-program opens, `data` the values by WeChat's
    field names. Raises QuotaUsed, InvalidUser; Unavailable or RateLimited when a later try may do.
    """

    async def send(
        self, openid: str, template_id: str, page: str, data: Mapping[str, str]
    ) -> None: ...


class Contacts(Protocol):
    """Tells how a user is reached outside; None where he isn't."""

    async def openid(self, user: str) -> str | None: ...

    async def phone(self, user: str) -> str | None: ...


class NoticeStore(Protocol):
    """Keeps notices, each with the deliveries still to be made; a key is stored once.

    `spend` takes one consent for the notice, once however often it is asked; it says whether the
    notice has one. `give_back` returns it while the message is not known to be sent, once for each
    time it was taken; after a crash between the two a later try sends under the same consent.
    """

    async def add(self, notice: Notice) -> bool: ...

    async def get(self, notice_id: str) -> Notice | None: ...

    async def note(self, notice_id: str, way: Way, delivered: Delivered) -> None: ...

    async def spend(self, notice: Notice) -> bool: ...

    async def give_back(self, notice: Notice) -> None: ...

    async def page(
        self, user: str, before: tuple[datetime, str] | None, limit: int
    ) -> list[Notice]: ...

    async def unread(self, user: str) -> int: ...

    async def read(self, user: str, notice_id: str, now: datetime) -> bool: ...

    async def read_all(self, user: str, now: datetime) -> None: ...


class ConsentStore(Protocol):
    """The ledger of consents: one is good for one subscription message of one template."""

    async def add(self, user: str, template: str, accepted: int) -> int: ...

    async def clear(self, user: str, template: str) -> None: ...

    async def left(self, user: str) -> Mapping[str, int]: ...
