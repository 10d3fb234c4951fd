"""A patient's request for a consultation: the form, checked and made into a record (C1, C11)."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Protocol
from zoneinfo import ZoneInfo

from care.accounts import Caller
from care.bookings import booked
from care.consultation import Consultation, Mode, PersonSnapshot, State, order_number
from care.directory import Doctor
from care.errors import BadRequest, Conflict
from care.masking import mask_id_card, mask_phone
from care.people import Person, age_on, needs_guardian_present
from care.policy import Policy
from care.ports import Clock
from care.record import new_id
from care.schedules import Timetable, bookable_days
from care.slots import BookedSlot
from care.transfer import DoctorCard
from realtime.rooms.consultations import ConsultationService


@dataclass(frozen=True, slots=True)
class Form:
    """What the patient filled in (C1). `request` is the same for every try of one request."""

    request: str
    doctor: str
    mode: Mode
    person: str
    seen_before: bool
    description: str
    images: tuple[str, ...]
    consent_version: str
    slot: str | None = None
    prior_diagnosis: str | None = None
    guardian_present: bool = False


class PersonSource(Protocol):
    async def get(self, owner: str, person_id: str) -> Person:
        """Give the owner's person. Raises Forbidden for anyone else's."""
        ...


class DoctorSource(Protocol):
    async def find(self, doctor_id: str) -> Doctor | None: ...


class TimetableSource(Protocol):
    async def of(self, doctor: str) -> Timetable: ...


class RequestService:
    def __init__(
        self,
        consultations: ConsultationService,
        people: PersonSource,
        doctors: DoctorSource,
        timetables: TimetableSource,
        consent_versions: Mapping[str, str],
        clock: Clock,
        policy: Policy,
    ) -> None:
        self._consultations = consultations
        self._people = people
        self._doctors = doctors
        self._timetables = timetables
        self._consent_version = consent_versions["informed_consent"]
        self._clock = clock
        self._policy = policy
        self._zone = ZoneInfo(policy.timezone)

    async def submit(self, caller: Caller, form: Form) -> Consultation:
        """Make the consultation the form asks for, once however often it is sent.

        Raises BadRequest naming the field, Forbidden for another's person or image, Conflict when
        the doctor doesn't offer the mode, one is open with him already (C14), or the slot is taken
        or gone (B2).
        """
        self._check(form)
        person = await self._people.get(caller.user, form.person)
        now = self._clock.now()
        today = now.astimezone(self._zone).date()
        if needs_guardian_present(person, today, self._policy.people) and not form.guardian_present:
            raise BadRequest.field("guardian_present", "6岁以下儿童问诊须监护人在场陪同")
        doctor, price = await self._offer(form)
        slot = await self._slot(form, now)
        consultation = Consultation(
            id=new_id(now),
            request=form.request,
            order_no=order_number(today, form.request),
            room=f"r{form.request}",
            mode=form.mode,
            state=State.AWAITING_PAYMENT if price else State.AWAITING_DOCTOR,
            patient=caller.user,
            patient_name=caller.name,
            doctor=doctor,
            person=_snapshot(person, today),
            seen_before=form.seen_before,
            prior_diagnosis=form.prior_diagnosis,
            guardian_present=form.guardian_present,
            description=form.description,
            images=form.images,
            slot=slot,
            consent_version=form.consent_version,
            price=price,
            created_at=now,
            waiting_since=None if price else now,
        )
        return await self._consultations.create(consultation)

    def _check(self, form: Form) -> None:
        """Hold the form against the hospital's numbers. Raises BadRequest naming the field."""
        policy = self._policy.consultations
        if not policy.description_min <= len(form.description.strip()) <= policy.description_max:
            few, many = policy.description_min, policy.description_max
            raise BadRequest.field("description", f"不能少于{few}个字，不多于{many}个字")
        if len(form.images) > policy.images_max:
            raise BadRequest.field("images", f"最多上传{policy.images_max}张图片")
        if form.consent_version != self._consent_version:
            raise BadRequest.field("consent_version", "请阅读并同意最新的《知情协议书》")
        prior = form.seen_before or form.prior_diagnosis or form.images
        if policy.require_prior_diagnosis and not prior:
            raise BadRequest.field("prior_diagnosis", "复诊须填写既往诊断或上传病历图片")

    async def _offer(self, form: Form) -> tuple[DoctorCard, int]:
        """Find the doctor and his price. Raises Conflict when he doesn't offer the mode."""
        doctor = await self._doctors.find(form.doctor)
        if doctor is None:
            raise BadRequest.field("doctor", "没有这位医生")
        price = doctor.prices.of(form.mode)
        if price is None:
            raise Conflict("该医生未开通此问诊方式")
        return doctor.card, price

    async def _slot(self, form: Form, now: datetime) -> BookedSlot | None:
        """Find the slot that voice and video need. Raises BadRequest, Conflict."""
        if form.mode is Mode.TEXT:
            if form.slot is not None:
                raise BadRequest.field("slot", "图文问诊无需预约")
            return None
        if form.slot is None:
            raise BadRequest.field("slot", "语音和视频问诊需要预约，请选择时段")
        days = bookable_days(now, self._zone, self._policy.bookings.days)
        timetable = await self._timetables.of(form.doctor)
        slot = timetable.find_slot(form.slot, form.mode, days, self._zone)
        return booked(slot, self._policy.bookings)


def _snapshot(person: Person, today: date) -> PersonSnapshot:
    phone = person.mobile or (person.guardian.phone if person.guardian else None)
    return PersonSnapshot(
        id=person.id,
        name=person.name,
        sex=person.sex.value,
        age=age_on(person.birth_date, today),
        id_card=mask_id_card(person.id_card),
        phone=phone and mask_phone(phone),
    )
