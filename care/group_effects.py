"""What a step of a group consultation causes: lines, cards, pushes, notices (G1–G3).

Where only doctors take part, nothing of it goes to the consultation's own room: the patient is
there. The group's room has its own chain, which is part of the record.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from care.accounts import Role
from care.effects import Effect, GroupEntered, GroupInvited, GroupUpdated, Line, Outgoing
from care.groups import Group, GroupAction, GroupMode, GroupState, Seat
from care.notices import Notify
from care.record import wire_time
from care.rooms import Kind

INVITATION = "“{name}”医生邀请您加入【{title}】会诊, 进入查看详情"
_OPENED = "{name}医生发起会诊【{title}】，理由：{reason}"
_SAID: Mapping[tuple[Role, GroupAction], str] = {
    (Role.DOCTOR, GroupAction.ACCEPT): "{name}医生加入会诊",
    (Role.DOCTOR, GroupAction.DECLINE): "{name}医生未接受会诊邀请",
    (Role.DOCTOR, GroupAction.JOIN): "{name}医生回到会诊",
    (Role.DOCTOR, GroupAction.LEAVE): "{name}医生离开会诊",
    (Role.DOCTOR, GroupAction.OPINION): "{name}医生提交了会诊意见",
    (Role.PATIENT, GroupAction.JOIN): "患者{name}加入会诊",
    (Role.PATIENT, GroupAction.LEAVE): "患者{name}离开会诊",
}
_LAPSED = "会诊邀请已过期"
_OVER: Mapping[GroupState, str] = {
    GroupState.CONCLUDED: "会诊已结束",
    GroupState.CANCELLED: "会诊已取消",
}


def opened(group: Group, case: dict[str, Any], history: list[dict[str, Any]]) -> Outgoing:
    """List what the opening causes; `history` is what is shared of the talk, if anything."""
    said = _OPENED.format(name=group.opener.name, title=group.title, reason=group.reason)
    effects: list[Effect] = [_line(group, "case", Kind.CARD, case)]
    if history:
        effects.append(_line(group, "history", Kind.CARD, {"card": "history", "messages": history}))
    effects.append(_line(group, "opened", Kind.SYSTEM, {"text": said}))
    if group.mode is GroupMode.WITH_PATIENT:
        text = INVITATION.format(name=group.opener.name, title=group.title)
        card = {"card": "group_invitation", "group": group.id, "title": group.title, "text": text}
        effects.append(_beside(group, "invitation", card))
    effects += [GroupInvited(group=group.id), GroupUpdated(group=group.id)]
    effects += [_invitation(group, seat) for seat in group.seats]
    return _outgoing(group, effects)


def caused_by(group: Group, action: GroupAction, seat: Seat | None) -> Outgoing:
    """List what a step causes; `seat` is whose it was, if anybody's."""
    effects: list[Effect] = []
    if seat is not None:
        said = _SAID[seat.role, action].format(name=seat.name)
        body = {"text": said, "group": group.id, "user": seat.user, "step": action.value}
        effects.append(_line(group, action.value, Kind.SYSTEM, body))
    elif action is GroupAction.LAPSE:
        effects.append(_line(group, "lapsed", Kind.SYSTEM, {"text": _LAPSED}))
    if not group.live:
        effects += _closing(group)
    effects.append(GroupUpdated(group=group.id))
    if seat is not None and action in {GroupAction.ACCEPT, GroupAction.JOIN}:
        effects.append(GroupEntered(room=group.room, user=seat.user))
    return _outgoing(group, effects)


def _closing(group: Group) -> Sequence[Effect]:
    text = _OVER[group.state]
    if group.state is GroupState.CANCELLED:
        reason = {"reason": group.conclusion} if group.conclusion else {}
        return [_line(group, "over", Kind.SYSTEM, {"text": text, **reason})]
    card = {
        "card": "group_conclusion",
        "group": group.id,
        "title": group.title,
        "text": text,
        "conclusion": group.conclusion,
        "opinions": [
            {"name": seat.name, "text": seat.opinion} for seat in group.doctors if seat.opinion
        ],
    }
    lines: list[Effect] = [_line(group, "over", Kind.CARD, card)]
    if group.mode is GroupMode.WITH_PATIENT:
        lines.append(_beside(group, "conclusion", card))
    return lines


def _line(group: Group, key: str, kind: Kind, body: dict[str, Any]) -> Line:
    return Line(
        room=group.room, key=f"{key}:{group.version}", kind=kind, body=body,
        version=group.version, members=group.members,
        writers=group.members if group.live else (),
    )  # fmt: skip


def _beside(group: Group, key: str, card: dict[str, Any]) -> Line:
    """Write into the consultation's room, where the patient reads it."""
    return Line(room=group.source_room, key=f"group:{group.id}:{key}", kind=Kind.CARD, body=card)


def _invitation(group: Group, seat: Seat) -> Notify:
    return Notify(
        user=seat.user,
        key=f"group_invited:{group.id}:{seat.user}",
        template="group_invited" if seat.role is Role.DOCTOR else "group_opened",
        values={
            "service": "会诊",
            "doctor": group.opener.name,
            "at": wire_time(group.opened_at),
            "note": group.title[:20],
        },
    )


def _outgoing(group: Group, effects: Sequence[Effect]) -> Outgoing:
    return Outgoing(id=f"group:{group.id}:{group.version:06d}", effects=tuple(effects))
