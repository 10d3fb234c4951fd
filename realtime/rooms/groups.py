"""Group consultations (会诊): opening one, its steps, its clocks, its lists (G1–G4)."""

from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

from care import groups as rules
from care.accounts import Caller, Role
from care.consultation import Consultation
from care.directory import Doctor
from care.effects import ConsultationOver, GroupInvited, GroupUpdated, Outgoing
from care.errors import BadRequest, Conflict, Forbidden, Unavailable
from care.group_effects import caused_by, opened
from care.groups import Group, GroupAction, GroupMode, GroupState, Seat
from care.policy import GroupPolicy
from care.ports import Channel, Clock, LogReader
from care.record import new_id, wire_time
from care.rooms import MEMBER_KINDS, Kind
from care.wording import case_card
from realtime.rooms.consultations import ATTEMPTS, ConsultationService

_PLACEHOLDERS: Mapping[Kind, str] = {
    Kind.IMAGE: "[图片]", Kind.VOICE: "[语音]", Kind.VIDEO: "[视频]",
}  # fmt: skip


class GroupStore(Protocol):
    """Keeps groups. A change and its effects are stored together or not at all."""

    async def create(self, group: Group, outgoing: Outgoing) -> None: ...

    async def replace(self, before: Group, after: Group, outgoing: Outgoing | None) -> bool: ...

    async def get(self, group_id: str) -> Group | None: ...

    async def live_of(self, consultation: str) -> Group | None: ...

    async def page(
        self, user: str, states: list[GroupState] | None, before: str | None, limit: int
    ) -> list[Group]: ...

    async def counts(self, user: str) -> dict[str, int]: ...

    async def postpone(self, group: Group, check_at: datetime) -> None: ...


class DoctorSource(Protocol):
    async def among(self, doctor_ids: Collection[str]) -> dict[str, Doctor]: ...


