"""What is told of a booking: that it stands, that its time comes, that it is off (B5, B6, B8)."""

from collections.abc import Mapping

from care.consultation import Action, Because, Consultation, Mode, State
from care.notices import Notify, notices_of, with_refund
from care.record import wire_time
from care.slots import BookedSlot

SERVICES: Mapping[Mode, str] = {Mode.VOICE: "语音问诊", Mode.VIDEO: "视频问诊"}
_MISSED = {
    "doctor": "医生未发起通话",
    "patient": "未接听通话，预约已关闭",
}
_OFF: Mapping[Because, str] = {
    Because.DECLINED: "医生取消了预约",
    Because.CANCELLED_BY_STAFF: "医院取消了预约",
}


def told_of(action: Action | None, consultation: Consultation) -> list[Notify]:
    """List whom a move concerns; a booking that has begun is a consultation like any other."""
    c = consultation
    if c.slot is None or action is Action.ACCEPT or c.accepted_at is not None:
        return notices_of(action, c)
    if c.closed_reason is not None:
        return _closed(c, c.slot, c.closed_reason.because)
    if c.state is State.AWAITING_PAYMENT or action is Action.CALL:
        return []
    if action is Action.REMIND:
        return [
            _patient(c, c.slot, "booking_reminder", "请提前进入小程序，等待医生发起通话"),
            _doctor(c, c.slot, "booking_soon"),
        ]
    return [
        _patient(c, c.slot, "booking_confirmed", "预约成功，请在预约时间前进入小程序"),
        _doctor(c, c.slot, "booking_received"),
    ]


def _closed(c: Consultation, slot: BookedSlot, because: Because) -> list[Notify]:
    if c.waiting_since is None:
        # the doctor never knew of it; the patient is told when it wasn't he who ended it
        if because is not Because.DECLINED:
            return notices_of(None, c)
        return [_patient(c, slot, "booking_cancelled", _OFF[because])]
    if because is Because.NO_SHOW and c.closed_reason:
        note = _MISSED[c.closed_reason.missed_by or "doctor"]
        return [_patient(c, slot, "no_show", note), _doctor(c, slot, "booking_missed")]
    told = [_patient(c, slot, "booking_cancelled", _OFF[because])] if because in _OFF else []
    if because is not Because.DECLINED:
        told.append(_doctor(c, slot, "booking_dropped"))
    return told


def _patient(c: Consultation, slot: BookedSlot, template: str, note: str) -> Notify:
    values = {
        "service": SERVICES[c.mode],
        "doctor": c.doctor.name,
        "begins_at": wire_time(slot.starts_at),
        "note": with_refund(note, c),
    }
    return Notify(user=c.patient, key=f"{template}:{c.id}", template=template, values=values)


def _doctor(c: Consultation, slot: BookedSlot, template: str) -> Notify:
    values = {
        "service": SERVICES[c.mode],
        "person": c.person.name,
        "begins_at": wire_time(slot.starts_at),
    }
    return Notify(user=c.doctor.id, key=f"{template}:{c.id}", template=template, values=values)
