"""The staff's routes of the daily reconciliation: `operator/reconciliations` (M3)."""

from datetime import date
from typing import Any

from care.accounts import STAFF
from care.errors import BadRequest, Forbidden
from care.reconciliation import Report
from companion.reconciliation import Reconciliation
from companion.rest.kernel import Body, Call, Route
from companion.rest.operator import Why
from companion.rest.paging import Listed, PageQuery
from companion.rest.staff_answers import BriefReport, WholeReport

Day = date
"""`date` is also a body's field, and hides this name in its model."""


class Again(Body):
    date: Day
    reason: Why


class ReconciliationRoutes:
    def __init__(self, reconciliation: Reconciliation) -> None:
        self._reconciliation = reconciliation

    def routes(self) -> list[Route]:
        every = "/operator/reconciliations"
        return [
            Route("GET", every, self.page, query=PageQuery,
                  answer=Listed[BriefReport], roles=STAFF, tag="operator",
                  summary="List the days' reports, the latest first"),
            Route("GET", f"{every}/{{date}}", self.one,
                  answer=WholeReport, roles=STAFF, tag="operator",
                  summary="Show a day's report with all that differs"),
            Route("POST", every, self.again, body=Again,
                  answer=WholeReport, roles=STAFF, tag="operator",
                  summary="Make a day's report now, or once more"),
        ]  # fmt: skip

    async def page(self, call: Call) -> Any:
        limit = call.query.limit
        before = _read_cursor(call.query.cursor)
        found = await self._reconciliation.page(call.caller, before, limit + 1)
        following = found[limit - 1].day.isoformat() if len(found) > limit else None
        return {"items": [brief(report) for report in found[:limit]], "cursor": following}

    async def one(self, call: Call) -> Any:
        try:
            day = date.fromisoformat(call.path["date"])
        except ValueError:
            raise Forbidden from None
        return whole(await self._reconciliation.one(call.caller, day))

    async def again(self, call: Call) -> Any:
        body: Again = call.body
        return whole(await self._reconciliation.again(call.caller, body.date, body.reason))


def _read_cursor(cursor: str | None) -> date | None:
    try:
        return date.fromisoformat(cursor) if cursor else None
    except ValueError:
        raise BadRequest.field("cursor", "无效的翻页位置") from None


def brief(report: Report) -> dict[str, Any]:
    """Show a report without its differences; before it was made it has no totals."""
    result = report.result
    return {
        "provider": report.provider,
        "date": report.day,
        "pending": report.pending,
        "error": report.error,
        "made_at": report.made_at,
        "here": result and result.here,
        "there": result and result.there,
        "differing": result and len(result.differences),
    }


def whole(report: Report) -> dict[str, Any]:
    return brief(report) | {"differences": report.result.differences if report.result else []}
