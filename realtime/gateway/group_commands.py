"""The group consultations' rows of the command table."""

from collections.abc import Mapping
from typing import Any

from care.accounts import Role
from care.groups import GroupAction, GroupMode
from realtime.gateway import payloads as p
from realtime.gateway.connections import Connection
from realtime.gateway.table import Command
from realtime.rooms.groups import GroupService, Wanted

DOCTOR = frozenset({Role.DOCTOR})
PARTIES = frozenset({Role.DOCTOR, Role.PATIENT})


class GroupCommands:
    """Join the group consultations' use cases to their rows."""

    def __init__(self, groups: GroupService) -> None:
        self._groups = groups

    def table(self) -> list[Command[Any]]:
        return [
            Command(
                "group:open",
                p.OpenGroup,
                self.open,
                DOCTOR,
                "Open a group consultation (会诊) and invite (G1); answers `group`",
            ),
            Command(
                "group:accept",
                p.OneGroup,
                self.accept,
                DOCTOR,
                "Accept the invitation and enter its room; answers `group`",
            ),
            Command(
                "group:decline",
                p.OneGroup,
                self.decline,
                DOCTOR,
                "Decline the invitation; answers `group`",
            ),
            Command(
                "group:join",
                p.OneGroup,
                self.join,
                PARTIES,
                "The patient opens his invitation, or one who left returns; answers `group`",
            ),
            Command(
                "group:leave",
                p.OneGroup,
                self.leave,
                PARTIES,
                "Leave its room; answers `group`",
            ),
            Command(
                "group:opinion",
                p.GroupOpinion,
                self.opinion,
                DOCTOR,
                "File one's opinion (会诊意见), or replace it (G3); answers `group`",
            ),
            Command(
                "group:close",
                p.CloseGroup,
                self.close,
                DOCTOR,
                "Close it with the conclusion; one nobody entered is cancelled; answers `group`",
            ),
        ]

    async def open(self, at: Connection, asked: p.OpenGroup) -> Mapping[str, Any]:
        wanted = Wanted(
            consultation=asked.consultation,
            title=asked.title,
            reason=asked.reason,
            mode=GroupMode(asked.mode),
            doctors=tuple(asked.doctors),
            history_from_seq=asked.history_from_seq,
        )
        return {"group": await self._groups.open(at.caller, wanted)}

    async def accept(self, at: Connection, asked: p.OneGroup) -> Mapping[str, Any]:
        return await self._act(at, asked.group, GroupAction.ACCEPT)

    async def decline(self, at: Connection, asked: p.OneGroup) -> Mapping[str, Any]:
        return await self._act(at, asked.group, GroupAction.DECLINE)

    async def join(self, at: Connection, asked: p.OneGroup) -> Mapping[str, Any]:
        return await self._act(at, asked.group, GroupAction.JOIN)

    async def leave(self, at: Connection, asked: p.OneGroup) -> Mapping[str, Any]:
        return await self._act(at, asked.group, GroupAction.LEAVE)

    async def opinion(self, at: Connection, asked: p.GroupOpinion) -> Mapping[str, Any]:
        return await self._act(at, asked.group, GroupAction.OPINION, asked.text)

    async def close(self, at: Connection, asked: p.CloseGroup) -> Mapping[str, Any]:
        return await self._act(at, asked.group, GroupAction.CLOSE, asked.conclusion)

    async def _act(
        self, at: Connection, group: str, action: GroupAction, text: str = ""
    ) -> Mapping[str, Any]:
        return {"group": await self._groups.act(at.caller, group, action, text)}