class Carrier(Protocol):
    """Carries a stored change's effects out, now if possible."""

    async def carry_out(self, outgoing_id: str) -> None: ...


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the doctor asks for. `history_from_seq` shares the talk from there on (G2)."""

    consultation: str
    title: str
    reason: str
    mode: GroupMode
    doctors: tuple[str, ...]
    history_from_seq: int | None = None


class GroupService:
    def __init__(
        self,
        store: GroupStore,
        consultations: ConsultationService,
        doctors: DoctorSource,
        log: LogReader,
        carrier: Carrier,
        channel: Channel,
        room_changed: Callable[[Group], Awaitable[None]],
        clock: Clock,
        policy: GroupPolicy,
    ) -> None:
        self._store = store
        self._consultations = consultations
        self._doctors = doctors
        self._log = log
        self._carrier = carrier
        self._channel = channel
        self._room_changed = room_changed
        self._clock = clock
        self._policy = policy

    async def open(self, caller: Caller, wanted: Wanted) -> dict[str, Any]:
        """Invite doctors, and the patient where he takes part (G1). Raises Forbidden, Conflict."""
        c = await self._consultations.find(wanted.consultation, caller)
        if caller.user != c.doctor.id:
            raise Forbidden
        now = self._clock.now()
        group = self._group(c, wanted, await self._seats(c, wanted), now)
        outgoing = opened(group, case_card(c), await self._history(c, wanted.history_from_seq))
        await self._store.create(group, outgoing)
        await self._carrier.carry_out(outgoing.id)
        return group.to_wire(caller.user)

    def _group(
        self, c: Consultation, wanted: Wanted, seats: tuple[Seat, ...], now: datetime
    ) -> Group:
        group_id = new_id(now)
        return rules.scheduled(
            Group(
                id=group_id, consultation=c.id, source_room=c.room, room=f"g{group_id}",
                title=wanted.title, reason=wanted.reason, mode=wanted.mode, opener=c.doctor,
                patient=c.patient, person=c.person, seats=seats, opened_at=now,
                lapses_at=now + timedelta(seconds=self._policy.invitation_seconds),
            )
        )  # fmt: skip

    async def _seats(self, c: Consultation, wanted: Wanted) -> tuple[Seat, ...]:
        """Give a seat to each doctor, and to the patient where he takes part."""
        ids = list(dict.fromkeys(wanted.doctors))
        if c.doctor.id in ids:
            raise BadRequest.field("doctors", "无需邀请自己")
        if len(ids) > self._policy.doctors_max:
            raise BadRequest.field("doctors", f"最多邀请{self._policy.doctors_max}位医生")
        found = await self._doctors.among(ids)
        if missing := [doctor for doctor in ids if doctor not in found]:
            raise BadRequest.field("doctors", f"没有这位医生：{missing[0]}")
        doctors = (found[doctor] for doctor in ids)
        seats = [Seat(user=d.id, role=Role.DOCTOR, name=d.name, doctor=d.card) for d in doctors]
        if wanted.mode is GroupMode.WITH_PATIENT:
            seats.append(Seat(user=c.patient, role=Role.PATIENT, name=c.patient_name))
        return tuple(seats)

    async def _history(self, c: Consultation, from_seq: int | None) -> list[dict[str, Any]]:
        """Copy what was said from there on, as text; what was recalled is left out (G2)."""
        if from_seq is None:
            return []
        found = await self._log.after(c.room, from_seq - 1, self._policy.history_max)
        if not found:
            return []
        recalled = await self._log.recalled(c.room, found[0].seq, found[-1].seq)
        return [
            {
                "seq": m.seq,
                "role": m.sender.role,
                "name": m.sender.name,
                "text": m.body.get("text") or _PLACEHOLDERS.get(m.kind, ""),
                "at": wire_time(m.at),
            }
            for m in found
            if m.kind in MEMBER_KINDS and m.seq not in recalled
        ]

    async def act(
        self, caller: Caller, group_id: str, action: GroupAction, text: str = ""
    ) -> dict[str, Any]:
        """Let a person move it. Raises Forbidden or Conflict, then nothing has changed."""

        def step(group: Group) -> Group:
            rules.permit(group, action, caller.user)
            if rules.due(group, self._clock.now()):
                raise Conflict
            return rules.move(group, action, self._clock.now(), caller.user, text)

        return (await self._change(group_id, action, step)).to_wire(caller.user)

    async def _change(
        self, group_id: str, action: GroupAction, step: Callable[[Group], Group]
    ) -> Group:
        for _ in range(ATTEMPTS):
            before = await self._store.get(group_id)
            if before is None:
                raise Forbidden
            after = step(before)
            if await self._store_change(before, after, action):
                return after
        raise Unavailable

    async def _store_change(self, before: Group, after: Group, action: GroupAction) -> bool:
        moved = [s for old, s in zip(before.seats, after.seats, strict=True) if old != s]
        seat = moved[0] if moved and action is not GroupAction.LAPSE else None
        outgoing = caused_by(after, action, seat)
        stored = await self._store.replace(before, after, outgoing)
        if stored:
            await self._carrier.carry_out(outgoing.id)
        return stored

    async def look_at(self, group: Group) -> None:
        """Do what its clock asks for."""
        now = self._clock.now()
        action = rules.due(group, now)
        if action is not None:
            await self._store_change(group, rules.move(group, action, now), action)
        elif check_at := rules.scheduled(group).check_at:
            await self._store.postpone(group, check_at)

    async def consultation_over(self, effect: ConsultationOver) -> None:
        """Give the group its last time: so long after its consultation's end (G1)."""
        ends_at = effect.at + timedelta(seconds=self._policy.after_end_seconds)
        for _ in range(ATTEMPTS):
            group = await self._store.live_of(effect.consultation)
            if group is None or group.ends_at == ends_at:
                return
            changed = group.changed(ends_at=ends_at, version=group.version + 1)
            if await self._store.replace(group, rules.scheduled(changed), None):
                return
        raise Unavailable

    async def find(self, caller: Caller, group_id: str) -> dict[str, Any]:
        """Show one to whom it concerns. Raises Forbidden to all others."""
        group = await self._store.get(group_id)
        if group is None or caller.user not in group.users:
            raise Forbidden
        return group.to_wire(caller.user)

    async def page(
        self, caller: Caller, states: list[GroupState] | None, before: str | None, limit: int
    ) -> tuple[list[dict[str, Any]], str | None, dict[str, int]]:
        """List the caller's, newest first: the views, the next cursor, the counts."""
        found = await self._store.page(caller.user, states, before, limit + 1)
        more = found[limit - 1].id if len(found) > limit else None
        views = [group.to_wire(caller.user) for group in found[:limit]]
        return views, more, await self._store.counts(caller.user)

    async def invited(self, effect: GroupInvited) -> None:
        group = await self._store.get(effect.group)
        if group is None:
            return
        for seat in group.seats:
            self._channel.push([seat.user], "group:invited", group.to_wire(seat.user))

    async def updated(self, effect: GroupUpdated) -> None:
        group = await self._store.get(effect.group)
        if group is None:
            return
        for user in group.users:
            self._channel.push([user], "group:updated", group.to_wire(user))
        await self._room_changed(group)
