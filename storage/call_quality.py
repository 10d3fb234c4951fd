"""The call_quality collection: one row a side of a call, its reports summed up (V9)."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from pymongo import ASCENDING, IndexModel
from pymongo.read_concern import ReadConcern
from pymongo.write_concern import WriteConcern

from care.calls import MEASURED, Report
from storage.database import Database, Document


class CallQuality:
    """Sum reports up in place: an hour's call sends 1,440 of them."""

    def __init__(self, database: Database) -> None:
        # one report more or less after a crash changes nothing
        self._rows = database["call_quality"].with_options(
            write_concern=WriteConcern(w=1), read_concern=ReadConcern("local")
        )

    async def ensure_indexes(self) -> None:
        # both sides of one call
        await self._rows.create_indexes([IndexModel([("call", ASCENDING)])])

    async def add(self, call: str, user: str, report: Report, at: datetime) -> None:
        said = report.model_dump(exclude_none=True)
        measured = {name: said[name] for name in MEASURED if name in said}
        added: Document = {"reports": 1}
        added |= {f"totals.{name}": value for name, value in measured.items()}
        added |= {f"counts.{name}": 1 for name in measured}
        # of a bitrate the least is the worst
        worst = {f"worst.{n}": v for n, v in measured.items() if n != "bitrate_kbps"}
        least = {f"worst.{n}": v for n, v in measured.items() if n == "bitrate_kbps"}
        change = {
            "$set": {"call": call, "user": user, "at": at, "last": said},
            "$inc": added,
            **({"$max": worst} if worst else {}),
            **({"$min": least} if least else {}),
        }
        await self._rows.update_one({"_id": f"{call}:{user}"}, change, upsert=True)

    async def of(self, call: str) -> Mapping[str, Mapping[str, Any]]:
        rows = self._rows.find({"call": call})
        return {row["user"]: {"totals": {}, "counts": {}, "worst": {}, **row} async for row in rows}
