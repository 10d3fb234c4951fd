"""What each side of a call does: ring, accept, be there, come back, negotiate (V1–V3, V5).

Pure functions of the record, the side and the time, as the call's table is.
"""

from collections.abc import Collection
from datetime import datetime, timedelta

from care.accounts import Role
from care.calls import (
    ENOUGH,
    Call,
    CallAction,
    CallState,
    Media,
    Party,
    Path,
    SideState,
    deadline,
    move,
    scheduled,
)
from care.consultation import Consultation, Mode, State
from care.errors import Conflict, Forbidden
from care.groups import Group
from care.policy import CallPolicy, Relaying
from care.record import new_id

SIDES_MAX = 4


def ring(
    consultation: Consultation, doctor: Party, media: Media, now: datetime, policy: CallPolicy
) -> Call:
    """Let the consultation's doctor call its patient. Raises Forbidden or Conflict (V1)."""
    c = consultation
    if c.doctor.id != doctor.user:
        raise Forbidden
    if c.mode is Mode.TEXT:
        raise Conflict("图文问诊不支持语音或视频通话")
    if c.mode is Mode.VOICE and media is Media.VIDEO:
        raise Conflict("语音问诊只能发起语音通话")
    if c.state is State.AWAITING_DOCTOR and c.slot:
        if now < c.slot.starts_at - timedelta(seconds=policy.early_seconds):
            raise Conflict("还没有到预约时间")
    elif c.state is not State.IN_PROGRESS:
        raise Conflict
    patient = Party(user=c.patient, role="patient", name=c.patient_name)
    call = Call(
        id=new_id(now), room=c.room, consultation=c.id, media=media,
        state=CallState.RINGING, parties=(doctor, patient), started_at=now,
        mode=Path.RELAY if policy.relay is Relaying.ALWAYS else Path.DIRECT,
    )  # fmt: skip
    return scheduled(call, policy)


def ring_group(
    group: Group, doctor: Party, media: Media, now: datetime, policy: CallPolicy
) -> Call:
    """Let a doctor of a group consultation call all who are in its room (G4, V1).

    Raises Forbidden; Conflict, also where nobody else is there, or too many are.
    """
    _may_call(group, doctor.user)
    if policy.relay is Relaying.NEVER:
        raise Conflict("会诊内的通话需要服务器转发，本院未开通")
    call = Call(
        id=new_id(now), room=group.room, consultation=group.consultation, group=group.id,
        media=media, state=CallState.RINGING, parties=(doctor, *_others(group, {doctor.user})),
        started_at=now, mode=Path.RELAY,
    )  # fmt: skip
    return scheduled(_counted(call), policy)


def ring_again(call: Call, group: Group, doctor: Party, now: datetime, policy: CallPolicy) -> Call:
    """Let a doctor into the group's call, and ring all in its room who haven't heard of it yet.

    Who declined or left knows the way.
    """
    _may_call(group, doctor.user)
    asked = {party.user for party in call.parties if party.out is not SideState.MISSED}
    rung = _others(group, asked | {doctor.user})
    own = () if doctor.user in {party.user for party in call.inside} else (doctor,)
    anew = {party.user: party for party in (*rung, *own)}
    stay = tuple(party for party in call.parties if party.user not in anew)
    after = _counted(call.changed(parties=(*stay, *anew.values())))
    if own:
        after = move(after, CallAction.ACCEPT, now, policy)
    return scheduled(after.changed(rung_at=now, version=call.version + 1), policy)


def ring_late(call: Call, group: Group, user: str, now: datetime, policy: CallPolicy) -> Call:
    """Ring somebody who came into the room while its group's call runs, if there is a place.

    Who declined or left knows the way.
    """
    asked = {party.user for party in call.parties if party.out is not SideState.MISSED}
    rung = tuple(party for party in _others(group, asked) if party.user == user)
    full = len(call.engaged) >= SIDES_MAX
    if not rung or full or not (call.live and group.live):
        return call
    stay = tuple(party for party in call.parties if party.user != user)
    after = call.changed(parties=(*stay, *rung), rung_at=now, version=call.version + 1)
    return scheduled(after, policy)


def accept(call: Call, side: Party, now: datetime, policy: CallPolicy) -> Call:
    """Let this device of a side take the call; the grace of it and of who called begins."""
    if call.party(side.user).inside:
        raise Conflict
    if call.state is CallState.RINGING:
        due = deadline(call, policy)
        if due is not None and due <= now:
            raise Conflict("通话已无人接听")
        call = call.with_party(call.starter.changed(seen_at=now))
    # whoever left a group's call, or missed it, may come later
    side = side.changed(seen_at=now, out=None, gone=False)
    return move(call.with_party(side), CallAction.ACCEPT, now, policy)


