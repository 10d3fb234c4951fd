"""Make each day's reconciliation once, when its bill is there, and again when asked to (M3)."""

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from typing import Protocol
from zoneinfo import ZoneInfo

import structlog

from care.accounts import Caller
from care.audit import Inspection
from care.errors import BadRequest, Conflict, Forbidden, Unavailable
from care.payments import Payment
from care.policy import ReconciliationPolicy
from care.ports import Clock
from care.reconciliation import BillRow, Bills, Comparison, Report, Span, compare, lacking
from companion.operator import EVERYBODY, SEARCH

RETRY = timedelta(minutes=10)
EARLIER_DAYS = 7
"""So many bills before a day's are looked through for what we learnt of late."""

logger = structlog.get_logger(__name__)


class Reports(Protocol):
    """Keeps the reports. A claimed one is nobody else's until its lease ends."""

    async def latest(self, provider: str) -> date | None: ...

    async def ask(
        self, provider: str, day: date, now: datetime, *, again: bool = False
    ) -> None: ...

    async def claim(self, provider: str, now: datetime) -> Report | None: ...

    async def claim_day(self, provider: str, day: date, now: datetime) -> Report | None: ...

    async def keep(self, report: Report, result: Comparison, now: datetime) -> bool: ...

    async def put_off(self, report: Report, due: datetime, error: str) -> bool: ...

    async def get(self, provider: str, day: date) -> Report | None: ...

    async def page(self, provider: str, before: date | None, limit: int) -> list[Report]: ...


class Ledger(Protocol):
    """Our own payments and refunds."""

    async def settled_within(self, provider: str, span: Span) -> list[Payment]: ...

    async def all_numbered(
        self, provider: str, numbers: Collection[str]
    ) -> Mapping[str, Payment]: ...


class Reconciliation:
    """Without `bills` the provider keeps no ledger: there is nothing to compare with."""

    def __init__(
        self,
        bills: Bills | None,
        reports: Reports,
        ledger: Ledger,
        audit: Inspection,
        clock: Clock,
        zone: ZoneInfo,
        policy: ReconciliationPolicy,
    ) -> None:
        self._bills = bills
        self._reports = reports
        self._ledger = ledger
        self._audit = audit
        self._clock = clock
        self._zone = zone
        self._policy = policy

    async def run(self) -> None:
        """Make what is due, for as long as the process runs."""
        if self._bills is None:
            logger.info("reconciliation_off", why="this payment provider keeps no ledger")
            await asyncio.Event().wait()
        while True:
            try:
                await self.make_due()
            except Exception:
                logger.exception("reconciliation_failed")
            await asyncio.sleep(self._policy.poll_seconds)

    async def make_due(self) -> None:
        """Note the days whose bills have come since, then make each report nobody is at."""
        bills, now = self._ledger_there(), self._clock.now()
        for day in await self._due_days(bills.name, now):
            await self._reports.ask(bills.name, day, now)
        while report := await self._reports.claim(bills.name, self._clock.now()):
            await self._make(bills, report)

    async def _due_days(self, provider: str, now: datetime) -> Iterable[date]:
        """List the days not noted yet: the last one on a first start, all missed ones later."""
        last, noted = self._last_day(now), await self._reports.latest(provider)
        missed = 1 if noted is None else (last - noted).days
        back = range(min(missed, self._policy.days_max) - 1, -1, -1)
        return [last - timedelta(days=n) for n in back]

    def _last_day(self, now: datetime) -> date:
        """Give the last day whose bill should be there."""
        here = now.astimezone(self._zone)
        return here.date() - timedelta(days=1 if here.hour >= self._policy.hour else 2)

    async def _make(self, bills: Bills, report: Report) -> None:
        """Make a claimed report, or put it off."""
        try:
            result = await self._compare(bills, report.day)
        except Exception as failure:
            error = type(failure).__name__
            await self._reports.put_off(report, self._clock.now() + RETRY, error)
            if not isinstance(failure, Unavailable):
                raise
            logger.warning("reconciliation_put_off", day=report.day.isoformat(), error=error)
            return
        if await self._reports.keep(report, result, self._clock.now()):
            _tell(report, result)

    async def _compare(self, bills: Bills, day: date) -> Comparison:
        span = self._span(day)
        bill = await bills.bill(day)
        ours = await self._ledger.settled_within(bills.name, span)
        known = await self._ledger.all_numbered(bills.name, {row.out_trade_no for row in bill})
        earlier = await self._earlier(bills, day, *lacking(bill, ours, span))
        return compare(bill, earlier, known, ours, span)

    async def _earlier(
        self, bills: Bills, day: date, paid: Sequence[Payment], refunded: Sequence[Payment]
    ) -> list[BillRow]:
        """Give the bills in which the provider may have what we learnt of on this day only.

        It moved the money after the order was made, and gave it back after it was paid.
        """
        since = [p.created_at for p in paid] + [p.paid_at for p in refunded if p.paid_at]
        days = (day - min(since).astimezone(self._zone).date()).days if since else 0
        rows: list[BillRow] = []
        for back in range(1, min(days, EARLIER_DAYS) + 1):
            rows += await bills.bill(day - timedelta(days=back))
        return rows

    def _span(self, day: date) -> Span:
        begins = datetime.combine(day, time(), self._zone)
        return Span(begins=begins, ends=begins + timedelta(days=1))

    async def again(self, caller: Caller, day: date, reason: str) -> Report:
        """Make a day's report now, also where there is one. Raises Unavailable and puts it off."""
        bills, now = self._ledger_there(), self._clock.now()
        if day > self._last_day(now):
            raise BadRequest.field("date", f"该日账单要到次日{self._policy.hour}时后才能生成")
        if day < self._last_day(now) - timedelta(days=self._policy.bill_days):
            raise BadRequest.field("date", "该日账单已过期，支付渠道不再提供")
        await self._note(caller, "reconciliation_asked", reason, day)
        await self._reports.ask(bills.name, day, now, again=True)
        report = await self._reports.claim_day(bills.name, day, now)
        if report is None:
            raise Conflict("该日对账正在进行")
        await self._make(bills, report)
        made = await self._reports.get(bills.name, day)
        if made is None or made.pending:
            raise Unavailable("账单暂时无法取得，稍后会自动重试")
        return made

    async def page(self, caller: Caller, before: date | None, limit: int) -> list[Report]:
        bills = self._ledger_there()
        await self._note(caller, "reconciliation_listed", SEARCH)
        return await self._reports.page(bills.name, before, limit)

    async def one(self, caller: Caller, day: date) -> Report:
        bills = self._ledger_there()
        await self._note(caller, "reconciliation_read", "look_up", day)
        report = await self._reports.get(bills.name, day)
        if report is None:
            raise Forbidden
        return report

    async def _note(
        self, caller: Caller, action: str, purpose: str, day: date | None = None
    ) -> None:
        details = {"day": day.isoformat()} if day else {}
        await self._audit.record(caller.user, action, EVERYBODY, purpose, details)

    def _ledger_there(self) -> Bills:
        if self._bills is None:
            raise Conflict("当前支付渠道（沙箱）没有账单，无从对账")
        return self._bills


def _tell(report: Report, result: Comparison) -> None:
    fields = {"provider": report.provider, "day": report.day.isoformat()}
    if result.differences:
        kinds = sorted({str(difference.kind) for difference in result.differences})
        logger.error(
            "reconciliation_differs", differences=len(result.differences), kinds=kinds, **fields
        )
    else:
        logger.info("reconciliation_agrees", payments=result.here.payments, **fields)
