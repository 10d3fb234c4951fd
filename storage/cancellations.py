"""The cancellations collection: one document a patient, with the times he cancelled bookings."""

from datetime import datetime, timedelta

from care.errors import Conflict
from care.policy import BookingPolicy
from storage.database import Database, Session


class Cancellations:
    def __init__(self, database: Database, policy: BookingPolicy) -> None:
        # read and written by `_id` alone: no further index
        self._cancellations = database["cancellations"]
        self._max = policy.cancellations_max
        self._days = policy.cancellations_days

    async def spend(self, session: Session, patient: str, now: datetime) -> None:
        """Count one more. Raises Conflict when there were as many as allowed of late (B4)."""
        since = now - timedelta(days=self._days)
        mine = {"_id": patient}
        await self._cancellations.update_one(
            mine, {"$pull": {"times": {"$lte": since}}}, upsert=True, session=session
        )
        fewer = {f"times.{self._max - 1}": {"$exists": False}}
        counted = await self._cancellations.update_one(
            mine | fewer, {"$push": {"times": now}}, session=session
        )
        if counted.matched_count == 0:
            raise Conflict(f"{self._days}天内最多取消{self._max}次预约")
