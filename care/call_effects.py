"""What a move of a call causes: its line in the room, its notices, and what the order learns."""

from collections.abc import Collection, Mapping

from care.calls import Call, CallAction, CallState, EndReason, Media, Party
from care.effects import CallNoted, Effect, Line, Outgoing
from care.notices import Notify
from care.record import wire_time
from care.rooms import Kind

_MEDIA: Mapping[Media, str] = {Media.AUDIO: "语音", Media.VIDEO: "视频"}
_RINGS = "您有新的{media}通话，是否接听？"
_LASTED = "{media}问诊时长 {duration}"
_UNCONNECTED: Mapping[EndReason, str] = {
    EndReason.DECLINED: "患者拒绝了{media}通话",
    EndReason.MISSED: "{media}通话无人接听",
    EndReason.CANCELLED: "医生取消了{media}通话",
}
UNANSWERED = frozenset({EndReason.MISSED, EndReason.DECLINED})
"""Who was called so and did not come has missed it himself (B6)."""
_FAILED = "{media}通话未能接通"
_GROUPS: Mapping[EndReason, str] = {
    EndReason.DECLINED: "会诊{media}通话无人接听",
    EndReason.MISSED: "会诊{media}通话无人接听",
    EndReason.CANCELLED: "会诊{media}通话已取消",
}
_GROUP_LASTED = "{media}会诊时长 {duration}"
_GROUP_FAILED = "会诊{media}通话未能接通"


def question(call: Call) -> str:
    """Ask who is rung, in the manual's words (V1)."""
    return _RINGS.format(media=_MEDIA[call.media])


def summary(call: Call) -> str:
    """Say in one line how the call went (V6, V10)."""
    media = _MEDIA[call.media]
    if call.counted:
        seconds = int(call.duration.total_seconds())
        duration = f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
        lasted = _GROUP_LASTED if call.group else _LASTED
        return lasted.format(media=media, duration=duration)
    texts, failed = (_GROUPS, _GROUP_FAILED) if call.group else (_UNCONNECTED, _FAILED)
    return texts.get(call.end_reason or EndReason.FAILED, failed).format(media=media)


def rung(call: Call, users: Collection[str] | None = None) -> Outgoing:
    """List what the ringing's begin causes, with all who are rung or some of them."""
    parties = [p for p in call.parties if p.rung and (users is None or p.user in users)]
    return _outgoing(call, *(_notice(call, p, "incoming_call", question(call)) for p in parties))


def caused_by(call: Call, action: CallAction) -> Outgoing | None:
    """List what a move causes."""
    # a group's call is not the consultation that was booked
    noted: list[Effect] = (
        [] if call.group else [CallNoted(consultation=call.consultation, connected=call.counted)]
    )
    if action is CallAction.COUNT:
        return _outgoing(call, *noted) if noted else None
    if call.state is not CallState.ENDED:
        return None
    # noted before the line is written: the line belongs to a talk that has begun
    effects = noted if call.counted or call.end_reason in UNANSWERED else []
    effects.append(_line(call))
    if call.end_reason is EndReason.MISSED:
        missed = (party for party in call.parties if party.connection is None)
        effects += [_notice(call, party, "missed_call", summary(call)) for party in missed]
    return _outgoing(call, *effects)


def _outgoing(call: Call, *effects: Effect) -> Outgoing:
    return Outgoing(id=f"call:{call.id}:{call.version:06d}", effects=effects)


def _line(call: Call) -> Line:
    seconds = int(call.duration.total_seconds()) if call.counted else 0
    body = {"text": summary(call), "call": call.id, "duration_s": seconds}
    return Line(room=call.room, key=f"call:{call.id}", kind=Kind.SYSTEM, body=body)


def _notice(call: Call, callee: Party, template: str, text: str) -> Notify:
    values = {
        "service": f"{_MEDIA[call.media]}{'会诊' if call.group else '问诊'}",
        "doctor": call.starter.name,
        "called_at": wire_time(call.started_at),
        "note": text,
    }
    # a group's may ring somebody twice
    key = f"{template}:{call.id}" + (f":{callee.user}:{call.version}" if call.group else "")
    return Notify(user=callee.user, key=key, template=template, values=values)
