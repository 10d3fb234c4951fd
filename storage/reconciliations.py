"""The reconciliations collection: one report a provider and day, made by one process (M3).

A day stands here before its report is made: that it is still to be made outlives any process.
"""

from datetime import date, datetime, timedelta

from pymongo import ASCENDING, DESCENDING, IndexModel

from care.reconciliation import Comparison, Report, report_id
from storage.database import Database, Document

LEASE = timedelta(minutes=15)
"""How long a process has to fetch the bills before another one may: longer than the time-outs of a
day's bill and of the seven before it."""


class Reconciliations:
    def __init__(self, database: Database) -> None:
        self._reports = database["reconciliations"]

    async def ensure_indexes(self) -> None:
        await self._reports.create_indexes(
            [
                # what is to be made and nobody is at
                IndexModel([("pending", ASCENDING), ("provider", ASCENDING), ("due", ASCENDING)]),
                # the last day of a provider
                IndexModel([("provider", ASCENDING), ("day", DESCENDING)]),
            ]
        )

    async def latest(self, provider: str) -> date | None:
        row = await self._reports.find_one({"provider": provider}, sort=[("day", DESCENDING)])
        return date.fromisoformat(row["day"]) if row else None

    async def ask(self, provider: str, day: date, now: datetime, *, again: bool = False) -> None:
        """Have a day's report made; one that was made only where it is wanted again."""
        first = {"provider": provider, "day": day.isoformat(), "attempts": 0, "error": None}
        first |= {"made_at": None, "result": None}
        begin = {"pending": True, "due": now}
        change: Document = {"$setOnInsert": first | begin}
        if again:
            change = {"$setOnInsert": first | {"due": now}, "$set": {"pending": True}}
        await self._reports.update_one({"_id": report_id(provider, day)}, change, upsert=True)

    async def claim(self, provider: str, now: datetime) -> Report | None:
        """Take the earliest report to be made that no other process is at."""
        return await self._claim({"provider": provider, "due": {"$lte": now}}, now)

    async def claim_day(self, provider: str, day: date, now: datetime) -> Report | None:
        """Take one report whenever it was put off to; not while another process is at it."""
        free = {"$or": [{"held": None}, {"due": {"$lte": now}}]}
        return await self._claim({"_id": report_id(provider, day), **free}, now)

    async def _claim(self, query: Document, now: datetime) -> Report | None:
        row = await self._reports.find_one_and_update(
            {"pending": True, **query},
            {"$set": {"due": now + LEASE, "held": True}, "$inc": {"attempts": 1}},
            sort=[("due", ASCENDING)],
            return_document=True,
        )
        return _report(row) if row else None

    async def keep(self, report: Report, result: Comparison, now: datetime) -> bool:
        """Store what this claim found, unless a later claim has begun."""
        found = {"result": result.model_dump(mode="json"), "made_at": now}
        return await self._end(report, found | {"pending": False, "error": None})

    async def put_off(self, report: Report, due: datetime, error: str) -> bool:
        return await self._end(report, {"due": due, "error": error})

    async def _end(self, report: Report, fields: Document) -> bool:
        mine = {"_id": report.id, "attempts": report.attempts, "pending": True}
        ended = await self._reports.update_one(mine, {"$set": fields | {"held": None}})
        return bool(ended.modified_count)

    async def get(self, provider: str, day: date) -> Report | None:
        row = await self._reports.find_one({"_id": report_id(provider, day)})
        return _report(row) if row else None

    async def page(self, provider: str, before: date | None, limit: int) -> list[Report]:
        """List a provider's reports, the latest day first, those before a day."""
        query: Document = {"provider": provider}
        if before:
            query["day"] = {"$lt": before.isoformat()}
        rows = self._reports.find(query).sort("day", DESCENDING).limit(limit)
        return [_report(row) async for row in rows]


def _report(row: Document) -> Report:
    return Report(**{name: row[name] for name in Report.model_fields})
