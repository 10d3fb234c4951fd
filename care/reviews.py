"""A review (评价): what a patient says of a consultation that ended (E1, E2)."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from pydantic import Field

from care.consultation import Consultation, State
from care.errors import Conflict
from care.masking import mask_name
from care.record import Record, new_id, wire_time

POSITIVE_STARS = 4

LABELS: Mapping[int, str] = {
    5: "非常满意", 4: "满意", 3: "一般", 2: "不满意", 1: "非常不满意",
}  # fmt: skip


class Review(Record):
    id: str
    request: str
    """The same for every try of one request: the second gives the first one's review."""
    consultation: str
    doctor: str
    doctor_name: str
    patient: str
    patient_name: str
    """Masked: every patient reads it."""
    stars: int = Field(ge=1, le=5)
    label: str
    text: str = ""
    at: datetime
    hidden: bool = False
    """By the staff: neither shown to others nor counted."""

    @property
    def positive(self) -> bool:
        return self.stars >= POSITIVE_STARS

    def to_wire(self) -> dict[str, Any]:
        shown = self.model_dump(include={"id", "patient_name", "stars", "label", "text"})
        return shown | {"at": wire_time(self.at)}


def review_of(
    c: Consultation, request: str, stars: int, label: str | None, text: str, now: datetime
) -> Review:
    """Make the review of an ended consultation; without a label it has that of its stars.

    Raises Conflict for one that has not ended.
    """
    if c.state is not State.ENDED:
        raise Conflict("问诊结束后才能评价")
    return Review(
        id=new_id(now), request=request, consultation=c.id, doctor=c.doctor.id,
        doctor_name=c.doctor.name, patient=c.patient, patient_name=mask_name(c.patient_name),
        stars=stars, label=label or LABELS[stars], text=text, at=now,
    )  # fmt: skip
