"""The login_failures collection: one document a phone that failed to log in of late (A10).

A try is counted before the password is looked at and forgiven on success, so that guesses sent at
the same time, to several processes too, can't pass the limit together.
"""

from datetime import datetime, timedelta

from pymongo.errors import DuplicateKeyError

from care.policy import AccountPolicy
from storage.database import Database


class LoginFailureStore:
    def __init__(self, database: Database, policy: AccountPolicy) -> None:
        self._failures = database["login_failures"]
        self._policy = policy

    async def ensure_indexes(self) -> None:
        # long past their end; the slack is for clocks that do not agree with the database's
        await self._failures.create_index("until", expireAfterSeconds=86400)

    async def try_once(self, phone: str, now: datetime) -> datetime | None:
        """Count a try; give the end of the lock instead when there is one."""
        while True:
            if await self._count(phone, now):
                return None
            document = await self._failures.find_one({"_id": phone})
            if document and document["count"] >= self._policy.login_failures:
                until: datetime = document["until"]
                return until

    async def _count(self, phone: str, now: datetime) -> bool:
        """Count a try unless locked; a no may also come from the phone's first try elsewhere."""
        may = {
            "_id": phone,
            "$or": [{"until": {"$lte": now}}, {"count": {"$lt": self._policy.login_failures}}],
        }
        count = {"$cond": [{"$gt": ["$until", now]}, {"$add": ["$count", 1]}, 1]}
        until = now + timedelta(seconds=self._policy.login_lock_seconds)
        try:
            await self._failures.update_one(
                may, [{"$set": {"count": count, "until": until}}], upsert=True
            )
        except DuplicateKeyError:
            return False
        return True

    async def forgive(self, phone: str) -> None:
        """Forget the failures of a phone that proved to be its owner's."""
        await self._failures.delete_one({"_id": phone})
