"""The former_people collection: who was deleted, sealed as before.

Medical records are kept for years (S3), and those of a deleted person must still name somebody.
"""

from collections.abc import Sequence

from pymongo import ASCENDING, IndexModel

from storage.database import Database, Document, Session


class FormerPeople:
    def __init__(self, database: Database) -> None:
        self._former = database["former_people"]

    async def ensure_indexes(self) -> None:
        # whom did this account care for?
        await self._former.create_indexes([IndexModel([("owner", ASCENDING)])])

    async def keep(self, session: Session, owner: str, people: Sequence[Document]) -> None:
        """Keep people as `storage.people` sealed them."""
        for person in people:
            kept = {"owner": owner, **{k: v for k, v in person.items() if k != "id"}}
            # a creation that was sent again after the deletion made the same id once more
            await self._former.replace_one(
                {"_id": person["id"]}, kept, upsert=True, session=session
            )
