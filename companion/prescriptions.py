"""The use cases of prescriptions: writing, signing, deciding, making void, verifying (X1–X3)."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from care.accounts import STAFF, Caller, Role
from care.audit import Inspection
from care.consultation import Consultation
from care.deadlines import follow_up_until
from care.effects import PrescriptionUpdated
from care.errors import Conflict, Forbidden
from care.policy import Policy
from care.ports import Channel, Clock, ConsultationStore
from care.prescribing import Content
from care.prescription_effects import asked, caused_by
from care.prescriptions import (
    Decision,
    Prescription,
    PrescriptionAction,
    PrescriptionState,
    Signature,
    Voided,
    agrees,
    doctors_text,
    edited,
    move,
    permit,
    pharmacists_text,
    refuse_closed,
)
from care.record import new_id
from companion.prescribing import Writing
from companion.signing import Signing
from storage.prescriptions import Prescriptions

CHANGED_MEANWHILE = "处方刚刚被处理过，请刷新后重试"


class Carrier(Protocol):
    """Carries a stored change's effects out, now if possible."""

    async def carry_out(self, outgoing_id: str) -> None: ...


Pharmacists = Callable[[], Awaitable[list[str]]]


@dataclass(frozen=True, slots=True)
class Proof:
    """A signature with what is needed to check it elsewhere, and whether it holds."""

    signature: Signature
    public_key: str | None
    text: str
    valid: bool


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a prescription is as it was signed; `valid` needs every proof to hold."""

    prescription: Prescription
    valid: bool
    doctor: Proof | None
    pharmacist: Proof | None


class PrescriptionService:
    def __init__(
        self,
        store: Prescriptions,
        writing: Writing,
        consultations: ConsultationStore,
        signing: Signing,
        pharmacists: Pharmacists,
        carrier: Carrier,
        channel: Channel,
        audit: Inspection,
        clock: Clock,
        policy: Policy,
    ) -> None:
        self._store = store
        self._writing = writing
        self._consultations = consultations
        self._signing = signing
        self._pharmacists = pharmacists
        self._carrier = carrier
        self._channel = channel
        self._audit = audit
        self._clock = clock
        self._policy = policy

    async def create(
        self, caller: Caller, request: str, consultation_id: str, content: Content
    ) -> Prescription:
        """Draft one, once however often it is sent.

        Raises Forbidden to all but the consultation's doctor, Conflict once it takes none any more,
        BadRequest naming what may not be prescribed.
        """
        c = await self._consultation(consultation_id, caller)
        now = self._clock.now()
        p = Prescription(
            id=new_id(now),
            request=request,
            consultation=c.id,
            order_no=c.order_no,
            room=c.room,
            patient=c.patient,
            doctor=c.doctor,
            person=c.person,
            created_at=now,
            **await self._writing.written(c, content, None),
        )
        return await self._store.create(p)

    async def edit(self, prescription_id: str, caller: Caller, content: Content) -> Prescription:
        """Write it anew, also one that was rejected; the doctor submits it then."""
        p = await self._permitted(prescription_id, PrescriptionAction.EDIT, caller)
        c = await self._consultation(p.consultation, caller)
        return await self._store_change(
            p, edited(p, **await self._writing.written(c, content, p.id))
        )

    async def submit(self, prescription_id: str, caller: Caller) -> Prescription:
        """Sign it and put it before the pharmacists, with what is to be warned of now."""
        p = await self._permitted(prescription_id, PrescriptionAction.SUBMIT, caller)
        c = await self._consultation(p.consultation, caller)
        written = await self._writing.written(c, p.content, p.id)
        # a doctor renamed meanwhile is still called what the prescription and its talk call him
        by = self._by(caller).changed(name=p.doctor.name)
        after = move(p, PrescriptionAction.SUBMIT, **written, signature=by)
        value = await self._signing.sign(by.by, doctors_text(after))
        return await self._store_change(p, after.changed(signature=by.changed(value=value)))

    async def approve(self, prescription_id: str, caller: Caller) -> Prescription:
        """Let it go to the patient. Raises Conflict when the consultation takes none any more."""
        p = await self._permitted(prescription_id, PrescriptionAction.APPROVE, caller)
        c = await self._consultations.get(p.consultation)
        if c is None:
            raise Forbidden
        now = self._clock.now()
        refuse_closed(c, now, self._policy.consultations)
        valid_until = now + timedelta(days=self._policy.prescriptions.valid_days)
        decision = Decision(approved=True, valid_until=valid_until, signature=self._by(caller))
        # none while it is in progress: then its room is open anyway
        ask_until = follow_up_until(c, self._policy.consultations)
        ended = c if ask_until else None
        return await self._decide(p.changed(check_at=ask_until), decision, ended)

    async def reject(self, prescription_id: str, caller: Caller, reason: str) -> Prescription:
        """Send it back to the doctor, who reads the reason."""
        p = await self._permitted(prescription_id, PrescriptionAction.REJECT, caller)
        decision = Decision(approved=False, reason=reason, signature=self._by(caller))
        return await self._decide(p, decision, None)

    async def _decide(
        self, p: Prescription, decision: Decision, ended: Consultation | None
    ) -> Prescription:
        approved = decision.approved
        action = PrescriptionAction.APPROVE if approved else PrescriptionAction.REJECT
        after = move(p, action, decision=decision)
        if not await self._doctors_holds(p):
            # nobody signs beneath what the doctor did not write
            raise Conflict("医生签名校验未通过，处方不能审核")
        by = decision.signature
        value = await self._signing.sign(by.by, pharmacists_text(after))
        signed = decision.changed(signature=by.changed(value=value))
        return await self._store_change(p, after.changed(decision=signed), ended)

    async def void(self, prescription_id: str, caller: Caller, reason: str) -> Prescription:
        """Take it back; nothing is had for it any more."""
        p = await self._permitted(prescription_id, PrescriptionAction.VOID, caller)
        voided = Voided(at=self._clock.now(), reason=reason)
        return await self._store_change(p, move(p, PrescriptionAction.VOID, voided=voided))

    async def find(self, prescription_id: str, caller: Caller) -> Prescription:
        """Give it to whom it concerns; a look by staff is noted. Raises Forbidden to others."""
        p = await self._store.get(prescription_id)
        if p is None or not p.allows(caller):
            raise Forbidden
        if caller.role in STAFF or caller.role is Role.PHARMACIST:
            details = {"prescription": p.id}
            await self._audit.record(
                caller.user, "prescription_read", p.patient, "look_up", details
            )
        return p

    async def page(
        self,
        caller: Caller,
        states: Sequence[PrescriptionState] | None,
        consultation: str | None,
        before: str | None,
        limit: int,
    ) -> list[Prescription]:
        """List what the caller may see; what staff are shown is noted."""
        found = await self._store.page(caller, states, consultation, before, limit)
        if caller.role in STAFF or caller.role is Role.PHARMACIST:
            owners = {p.id: p.patient for p in found}
            await self._audit.record_all(caller.user, "prescription_listed", owners, "search")
        return found

    async def verify(self, prescription_id: str) -> Verdict | None:
        """Check every signature; None for one there is not."""
        p = await self._store.get(prescription_id)
        if p is None:
            return None
        doctor = await self._proof(p.signature, p.doctor.id, doctors_text(p))
        decided = p.decision.signature if p.decision else None
        pharmacist = await self._proof(decided, None, pharmacists_text(p))
        proofs = [proof for proof in (doctor, pharmacist) if proof]
        valid = bool(proofs) and agrees(p) and all(proof.valid for proof in proofs)
        return Verdict(p, valid, doctor, pharmacist)

    async def tell(self, effect: PrescriptionUpdated) -> None:
        """Push it to everybody who may see it."""
        p = await self._store.get(effect.prescription)
        if p is None:
            return
        users = [p.doctor.id]
        if p.issued:
            users.append(p.patient)
        if p.signature:
            users += await self._pharmacists()
        self._channel.push(users, "prescription:updated", p.to_wire())

    async def look_at(self, p: Prescription) -> None:
        """Close the room it opened for questions, once their time is over (C13)."""
        c = await self._consultations.get(p.consultation)
        if c is None or p.check_at is None:
            return
        until = follow_up_until(c, self._policy.consultations)
        if until and until > self._clock.now():
            await self._store.postpone(p, until)
            return
        after = p.changed(check_at=None, version=p.version + 1)
        outgoing = asked(after, c)
        if await self._store.replace(p, after, outgoing):
            await self._carrier.carry_out(outgoing.id)

    async def _permitted(
        self, prescription_id: str, action: PrescriptionAction, caller: Caller
    ) -> Prescription:
        p = await self._store.get(prescription_id)
        if p is None:
            raise Forbidden
        permit(p, action, caller)
        return p

    async def _consultation(self, consultation_id: str, caller: Caller) -> Consultation:
        """Give the consultation its doctor writes for. Raises Forbidden, Conflict."""
        c = await self._consultations.get(consultation_id)
        if c is None or c.doctor.id != caller.user or not c.concerns(caller.user):
            raise Forbidden
        refuse_closed(c, self._clock.now(), self._policy.consultations)
        return c

    def _by(self, caller: Caller) -> Signature:
        return Signature(by=caller.user, name=caller.name, role=caller.role, at=self._clock.now())

    async def _doctors_holds(self, p: Prescription) -> bool:
        proof = await self._proof(p.signature, p.doctor.id, doctors_text(p))
        return proof is not None and proof.valid

    async def _proof(
        self, signature: Signature | None, signer: str | None, text: bytes
    ) -> Proof | None:
        """Check a signature; by whom it must be, where that is known."""
        if signature is None:
            return None
        holds = await self._signing.holds(signature.by, text, signature.value)
        valid = holds and signer in {None, signature.by}
        return Proof(signature, await self._signing.public_key(signature.by), text.decode(), valid)

    async def _store_change(
        self, before: Prescription, after: Prescription, ended: Consultation | None = None
    ) -> Prescription:
        submitted = after.state is PrescriptionState.SUBMITTED
        outgoing = caused_by(after, await self._pharmacists() if submitted else (), ended)
        if not await self._store.replace(before, after, outgoing):
            raise Conflict(CHANGED_MEANWHILE)
        await self._carrier.carry_out(outgoing.id)
        return after
