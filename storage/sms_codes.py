"""The sms_codes collection: one document a phone, with its live code and how often it asked (A10).

A phone is named by its keyed digest and a code kept as one: neither can be read here.
"""

from datetime import datetime, timedelta

from pymongo.errors import DuplicateKeyError

from care.policy import AccountPolicy
from storage.database import Database


class SmsCodeStore:
    def __init__(self, database: Database, policy: AccountPolicy) -> None:
        self._codes = database["sms_codes"]
        self._policy = policy

    async def ensure_indexes(self) -> None:
        # the days' counts are of no use later; two days of slack cover any zone and clock
        await self._codes.create_index("sent_at", expireAfterSeconds=2 * 86400)

    async def put(self, phone: str, purpose: str, code: str, now: datetime, day: str) -> bool:
        """Keep a new code in place of the old; say no when the phone asked too soon or too often.

        An upsert whose filter misses an existing document fails on its `_id`: that is the no.
        """
        policy = self._policy
        may = {
            "_id": phone,
            "sent_at": {"$lte": now - timedelta(seconds=policy.sms_interval_seconds)},
            "$or": [{"day": {"$ne": day}}, {"count": {"$lt": policy.sms_daily_limit}}],
        }
        count = {"$cond": [{"$eq": ["$day", day]}, {"$add": ["$count", 1]}, 1]}
        fresh = {
            "purpose": purpose,
            "digest": {"$literal": code},
            "expires_at": now + timedelta(seconds=policy.sms_code_seconds),
            "tries": 0,
        }
        change = [{"$set": {"count": count, "day": day, "sent_at": now, "code": fresh}}]
        try:
            await self._codes.update_one(may, change, upsert=True)
        except DuplicateKeyError:
            return False
        return True

    async def asked(self, phone: str) -> tuple[datetime, int] | None:
        """Tell when the phone last got a code, and how many on that day."""
        document = await self._codes.find_one({"_id": phone})
        return (document["sent_at"], document["count"]) if document else None

    async def redeem(self, phone: str, purpose: str, code: str, now: datetime) -> bool:
        """Use the code up if it is right, count a try if it is wrong: one write decides.

        Looking first and counting afterwards would let many guesses in at the same time.
        """
        live = {
            "_id": phone,
            "code.purpose": purpose,
            "code.expires_at": {"$gt": now},
            "code.tries": {"$lt": self._policy.sms_code_tries},
        }
        right = {"$eq": ["$code.digest", {"$literal": code}]}
        tried = {"$mergeObjects": ["$code", {"tries": {"$add": ["$code.tries", 1]}}]}
        change = [{"$set": {"code": {"$cond": [right, "$$REMOVE", tried]}}}]
        before = await self._codes.find_one_and_update(live, change)
        return before is not None and before["code"]["digest"] == code
