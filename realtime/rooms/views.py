"""What clients see of messages and consultations, in PROTOCOL's shapes."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from care.consultation import FREE_ORDER_LABEL, Consultation, turn
from care.deadlines import deadline, follow_up_until
from care.policy import ConsultationPolicy
from care.ports import FileUrls
from care.record import wire_time
from care.rooms import FILE_KINDS, Activity, Message
from care.slots import BookedSlot


def optional_time(at: datetime | None) -> str | None:
    return wire_time(at) if at else None


class MessageViews:
    """Show messages to a viewer: files get URLs signed for him, recalled ones lose their body."""

    def __init__(self, files: FileUrls) -> None:
        self._files = files

    def show(self, message: Message, viewer: str, *, recalled: bool = False) -> dict[str, Any]:
        body: Mapping[str, Any] = {} if recalled else self._body(message, viewer)
        view = {
            "id": message.id,
            "room": message.room,
            "seq": message.seq,
            "client_id": message.client_id,
            "sender": message.sender.to_wire(),
            "kind": message.kind.value,
            "body": body,
            "at": wire_time(message.at),
        }
        return view | ({"recalled": True} if recalled else {})

    def same_for_all(self, message: Message) -> bool:
        """Say whether every viewer sees the same, so that it may be encoded once."""
        return message.kind not in FILE_KINDS and not message.body.get("images")

    def _body(self, message: Message, viewer: str) -> Mapping[str, Any]:
        body = dict(message.body)
        if message.kind in FILE_KINDS:
            return body | self._files.urls(body["file"], viewer, thumbnail=body["thumbnail"])
        if body.get("images"):
            body["images"] = [
                {"file": file, **self._files.urls(file, viewer, thumbnail=True)}
                for file in body["images"]
            ]
        return body


def slot_view(slot: BookedSlot) -> dict[str, Any]:
    """Show a booked slot; until `cancel_until` the patient may cancel."""
    return {
        "id": slot.id,
        "starts_at": wire_time(slot.starts_at),
        "ends_at": wire_time(slot.ends_at),
        "number": slot.number,
        "cancel_until": wire_time(slot.cancel_until),
    }


def consultation_view(
    consultation: Consultation,
    activity: Activity,
    policy: ConsultationPolicy,
    files: FileUrls,
    viewer: str,
) -> dict[str, Any]:
    """Show a consultation, its running deadline included (C12)."""
    c = consultation
    due = deadline(c, activity, policy)
    reason = c.closed_reason
    return {
        "id": c.id,
        "version": c.version,
        "order_no": c.order_no,
        "order_label": c.order_no if c.price else FREE_ORDER_LABEL,
        "mode": c.mode.value,
        "state": c.state.value,
        "room": c.room,
        "patient": {"id": c.patient, "name": c.patient_name},
        "doctor": c.doctor.model_dump(),
        "person": c.person.to_wire(),
        "seen_before": c.seen_before,
        "prior_diagnosis": c.prior_diagnosis,
        "description": c.description,
        "images": [{"file": f, **files.urls(f, viewer, thumbnail=True)} for f in c.images],
        "slot": slot_view(c.slot) if c.slot else None,
        "price": c.price,
        "transfer": c.transfers[-1].to_wire(c.id) if c.transfers else None,
        "turn": turn(c, activity),
        "queue": None,
        "closes_at": optional_time(due.at if due else None),
        "closes_because": due.because.value if due else None,
        "closed_reason": {
            "by": reason.by,
            "because": reason.because.value,
            "text": reason.text,
            "detail": reason.detail,
            "missed_by": reason.missed_by,
            "at": wire_time(reason.at),
        }
        if reason
        else None,
        "follow_up_until": optional_time(follow_up_until(c, policy)),
        "created_at": wire_time(c.created_at),
        "accepted_at": optional_time(c.accepted_at),
        "ended_at": optional_time(c.ended_at),
    }
