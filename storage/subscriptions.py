"""The subscriptions collection: how many messages of each template a user still agrees to (N1).

WeChat keeps the true count and doesn't tell it: ours follows the consents and the sends, and is set
right by WeChat's refusal.
"""

from collections.abc import Mapping

from pymongo import ASCENDING, IndexModel

from storage.database import Database, Session


class Consents:
    def __init__(self, database: Database) -> None:
        self._subscriptions = database["subscriptions"]

    async def ensure_indexes(self) -> None:
        # one count a user and template; also the user's list
        await self._subscriptions.create_indexes(
            [IndexModel([("user", ASCENDING), ("template", ASCENDING)], unique=True)]
        )

    async def add(self, user: str, template: str, accepted: int) -> int:
        """Count consents; give how many there are now."""
        kept = await self._subscriptions.find_one_and_update(
            {"user": user, "template": template},
            {"$inc": {"left": accepted}},
            upsert=True,
            return_document=True,
        )
        return int(kept["left"]) if kept else accepted

    async def take(self, session: Session, user: str, template: str) -> bool:
        """Spend one consent by one conditional write; say whether there was one."""
        result = await self._subscriptions.update_one(
            {"user": user, "template": template, "left": {"$gt": 0}},
            {"$inc": {"left": -1}},
            session=session,
        )
        return bool(result.modified_count)

    async def put_back(self, session: Session, user: str, template: str) -> None:
        """Return one consent that was taken."""
        await self._subscriptions.update_one(
            {"user": user, "template": template}, {"$inc": {"left": 1}}, session=session
        )

    async def clear(self, user: str, template: str) -> None:
        """Believe WeChat: there is none left."""
        await self._subscriptions.update_one(
            {"user": user, "template": template}, {"$set": {"left": 0}}
        )

    async def left(self, user: str) -> Mapping[str, int]:
        """Tell how many of each template are left."""
        return {d["template"]: d["left"] async for d in self._subscriptions.find({"user": user})}
