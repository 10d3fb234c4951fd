"""The outbox: effects stored with the change that causes them, carried out at least once (N1).

What fails is tried again later and later; after the last try it becomes a dead letter, which waits
for the operator.
"""

import random
from collections.abc import Sequence
from datetime import datetime, timedelta

from pymongo import ASCENDING, DESCENDING, IndexModel

from care.effects import DeadLetter, Effect, Outgoing
from care.policy import OutboxPolicy
from care.ports import Clock
from storage.database import Database, Document, Session

LEASE = timedelta(seconds=10)
"""How long the process that holds a row has for it before another may take it."""

DEFAULTS = OutboxPolicy()

EARLIEST_SHARE = 0.5
"""The least part of a delay that is waited: the rest is chance, so that many rows spread out."""


class Outbox:
    """Keep what is still to be done; a lease keeps two processes from doing it at once."""

    def __init__(self, database: Database, clock: Clock, policy: OutboxPolicy = DEFAULTS) -> None:
        self._outbox = database["outbox"]
        self._dead = database["dead_letters"]
        self._run = database.run
        self._clock = clock
        self._policy = policy

    async def ensure_indexes(self) -> None:
        # what no process holds, oldest first; a done row is removed, so the collection stays small
        await self._outbox.create_indexes([IndexModel([("leased_until", ASCENDING)])])

    async def add(self, session: Session, outgoing: Outgoing, *, held: bool = True) -> None:
        """Store effects inside the transaction of their cause, leased to this process if `held`."""
        lease = self._clock.now() + (LEASE if held else timedelta())
        await self._outbox.insert_one(_row(outgoing, lease, attempts=0), session=session)

    async def claim_own(self, outgoing_id: str) -> Outgoing | None:
        """Take the row this process has just stored; None when it was done already."""
        return await self._claim({"_id": outgoing_id, "attempts": 0})

    async def claim_left(self) -> Outgoing | None:
        """Take the row due longest whose holder let its lease run out: it died, or it failed."""
        return await self._claim({"leased_until": {"$lte": self._clock.now()}})

    async def _claim(self, query: Document) -> Outgoing | None:
        row = await self._outbox.find_one_and_update(
            query,
            {"$set": {"leased_until": self._clock.now() + LEASE}, "$inc": {"attempts": 1}},
            sort=[("leased_until", ASCENDING)],
        )
        return _outgoing(row) if row else None

    async def before(self, outgoing_id: str) -> list[Outgoing]:
        """List what earlier changes of the same record left to do, whoever holds it."""
        record, _, _ = outgoing_id.rpartition(":")
        earlier = {"$gt": f"{record}:", "$lt": outgoing_id}
        rows = self._outbox.find({"_id": earlier}).sort("_id", ASCENDING)
        return [_outgoing(row) async for row in rows]

    async def done(self, outgoing_id: str) -> None:
        await self._outbox.delete_one({"_id": outgoing_id})

    async def put_off(self, outgoing_id: str, left: Sequence[Effect], error: str) -> bool:
        """Keep what failed for a later try; say whether that was the last one: it is dead now."""
        effects = [effect.model_dump(mode="json") for effect in left]
        row = await self._outbox.find_one_and_update(
            {"_id": outgoing_id},
            {"$set": {"effects": effects, "error": error}, "$inc": {"failures": 1}},
            return_document=True,
        )
        if row is None:
            return False
        if row["failures"] >= self._policy.attempts_max:
            await self._bury(row)
            return True
        due = self._clock.now() + self._delay(row["failures"])
        await self._outbox.update_one({"_id": outgoing_id}, {"$set": {"leased_until": due}})
        return False

    def _delay(self, failures: int) -> timedelta:
        policy = self._policy
        # 2**63 would overflow a time long before it is reached
        doubled = policy.retry_seconds * 2 ** min(failures - 1, 30)
        whole = min(doubled, policy.retry_max_seconds)
        share = random.uniform(EARLIEST_SHARE, 1)  # noqa: S311 - spreads load, keeps no secret
        return timedelta(seconds=whole * share)

    async def _bury(self, row: Document) -> None:
        kept = {name: row[name] for name in ("_id", "effects", "error", "failures")}

        async def work(session: Session) -> None:
            gone = await self._outbox.delete_one({"_id": row["_id"]}, session=session)
            if gone.deleted_count:
                await self._dead.replace_one(
                    {"_id": row["_id"]},
                    kept | {"died_at": self._clock.now()},
                    upsert=True,
                    session=session,
                )

        await self._run(work)

    async def dead_letters(self, before: str | None, limit: int) -> list[DeadLetter]:
        """List dead letters by descending id, those below `before`."""
        query: Document = {"_id": {"$lt": before}} if before else {}
        rows = self._dead.find(query).sort("_id", DESCENDING).limit(limit)
        return [_dead_letter(row) async for row in rows]

    async def revive(self, outgoing_id: str) -> bool:
        """Give a dead letter all its tries again, at once; say whether there was one."""

        async def work(session: Session) -> bool:
            row = await self._dead.find_one_and_delete({"_id": outgoing_id}, session=session)
            if row is None:
                return False
            # attempts above 0: no process takes it for its own new one
            again = _row(_outgoing(row), self._clock.now(), attempts=1)
            await self._outbox.insert_one(again, session=session)
            return True

        return await self._run(work)

    async def size(self) -> int:
        return await self._outbox.estimated_document_count()


def _row(outgoing: Outgoing, leased_until: datetime, attempts: int) -> Document:
    effects = outgoing.model_dump(mode="json", exclude={"id"})
    state = {"leased_until": leased_until, "attempts": attempts, "failures": 0}
    return {"_id": outgoing.id, **state, **effects}


def _outgoing(row: Document) -> Outgoing:
    return Outgoing(id=row["_id"], effects=row["effects"])


def _dead_letter(row: Document) -> DeadLetter:
    return DeadLetter(
        id=row["_id"],
        effects=row["effects"],
        error=row["error"],
        failures=row["failures"],
        died_at=row["died_at"],
    )