def resume(
    call: Call,
    user: str,
    connection: str,
    device_id: str,
    now: datetime,
    policy: CallPolicy,
    *,
    fresh: bool,
) -> Call:
    """Bind a side to a new connection (V5). Raises Forbidden, Conflict.

    `fresh`: its media is lost, so both sides begin anew. Another device may come back in the place
    of one that is gone, and of no other.
    """
    party = call.party(user)
    if not call.live:
        raise Conflict("通话已结束")
    if party.connection is None:
        # still rung, or never in it: there is nothing to come back to
        return call
    if party.device_id != device_id and not party.gone:
        raise Conflict("通话正在您的其他设备上进行")
    back = party.changed(
        connection=connection, device_id=device_id, gone=False, seen_at=now, out=None,
        connected=party.connected and not fresh,
    )  # fmt: skip
    after = call.with_party(back.changed(described=back.described and not fresh))
    # the relay's other sides go on as they are
    if fresh and not call.relayed:
        after = _anew(after)
    return scheduled(after.changed(version=call.version + 1), policy)


def lose(call: Call, user: str, now: datetime) -> Call:
    """Note that a side's connection is gone: from now on it may come back for a while."""
    party = call.party(user).changed(gone=True, seen_at=now)
    return call.with_party(party).changed(version=call.version + 1)


def hear(call: Call, user: str, now: datetime, policy: CallPolicy, link: str) -> Call:
    """Note that a side is there, and how its media fare; both connected is connected (V2)."""
    party = call.party(user).changed(seen_at=now, connected=link == "connected")
    after = call.with_party(party)
    if _finds_no_way(call, link, now, policy):
        return relay(after)
    connected = sum(side.connected for side in after.inside)
    if call.state is CallState.CONNECTING and connected >= ENOUGH:
        return move(after, CallAction.CONNECT, now, policy)
    return after.changed(version=call.version + 1)


def offer(call: Call, user: str) -> Call:
    """Let a side offer. Both may at once: the polite one then takes its own back (V3)."""
    _is_direct(call)
    return _described(call, user, offers=tuple({*call.offers, user}))


def answer(call: Call, user: str) -> Call:
    """Let a side answer the other's offer. Raises Conflict where there is none."""
    _is_direct(call)
    if not any(other.user in call.offers for other in call.others(user)):
        raise Conflict("没有等待应答的邀请")
    return _described(call, user, offers=())


def relay(call: Call) -> Call:
    """Bring the media onto the way through the server: all sides begin anew."""
    if call.relayed:
        return call
    return _anew(call).changed(mode=Path.RELAY, version=call.version + 1)


def place(call: Call, worker: str) -> Call:
    """Have a media worker run it."""
    return call.changed(worker=worker, version=call.version + 1)


def displace(call: Call, worker: str) -> Call:
    """Let all sides begin anew, elsewhere, where this worker ran it."""
    if not call.live or call.worker != worker:
        return call
    return _anew(call).changed(worker=None, version=call.version + 1)


def join(call: Call, user: str) -> Call:
    """Note that the relay answered a side's offer."""
    return _described(call, user, offers=())


def speaks_for(call: Call, user: str, connection: str) -> None:
    """Refuse all but the two devices in a live call. Raises Forbidden, Conflict."""
    party = call.party(user)
    if party.connection != connection:
        raise Forbidden
    if not call.live or party.out is not None:
        raise Conflict("通话已结束")


def _may_call(group: Group, user: str) -> None:
    if not group.has_member(user):
        raise Forbidden
    if not group.live:
        raise Conflict("会诊已结束")


def _others(group: Group, but: Collection[str]) -> tuple[Party, ...]:
    """Give those in the group's room who are to be rung."""
    opener = Party(user=group.opener.id, role=Role.DOCTOR.value, name=group.opener.name)
    seats = [
        Party(user=seat.user, role=seat.role.value, name=seat.name)
        for seat in group.seats
        if group.has_member(seat.user)
    ]
    return tuple(party for party in (opener, *seats) if party.user not in but)


def _counted(call: Call) -> Call:
    """Refuse a call of too few or too many."""
    if len(call.engaged) < ENOUGH:
        raise Conflict("会诊室里没有其他人可以呼叫")
    if len(call.engaged) > SIDES_MAX:
        raise Conflict(f"会诊通话最多{SIDES_MAX}方")
    return call


def _finds_no_way(call: Call, link: str, now: datetime, policy: CallPolicy) -> bool:
    """Tell whether a side's media should go through the server, because they go no other way."""
    if call.relayed or policy.relay is not Relaying.FALLBACK or call.accepted_at is None:
        return False
    patience = timedelta(seconds=policy.direct_seconds)
    connecting = call.state is CallState.CONNECTING and link != "connected"
    return link == "failed" or (connecting and now - call.accepted_at >= patience)


def _anew(call: Call) -> Call:
    sides = tuple(side.changed(described=False, connected=False) for side in call.parties)
    return call.changed(parties=sides, generation=call.generation + 1, offers=())


def _is_direct(call: Call) -> None:
    """Refuse what one side says to another's old connection. Raises Conflict."""
    if call.relayed:
        raise Conflict


def _described(call: Call, user: str, offers: tuple[str, ...]) -> Call:
    if call.state not in {CallState.CONNECTING, CallState.CONNECTED}:
        raise Conflict
    after = call.with_party(call.party(user).changed(described=True))
    return after.changed(offers=offers, version=call.version + 1)
