"""Calls: ringing, accepting, coming back, ending (V1, V2, V5, V6, V9).

Every change is one conditional write; the database is the truth, and pushes only tell of it.
"""

import asyncio
from collections.abc import Callable, Collection, Mapping
from datetime import datetime
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
from care.errors import Conflict, Forbidden, Unavailable
from care.groups import Group
from care.policy import CallPolicy
from care.ports import Channel, Clock
from signalling.turn import IceServers

ATTEMPTS = 10
"""How often a change is tried again after losing to another; each loss means the other one won."""

logger = structlog.get_logger(__name__)

Answer = dict[str, Any]
Causes = Callable[[Call], Outgoing | None]


class CallStore(Protocol):
    """Keeps calls. A user is in one live call at most; `replace` says whether it was stored."""

    async def create(self, call: Call, outgoing: Outgoing) -> None: ...

    async def replace(self, before: Call, after: Call, outgoing: Outgoing | None) -> bool: ...

    async def postpone(self, call: Call, check_at: datetime) -> None: ...

    async def get(self, call_id: str) -> Call | None: ...

    async def live_of(self, user: str) -> Call | None: ...

    async def live_in(self, room: str) -> Call | None: ...

    async def claim_due(self, now: datetime, until: datetime) -> Call | None: ...

    async def next_check(self) -> datetime | None: ...


class Consultations(Protocol):
    async def of_room(self, room: str) -> Consultation | None: ...


class Groups(Protocol):
    async def of_room(self, room: str) -> Group | None: ...


class Carrier(Protocol):
    """Carries a stored change's effects out, now if possible."""

    async def carry_out(self, outgoing_id: str) -> None: ...


class CallService:
    def __init__(
        self,
        store: CallStore,
        consultations: Consultations,
        groups: Groups,
        carrier: Carrier,
        channel: Channel,
        ice: IceServers,
        clock: Clock,
        policy: CallPolicy,
        consent_version: str,
        changed: Callable[[Call, Call], None],
    ) -> None:
        """`changed` is told of each change at once, in this process: what was, and what is.

        `consent_version` is that of the text by which sides agree to a recording.
        """
        self._store = store
        self._consultations = consultations
        self._groups = groups
        self._carrier = carrier
        self._channel = channel
        self._ice = ice
        self._clock = clock
        self._policy = policy
        self._consent_version = consent_version
        self._changed = changed
        self._carried: set[asyncio.Task[None]] = set()

    async def settle(self) -> None:
        """Wait for what calls have just caused; what is left is the outbox's."""
        await asyncio.gather(*self._carried)

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
        self._carry(outgoing)
        return self._with_ice(call, caller.user)

    async def _ring_again(self, call_id: str, group: Group, doctor: Party) -> Answer:
        """Join the group's call, and ring those who are not in it."""

        def step(call: Call) -> Call:
            return sides.ring_again(call, group, doctor, self._clock.now(), self._policy)

        call = await self.change(call_id, step, causes=rung)
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
            call = await self.change(running.id, step, partial(rung, users=[effect.user]))
        except Conflict:
            return  # he is in another call
        self._ring(call, [effect.user])

    async def accept(self, caller: Caller, connection: str, device_id: str, call_id: str) -> Answer:
        """Take the call on this device; the others stop ringing (V1)."""

        def step(call: Call) -> Call:
            rules.permit(call, CallAction.ACCEPT, caller.user)
            side = call.party(caller.user).changed(connection=connection, device_id=device_id)
            return sides.accept(call, side, self._clock.now(), self._policy)

        call = await self.change(call_id, step, _caused_by(CallAction.ACCEPT))
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

        call = await self.change(call_id, step, _caused_by(action))
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

        return self._with_ice(await self.change(call_id, step), caller.user)

    async def set_media(
        self, caller: Caller, connection: str, call_id: str, mic: Device, camera: Device
    ) -> None:
        """Show the other side what is muted, off or blocked (V7)."""

        def step(call: Call) -> Call:
            sides.speaks_for(call, caller.user, connection)
            party = call.party(caller.user).changed(mic=mic, camera=camera)
            return call.with_party(party).changed(version=call.version + 1)

        call = await self.change(call_id, step, tell=False)
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

        call = await self.change(call_id, step, causes)
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

        await self.change(call_id, step, tell=False)

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
            await self.change(call.id, step)

    async def look_at(self, call: Call) -> None:
        """Do what the clock asks: end it, count it as a talk, or look again later."""
        now = self._clock.now()
        action = rules.due(call, now, self._policy)
        if action is None:
            if check_at := rules.next_check(call, self._policy):
                await self._store.postpone(call, check_at)
            return
        after = call_recording.settled(rules.move(call, action, now, self._policy), now)
        await self._store_change(call, after, _caused_by(action))
        await self.settle()

    async def change(
        self,
        call_id: str,
        step: Callable[[Call], Call],
        causes: Causes = lambda _call: None,
        *,
        tell: bool = True,
    ) -> Call:
        """Change a call as it is now, and have what it `causes` carried out.

        Raises Unavailable when others always came first.
        """
        for _ in range(ATTEMPTS):
            before = await self._store.get(call_id)
            if before is None:
                raise Forbidden
            after = step(before)
            if after is not before:
                after = call_recording.settled(after, self._clock.now())
            if after is before or await self._store_change(before, after, causes, tell=tell):
                return after
        raise Unavailable

    async def _store_change(
        self, before: Call, after: Call, causes: Causes, *, tell: bool = True
    ) -> bool:
        outgoing = causes(after)
        stored = await self._store.replace(before, after, outgoing)
        if stored:
            self._changed(before, after)
            if tell or _differ(before, after):
                self._tell(before, after)
            if outgoing:
                self._carry(outgoing)
        return stored

    def _carry(self, outgoing: Outgoing) -> None:
        """Have the effects carried out, for which nobody in a call waits."""
        task = asyncio.create_task(self._carrier.carry_out(outgoing.id))
        self._carried.add(task)
        task.add_done_callback(self._carried.discard)

    def _tell(self, before: Call, after: Call) -> None:
        if after.state is not before.state:
            logger.info(
                "call_moved", call=after.id, old=before.state.value, new=after.state.value,
                reason=after.end_reason and after.end_reason.value,
            )  # fmt: skip
        for user in after.users:
            self._channel.push([user], "call:updated", {"call": after.to_wire(user)})

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


def _differ(before: Call, after: Call) -> bool:
    """Tell whether every side must learn of the change, whatever caused it."""
    return after.state is not before.state or after.generation != before.generation


def _incoming(call: Call, user: str) -> Mapping[str, Any]:
    return {"call": call.to_wire(user), "text": question(call)}
