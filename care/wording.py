"""What the system says in a room and in a closed consultation, in the manual's own words."""

from collections.abc import Mapping
from typing import Any

from care.consultation import Because, Consultation
from care.policy import ConsultationPolicy
from care.record import HOUR, MINUTE, wire_time
from care.slots import BookedSlot

_CLOSED: Mapping[Because, str] = {
    Because.UNPAID: "超过{payment}未付款，订单已自动取消",
    Because.NOT_ACCEPTED: "超过{acceptance}未接诊，订单自动关闭{refund}",
    Because.NO_REPLY: "医生在{reply}内未回复，订单自动关闭{refund}",
    Because.IDLE: "超过{idle}没有新的回复，问诊已自动结束",
    Because.TIME_UP: "问诊时长已满，服务自动结束",
    Because.NO_SHOW: "预约时间内未进行通话，预约已自动关闭{refund}",
    Because.CANCELLED: "患者取消了问诊",
    Because.CANCELLED_BY_STAFF: "医院工作人员取消了问诊",
    Because.DECLINED: "当前问诊被医生手动退诊",
    Because.ENDED_BY_PATIENT: "患者结束了问诊",
    Because.ENDED_BY_DOCTOR: "医生结束了问诊",
    Because.TRANSFER_REFUSED: "患者拒绝转诊，问诊订单关闭{refund}",
}

_REFUND = "，问诊费用将原路退回"

_TEXT_FIRST = "问诊超过{acceptance}未接诊，订单自动关闭，问诊费用将原路退回"
_BOOKED_FIRST = "音视频问诊提前{notice}通知，未进行通话的，问诊费用将原路退回"
_TIPS = (
    "温馨提示：1、{first}；2、一次问诊从最后一次回复开始有效期为{idle}，超过自动关闭；"
    "3、医生利用空闲时间进行回复，如果觉得病情严重紧急，建议前往医院就诊。"
)
_STARTED = "问诊已开始，本次问诊有效期为{idle}"


def _spans(policy: ConsultationPolicy) -> dict[str, str]:
    return {
        "payment": span(policy.payment_seconds),
        "acceptance": span(policy.acceptance_seconds),
        "reply": span(policy.reply_seconds),
        "idle": span(policy.idle_seconds),
    }


def span(seconds: int) -> str:
    """Name a span in the largest unit that says it exactly."""
    if seconds % HOUR == 0:
        return f"{seconds // HOUR}小时"
    return f"{seconds // MINUTE}分钟" if seconds % MINUTE == 0 else f"{seconds}秒"


def closed(because: Because, policy: ConsultationPolicy, *, paid: bool) -> str:
    """Say why a consultation closed; of money only where it was paid."""
    return _CLOSED[because].format(refund=_REFUND if paid else "", **_spans(policy))


def tips(slot: BookedSlot | None, policy: ConsultationPolicy) -> str:
    """Give the tips (温馨提示) that stand under the case card (C10)."""
    spans = _spans(policy)
    if slot is None:
        return _TIPS.format(first=_TEXT_FIRST.format(**spans), **spans)
    notice = span(int((slot.starts_at - slot.notice_at).total_seconds()))
    return _TIPS.format(first=_BOOKED_FIRST.format(notice=notice), **spans)


def started(policy: ConsultationPolicy) -> str:
    """Give the line that opens the talk (C5)."""
    return _STARTED.format(**_spans(policy))


def case_card(consultation: Consultation) -> dict[str, Any]:
    """Give the room's first line (C10): 就诊人, 病情描述, 时间."""
    c = consultation
    return {
        "card": "case",
        "person": c.person.to_wire(),
        "description": c.description,
        "images": list(c.images),
        "at": wire_time(c.created_at),
    }
