"""Who may read what was attached to a room: its members, and whom its record says beside (R6)."""

from care.accounts import STAFF
from care.attachments import AVATAR, PUBLIC
from storage.accounts import AccountStore
from storage.complaints import Complaints
from storage.consultations import Consultations
from storage.groups import Groups


class RoomAccess:
    def __init__(
        self,
        consultations: Consultations,
        groups: Groups,
        complaints: Complaints,
        accounts: AccountStore,
    ) -> None:
        self._consultations = consultations
        self._groups = groups
        self._complaints = complaints
        self._accounts = accounts

    async def is_member(self, user: str, room: str) -> bool:
        """Say whether the user may read the room itself."""
        return await self._consultations.may_read(user, room) or await self._groups.is_in(
            user, room
        )

    async def may_read(self, user: str, room: str) -> bool:
        """Say whether the user may read what was attached in the room.

        A group's doctors see the case's pictures, the staff those of a complaint.
        """
        return (
            room in (PUBLIC, AVATAR)
            or await self.is_member(user, room)
            or await self._groups.reads_case(user, room)
            or await self._reads_complaint(user, room)
        )

    async def _reads_complaint(self, user: str, room: str) -> bool:
        complaint = await self._complaints.of_room(room)
        if complaint is None or complaint.owner == user:
            return complaint is not None
        account = await self._accounts.get(user)
        return account is not None and account.role in STAFF
