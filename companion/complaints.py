"""The use cases of complaints: sending one, answering it, closing it (K1)."""

from collections.abc import Sequence
from typing import Any

from care import complaints as rules
from care.accounts import STAFF, Caller
from care.audit import Inspection
from care.complaints import Complaint, ComplaintAction, ComplaintState, Reason
from care.errors import Conflict, Forbidden
from care.ports import Clock, FileUrls
from care.record import new_id
from companion.prescriptions import Carrier
from storage.complaints import Complaints


class ComplaintService:
    def __init__(
        self,
        store: Complaints,
        files: FileUrls,
        carrier: Carrier,
        audit: Inspection,
        clock: Clock,
    ) -> None:
        self._store = store
        self._files = files
        self._carrier = carrier
        self._audit = audit
        self._clock = clock

    async def send(
        self, caller: Caller, request: str, reason: Reason, text: str, images: Sequence[str],
        contact: str | None,
    ) -> Complaint:  # fmt: skip
        """Take it, once however often it is sent. Raises Forbidden for another's picture."""
        now = self._clock.now()
        return await self._store.create(
            Complaint(
                id=new_id(now), request=request, owner=caller.user, owner_name=caller.name,
                reason=reason, text=text, images=tuple(images), contact=contact, created_at=now,
            )
        )  # fmt: skip

    async def act(
        self, caller: Caller, complaint_id: str, action: ComplaintAction, text: str = ""
    ) -> Complaint:
        """Answer or close it. Raises Forbidden or Conflict, then nothing has changed."""
        before = await self._store.get(complaint_id)
        if before is None:
            raise Forbidden
        after = rules.move(before, action, caller, self._clock.now(), text)
        outgoing = rules.caused_by(after)
        if not await self._store.replace(before, after, outgoing):
            raise Conflict
        await self._carrier.carry_out(outgoing.id)
        if caller.role in STAFF:
            await self._note(caller, f"complaint_{action.value}", after, action.value)
        return after

    async def find(self, caller: Caller, complaint_id: str) -> Complaint:
        """Give it to its owner, and to the staff, whose look is noted. Raises Forbidden."""
        found = await self._store.get(complaint_id)
        if found is None or not found.allows(caller):
            raise Forbidden
        if caller.user != found.owner:
            await self._note(caller, "complaint_read", found, "look_up")
        return found

    async def reveal(self, caller: Caller, complaint_id: str, purpose: str) -> str | None:
        """Give how its owner wants to be reached; the purpose is kept (P3, S4)."""
        found = await self._store.get(complaint_id)
        if found is None or caller.role not in STAFF:
            raise Forbidden
        await self._note(caller, "complaint_revealed", found, purpose)
        return found.contact

    async def _note(self, caller: Caller, action: str, found: Complaint, purpose: str) -> None:
        details = {"complaint": found.id}
        await self._audit.record(caller.user, action, found.owner, purpose, details)

    async def page(
        self,
        caller: Caller,
        states: Sequence[ComplaintState] | None,
        before: str | None,
        limit: int,
    ) -> list[Complaint]:
        """List one's own; the staff's is everybody's, and noted."""
        staff = caller.role in STAFF
        found = await self._store.page(None if staff else caller.user, states, before, limit)
        if staff:
            owners = {complaint.id: complaint.owner for complaint in found}
            await self._audit.record_all(caller.user, "complaint_listed", owners, "search")
        return found

    def show(self, complaint: Complaint, viewer: str) -> dict[str, Any]:
        images = [
            {"file": file, **self._files.urls(file, viewer, thumbnail=True)}
            for file in complaint.images
        ]
        return complaint.to_wire() | {"images": images}
