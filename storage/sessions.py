"""The sessions collection: one document a log-in, ended by a time or by a reason (A9)."""

from collections.abc import Collection
from datetime import datetime

from pymongo import ASCENDING, IndexModel

from care.accounts import LogIn
from storage.database import Database, Document, Session

SLACK = 30 * 86400


class SessionStore:
    def __init__(self, database: Database) -> None:
        self._sessions = database["sessions"]

    async def ensure_indexes(self) -> None:
        await self._sessions.create_indexes(
            [
                # ending every other session of an account
                IndexModel([("user", ASCENDING)]),
                # an ended session is kept a while, so that its old tokens are known as revoked
                IndexModel([("expires_at", ASCENDING)], expireAfterSeconds=SLACK),
            ]
        )

    async def add(self, login: LogIn, session: Session | None = None) -> None:
        document = {**login.model_dump(exclude={"id"}), "_id": login.id, "revoked_at": None}
        await self._sessions.insert_one(document, session=session)

    async def is_live(self, session_id: str) -> bool:
        found = await self._sessions.find_one(
            {"_id": session_id, "revoked_at": None}, projection={"_id": 1}
        )
        return found is not None

    async def revoked_among(self, sessions: Collection[str]) -> set[str]:
        """Tell which of these are over; one that is unknown is."""
        live = self._sessions.find(
            {"_id": {"$in": list(sessions)}, "revoked_at": None}, projection={"_id": 1}
        )
        return set(sessions) - {document["_id"] async for document in live}

    async def rotate(
        self, session_id: str, old: str, new: str, now: datetime, expires_at: datetime
    ) -> LogIn | None:
        """Put a new refresh token in the old one's place, once; none when the old one is not it."""
        document = await self._sessions.find_one_and_update(
            {
                "_id": session_id,
                "refresh_digest": old,
                "revoked_at": None,
                "expires_at": {"$gt": now},
            },
            {"$set": {"refresh_digest": new, "expires_at": expires_at}},
            return_document=True,
        )
        return _from_document(document) if document else None

    async def revoke(self, session_id: str, because: str, now: datetime) -> str | None:
        """End a session; give its user when this call did it."""
        document = await self._sessions.find_one_and_update(
            {"_id": session_id, "revoked_at": None},
            {"$set": {"revoked_at": now, "revoked_because": because}},
        )
        return document["user"] if document else None

    async def revoke_others(
        self, user: str, keep: str | None, because: str, now: datetime, session: Session
    ) -> list[str]:
        """End every session of a user but one, within the transaction; give their ids."""
        live = {"user": user, "revoked_at": None, "_id": {"$ne": keep}}
        found = self._sessions.find(live, projection={"_id": 1}, session=session)
        ids = [document["_id"] async for document in found]
        await self._sessions.update_many(
            live, {"$set": {"revoked_at": now, "revoked_because": because}}, session=session
        )
        return ids


def _from_document(document: Document) -> LogIn:
    fields = {name: document[name] for name in LogIn.model_fields if name != "id"}
    return LogIn(id=document["_id"], **fields)
