"""Who may read a room's files: its own members, and a group's doctors those of its case (R6)."""

from care.attachments import PUBLIC
from storage.consultations import Consultations
from storage.groups import Groups


class RoomAccess:
    def __init__(self, consultations: Consultations, groups: Groups) -> None:
        self._consultations = consultations
        self._groups = groups

    async def is_member(self, user: str, room: str) -> bool:
        """Say whether the user may read the room itself."""
        return await self._consultations.may_read(user, room) or await self._groups.is_in(
            user, room
        )

    async def may_read(self, user: str, room: str) -> bool:
        """Say whether the user may read what was attached in the room."""
        if room == PUBLIC:
            return True
        return await self.is_member(user, room) or await self._groups.reads_case(user, room)
