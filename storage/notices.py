"""The notices collection: what each user was told, once for each key (N1, N2)."""

from datetime import datetime

from pymongo import DESCENDING, IndexModel
from pymongo.errors import DuplicateKeyError

from care.effects import Outgoing
from care.notices import TEMPLATES, Deliver, Delivered, Notice, Way
from storage.database import Database, Document, Session
from storage.outbox import Outbox
from storage.subscriptions import Consents


class Notices:
    """Keeps notices, each with the delivery it still needs: see care.notices.NoticeStore."""

    def __init__(self, database: Database, outbox: Outbox, consents: Consents) -> None:
        self._notices = database["notices"]
        self._run = database.run
        self._outbox = outbox
        self._consents = consents

    async def ensure_indexes(self) -> None:
        await self._notices.create_indexes(
            [
                # a user's list, newest first
                IndexModel([("user", DESCENDING), ("at", DESCENDING), ("_id", DESCENDING)]),
                # how many are unread: only those are in it
                IndexModel(
                    [("user", DESCENDING)],
                    partialFilterExpression={"read_at": None},
                    name="unread",
                ),
            ]
        )

    async def add(self, notice: Notice) -> bool:
        """Keep a notice and the delivery it needs; say whether its key is new."""

        async def work(session: Session) -> None:
            document = notice.model_dump(mode="python", exclude={"id"})
            await self._notices.insert_one({"_id": notice.id, **document}, session=session)
            if _goes_outside(notice):
                deliver = Outgoing(
                    id=f"notice:{notice.id}:deliver", effects=(Deliver(notice=notice.id),)
                )
                await self._outbox.add(session, deliver, held=False)

        try:
            await self._run(work)
        except DuplicateKeyError:
            return False
        return True

    async def get(self, notice_id: str) -> Notice | None:
        document = await self._notices.find_one({"_id": notice_id})
        return _from_document(document) if document else None

    async def note(self, notice_id: str, way: Way, delivered: Delivered) -> None:
        """Note how far the notice is on one way."""
        change = {"$set": {f"deliveries.{way.value}": delivered.value}}
        await self._notices.update_one({"_id": notice_id}, change)

    async def spend(self, notice: Notice) -> bool:
        """Take one consent for the notice, once for both; say whether it has one."""

        async def work(session: Session) -> bool:
            way = f"deliveries.{Way.WECHAT.value}"
            taken = await self._notices.update_one(
                {"_id": notice.id, way: {"$exists": False}},
                {"$set": {way: Delivered.SENDING.value}},
                session=session,
            )
            if not taken.matched_count:
                sending = {"_id": notice.id, way: Delivered.SENDING.value}
                return await self._notices.count_documents(sending, session=session) > 0
            if await self._consents.take(session, notice.user, notice.template):
                return True
            await self._notices.update_one(
                {"_id": notice.id},
                {"$set": {way: Delivered.NO_CONSENT.value}},
                session=session,
            )
            return False

        return await self._run(work)

    async def give_back(self, notice: Notice) -> None:
        """Return the consent of a message that did not go, once; a later try takes one again."""
        way = f"deliveries.{Way.WECHAT.value}"

        async def work(session: Session) -> None:
            freed = await self._notices.update_one(
                {"_id": notice.id, way: Delivered.SENDING.value},
                {"$unset": {way: ""}},
                session=session,
            )
            if freed.modified_count:
                await self._consents.put_back(session, notice.user, notice.template)

        await self._run(work)

    async def page(
        self, user: str, before: tuple[datetime, str] | None, limit: int
    ) -> list[Notice]:
        """List the user's notices, newest first, older than the time and id `before`."""
        query: Document = {"user": user}
        if before:
            at, notice_id = before
            query["$or"] = [{"at": {"$lt": at}}, {"at": at, "_id": {"$lt": notice_id}}]
        found = self._notices.find(query).sort([("at", DESCENDING), ("_id", DESCENDING)])
        return [_from_document(d) async for d in found.limit(limit)]

    async def unread(self, user: str) -> int:
        return await self._notices.count_documents({"user": user, "read_at": None})

    async def read(self, user: str, notice_id: str, now: datetime) -> bool:
        """Mark one as read, the first time counts; say whether it is the user's."""
        result = await self._notices.update_one(
            {"_id": notice_id, "user": user},
            [{"$set": {"read_at": {"$ifNull": ["$read_at", now]}}}],
        )
        return bool(result.matched_count)

    async def read_all(self, user: str, now: datetime) -> None:
        await self._notices.update_many({"user": user, "read_at": None}, {"$set": {"read_at": now}})


def _from_document(document: Document) -> Notice:
    fields = {name: document[name] for name in Notice.model_fields if name in document}
    return Notice(id=document["_id"], **fields)


def _goes_outside(notice: Notice) -> bool:
    """Say whether a way out of the hospital is to be tried at all."""
    template = TEMPLATES[notice.template]
    here = notice.deliveries.get(Way.SOCKET) is Delivered.SENT
    return bool(template.fields) and (template.even_here or not here)
