"""The schedules collection: one document a doctor, with the periods in which he can be booked.

One document, because no two of a doctor's periods overlap; its version makes that one write's rule.
"""

from pymongo.errors import DuplicateKeyError

from care.schedules import Timetable
from storage.database import Database


class Schedules:
    def __init__(self, database: Database) -> None:
        # read and written by `_id` alone: no further index
        self._schedules = database["schedules"]

    async def of(self, doctor: str) -> Timetable:
        """Give a doctor's timetable; none yet is version 0."""
        found = await self._schedules.find_one({"_id": doctor})
        if found is None:
            return Timetable(doctor=doctor)
        return Timetable(doctor=found.pop("_id"), **found)

    async def replace(self, before: Timetable, after: Timetable) -> bool:
        """Store a change unless somebody changed it first; say whether it was stored."""
        document = {"_id": after.doctor, **after.model_dump(exclude={"doctor"})}
        if before.version:
            known = {"_id": before.doctor, "version": before.version}
            return (await self._schedules.replace_one(known, document)).matched_count == 1
        try:
            await self._schedules.insert_one(document)
        except DuplicateKeyError:
            # two first ones at once: the other one's is there now
            return False
        return True
