"""Whether a call is recorded: asked for by a doctor, with the consent of every side in it (V8).

Pure functions of the record, as the call's table is. What a recording holds is in `recordings`.
"""

from datetime import datetime
from typing import Any

from care.accounts import Role
from care.call_sides import relay
from care.calls import ENOUGH, Call
from care.effects import Line, Outgoing
from care.errors import Conflict
from care.policy import CallPolicy, Relaying
from care.record import new_id
from care.rooms import Kind


def consent(call: Call, user: str, policy: CallPolicy, *, agrees: bool) -> Call:
    """Let a side agree to being recorded, or not; a doctor's agreement asks the others.

    Raises Conflict where no doctor has asked.
    """
    after = call.changed(version=call.version + 1)
    if not agrees:
        if call.recording_asked_by is None:
            return call
        return after.changed(recording_asked_by=None, consents=())
    if policy.relay is Relaying.NEVER:
        raise Conflict("本院未开通通话录制")
    if call.recording_asked_by is None:
        if call.party(user).role != Role.DOCTOR:
            raise Conflict("医生没有请求录制")
        after = after.changed(recording_asked_by=user)
    elif user in call.consents:
        return call
    return after.changed(consents=(*after.consents, user))


def settled(call: Call, now: datetime) -> Call:
    """Return the call with a recording exactly where every side in it agrees to one.

    Its media then go through the server.
    """
    inside = [party.user for party in call.inside]
    wanted = (
        call.live
        and call.recording_asked_by is not None
        and len(inside) >= ENOUGH
        and set(call.consents).issuperset(inside)
    )
    if wanted and call.recording_id is None:
        return relay(call).changed(recording_id=new_id(now))
    if not wanted and call.recording_id is not None:
        return call.changed(recording_id=None, recording=False)
    return call


def failed(call: Call, recording: str) -> Call:
    """Give up a recording that can't go on; a doctor may ask again."""
    if call.recording_id != recording:
        return call
    return call.changed(
        recording_id=None, recording=False, recording_asked_by=None, consents=(),
        version=call.version + 1,
    )  # fmt: skip


def runs(call: Call, recording: str) -> Call:
    """Note that it is recorded indeed: from now on every side is shown so."""
    if call.recording_id != recording or call.recording:
        return call
    return call.changed(recording=True, version=call.version + 1)


def consented(call: Call, user: str, version: str, *, agrees: bool, was_recorded: bool) -> Outgoing:
    """List what a side's word causes: it is kept in the room's record."""
    name = call.party(user).name
    if agrees:
        asks = call.recording_asked_by == user
        text = f"{name}请求录制通话" if asks else f"{name}同意录制通话"
    elif was_recorded:
        text = f"{name}不再同意录制，录制已停止"
    else:
        text = f"{name}不同意录制通话"
    said = {"user": user, "record": agrees, "version": version}
    return _line(call, text, {"consent": said})


def stopped(call: Call, problem: str) -> Outgoing:
    """List what it causes that a recording could not go on."""
    return _line(call, problem, {})


def _line(call: Call, text: str, more: dict[str, Any]) -> Outgoing:
    key = f"call:{call.id}:{call.version:06d}:recording"
    body = {"text": text, "call": call.id, **more}
    return Outgoing(id=key, effects=[Line(room=call.room, key=key, kind=Kind.SYSTEM, body=body)])
