"""Calls: ringing, accepting, coming back, ending (V1, V2, V5, V6, V9).

Every change is one conditional write; the database is the truth, and pushes only tell of it.
"""

from collections.abc import Collection, Mapping
from functools import partial
from typing import Any, Protocol

import structlog

from care import call_recording
from care import call_sides as sides
from care import calls as rules
from care.accounts import Caller
from care.call_effects import caused_by, question, rung
from care.calls import Call, CallAction, Device, Media, Party
from care.consultation import Consultation
from care.effects import GroupEntered, Outgoing
from care.errors import Conflict, Forbidden
from care.groups import Group
from care.policy import CallPolicy
from care.ports import Channel, Clock
from signalling.changes import CallChanges, CallStore, Causes
from signalling.turn import IceServers

logger = structlog.get_logger(__name__)

Answer = dict[str, Any]


class Consultations(Protocol):
    async def of_room(self, room: str) -> Consultation | None: ...


class Groups(Protocol):
    async def of_room(self, room: str) -> Group | None: ...


class CallService:
    def __init__(
        self,
        store: CallStore,
        changes: CallChanges,
        consultations: Consultations,
        groups: Groups,
        channel: Channel,
        ice: IceServers,
        clock: Clock,
        policy: CallPolicy,
        consent_version: str,
    ) -> None:
        """`consent_version` is that of the text by which sides agree to a recording."""
        self._store = store
        self._changes = changes
        self._consultations = consultations
        self._groups = groups
        self._channel = channel
        self._ice = ice
        self._clock = clock
        self._policy = policy
        self._consent_version = consent_version

    async def start(
        self,
        caller: Caller,
        connection: str,
        device_id: str,
        room: str,
        media: Media,
        *,
        record: bool = False,
    ) -> Answer:
        """Ring the patient on every device. Raises Forbidden, Conflict.

        `record`: the doctor asks for a recording with it.
        """
        now = self._clock.now()
        doctor = Party(
            user=caller.user, role=caller.role.value, name=caller.name,
            connection=connection, device_id=device_id, seen_at=now,
        )  # fmt: skip
        if consultation := await self._consultations.of_room(room):
            call = sides.ring(consultation, doctor, media, now, self._policy)
        elif group := await self._groups.of_room(room):
            if running := await self._store.live_in(room):
                return await self._ring_again(running.id, group, doctor)
            call = sides.ring_group(group, doctor, media, now, self._policy)
        else:
            raise Forbidden
        outgoing = rung(call)
        if record:
            call = call_recording.consent(call, caller.user, self._policy, agrees=True)
            outgoing = outgoing.changed(
                effects=[*outgoing.effects, *self._consented(call, caller, agrees=True).effects]
            )
        await self._store.create(call, outgoing)
        self._ring(call)
        self._changes.carry(outgoing)
        return self._with_ice(call, caller.user)

    async def _ring_again(self, call_id: str, group: Group, doctor: Party) -> Answer:
        """Join the group's call, and ring those who are not in it."""

        def step(call: Call) -> Call:
            return sides.ring_again(call, group, doctor, self._clock.now(), self._policy)

        call = await self._changes.change(call_id, step, causes=rung)
        self._ring(call)
        return self._with_ice(call, doctor.user)

    async def entered(self, effect: GroupEntered) -> None:
        """Ring who comes into the room of a running call (G4)."""
        running = await self._store.live_in(effect.room)
        group = await self._groups.of_room(effect.room)
        if running is None or group is None:
            return

        def step(call: Call) -> Call:
            return sides.ring_late(call, group, effect.user, self._clock.now(), self._policy)

        try:
            call = await self._changes.change(running.id, step, partial(rung, users=[effect.user]))
        except Conflict:
            return  # he is in another call
        self._ring(call, [effect.user])

    async def accept(self, caller: Caller, connection: str, device_id: str, call_id: str) -> Answer:
        """Take the call on this device; the others stop ringing (V1)."""

        def step(call: Call) -> Call:
            rules.permit(call, CallAction.ACCEPT, caller.user)
            side = call.party(caller.user).changed(connection=connection, device_id=device_id)
            return sides.accept(call, side, self._clock.now(), self._policy)

        call = await self._changes.change(call_id, step, _caused_by(CallAction.ACCEPT))
        return self._with_ice(call, caller.user)

    async def decline(self, caller: Caller, call_id: str) -> Answer:
        return await self._act(caller, call_id, CallAction.DECLINE)

    async def cancel(self, caller: Caller, call_id: str) -> Answer:
        return await self._act(caller, call_id, CallAction.CANCEL)

    async def hang_up(self, caller: Caller, call_id: str) -> Answer:
        return await self._act(caller, call_id, CallAction.HANG_UP)

    async def _act(self, caller: Caller, call_id: str, action: CallAction) -> Answer:
        """Let a person move it. Raises Forbidden or Conflict, then nothing has changed."""

        def step(call: Call) -> Call:
            rules.permit(call, action, caller.user)
            return rules.move(call, action, self._clock.now(), self._policy, by=caller.user)

        call = await self._changes.change(call_id, step, _caused_by(action))
        return {"call": call.to_wire(caller.user)}

    async def resume(
        self, caller: Caller, connection: str, device_id: str, call_id: str, *, fresh: bool
    ) -> Answer:
        """Come back to a call after a reload or a lost socket (V5)."""

        def step(call: Call) -> Call:
            now = self._clock.now()
            return sides.resume(
                call, caller.user, connection, device_id, now, self._policy, fresh=fresh
            )

        return self._with_ice(await self._changes.change(call_id, step), caller.user)

    async def set_media(
        self, caller: Caller, connection: str, call_id: str, mic: Device, camera: Device
    ) -> None:
        """Show the other side what is muted, off or blocked (V7)."""

        def step(call: Call) -> Call:
            sides.speaks_for(call, caller.user, connection)
            party = call.party(caller.user).changed(mic=mic, camera=camera)
            return call.with_party(party).changed(version=call.version + 1)

        call = await self._changes.change(call_id, step, tell=False)
        data = {"call": call.id, "user": caller.user, "mic": mic.value, "camera": camera.value}
        self._channel.push(call.users, "call:media", data, skip=connection)

    async def consent(
        self, caller: Caller, connection: str, call_id: str, *, agrees: bool
    ) -> Answer:
        """Let a side agree to a recording, or take that back (V8)."""
        was_recorded = False

        def step(call: Call) -> Call:
            nonlocal was_recorded
            sides.speaks_for(call, caller.user, connection)
            was_recorded = call.recording_id is not None
            return call_recording.consent(call, caller.user, self._policy, agrees=agrees)

        def causes(call: Call) -> Outgoing:
            return self._consented(call, caller, agrees=agrees, was_recorded=was_recorded)

        call = await self._changes.change(call_id, step, causes)
        return {"call": call.to_wire(caller.user)}

    def _consented(
        self, call: Call, caller: Caller, *, agrees: bool, was_recorded: bool = False
    ) -> Outgoing:
        return call_recording.consented(
            call, caller.user, self._consent_version, agrees=agrees, was_recorded=was_recorded
        )

    async def hear(self, caller: Caller, connection: str, call_id: str, link: str) -> None:
        """Note that a side is there; its first word of flowing media may connect the call."""

        def step(call: Call) -> Call:
            sides.speaks_for(call, caller.user, connection)
            return sides.hear(call, caller.user, self._clock.now(), self._policy, link)

        await self._changes.change(call_id, step, tell=False)

    async def find(self, call_id: str, user: str) -> Call:
        """Give a call to one of its own. Raises Forbidden to all others."""
        call = await self._store.get(call_id)
        if call is None:
            raise Forbidden
        call.party(user)
        return call

    async def came(self, user: str, connection: str) -> None:
        """Ring a device that comes while its user is rung."""
        call = await self._store.live_of(user)
        if call and call.party(user).rung:
            self._channel.push([user], "call:incoming", _incoming(call, user), only=connection)

    async def left(self, user: str, connection: str) -> None:
        """Show the other side that this one's connection is gone (V5)."""

        def step(call: Call) -> Call:
            # meanwhile it may have ended, or gone on over another connection
            if not call.live or call.party(user).connection != connection:
                return call
            return sides.lose(call, user, self._clock.now())

        if call := await self._store.live_of(user):
            await self._changes.change(call.id, step)

    async def look_at(self, call: Call) -> None:
        """Do what the clock asks: end it, count it as a talk, or look again later."""
        now = self._clock.now()
        action = rules.due(call, now, self._policy)
        if action is None:
            if check_at := rules.next_check(call, self._policy):
                await self._store.postpone(call, check_at)
            return
        after = rules.move(call, action, now, self._policy)
        await self._changes.apply(call, after, _caused_by(action))
        await self._changes.settle()

    def _ring(self, call: Call, users: Collection[str] | None = None) -> None:
        """Ring all who are to be rung, or some of them."""
        logger.info("call_rings", call=call.id, state=call.state.value)
        for party in call.parties:
            if party.rung and (users is None or party.user in users):
                self._channel.push([party.user], "call:incoming", _incoming(call, party.user))

    def _with_ice(self, call: Call, user: str) -> Answer:
        servers = self._ice.give(call.id, user, self._clock.now())
        return {"call": call.to_wire(user), "ice_servers": servers}


def _caused_by(action: CallAction) -> Causes:
    return partial(caused_by, action=action)


def _incoming(call: Call, user: str) -> Mapping[str, Any]:
    return {"call": call.to_wire(user), "text": question(call)}
