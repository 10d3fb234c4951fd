"""The read marks: how far each member has read each room, one document for both (R3)."""

from collections.abc import Collection as Some

from pymongo import ASCENDING, IndexModel

from storage.database import Database


class ReadMarks:
    def __init__(self, database: Database) -> None:
        self._marks = database["read_marks"]

    async def ensure_indexes(self) -> None:
        # a room's marks for its snapshot, a user's marks for his list of rooms
        await self._marks.create_indexes(
            [
                IndexModel([("room", ASCENDING)]),
                IndexModel([("user", ASCENDING), ("room", ASCENDING)], unique=True),
            ]
        )

    async def advance(self, room: str, user: str, seq: int) -> bool:
        """Move a mark forward; say whether it moved. A mark never goes back."""
        before = await self._marks.find_one_and_update(
            {"_id": f"{room}:{user}"},
            {"$max": {"seq": seq}, "$setOnInsert": {"room": room, "user": user}},
            upsert=True,
        )
        return before is None or before["seq"] < seq

    async def of_rooms(self, rooms: Some[str]) -> dict[str, dict[str, int]]:
        """Read how far everybody is, by room and user."""
        marks: dict[str, dict[str, int]] = {room: {} for room in rooms}
        async for mark in self._marks.find({"room": {"$in": list(rooms)}}):
            marks[mark["room"]][mark["user"]] = mark["seq"]
        return marks
