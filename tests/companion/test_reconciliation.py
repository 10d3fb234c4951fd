"""A day's report is made once over all processes, whatever happens to them and to the bill."""

import asyncio
from collections.abc import AsyncIterator
from datetime import date, timedelta
from zoneinfo import ZoneInfo

import pytest

from care.payments import Payment, PaymentState
from care.policy import OutboxPolicy, ReconciliationPolicy
from care.reconciliation import Kind, Report, Span, compare
from companion.reconciliation import RETRY, Reconciliation
from companion.wechat_pay.bill import WechatBills
from companion.wechat_pay.client import WechatPayClient
from companion.wechat_pay.signing import Signer, Verifier
from storage.audit import AuditTrail
from storage.database import Database
from storage.outbox import Outbox
from storage.payments import Payments
from storage.reconciliations import LEASE, Reconciliations
from tests.clock import START, ManualClock
from tests.standins.wechat_pay import MCHID, MERCHANT_SERIAL, PLATFORM_SERIAL
from tests.standins.wechat_pay_bill import Row, WechatPayWithBills, serve_with_bills

SHANGHAI = ZoneInfo("Asia/Shanghai")
TODAY = START.astimezone(SHANGHAI).date()
MIDNIGHT = START.astimezone(SHANGHAI).replace(hour=0, minute=0, second=0, microsecond=0)
DAY = TODAY - timedelta(days=1)


class Office:
    """Several processes' reconciliations over one database and one WeChat Pay."""

    def __init__(self, database: Database, standin: WechatPayWithBills, clock: ManualClock) -> None:
        self.clock, self.standin, self.database = clock, standin, database
        self.payments = Payments(database, Outbox(database, clock, OutboxPolicy()))
        self.reports = Reconciliations(database)
        signer = Signer(MCHID, MERCHANT_SERIAL, standin.merchant_key, clock)
        verifier = Verifier({PLATFORM_SERIAL: standin.key.public_key()}, clock)
        self.client = WechatPayClient(standin.url, signer, verifier)

    def process(self) -> Reconciliation:
        return Reconciliation(
            WechatBills(self.client), self.reports, self.payments,
            AuditTrail(self.database, self.clock), self.clock, SHANGHAI,
            ReconciliationPolicy(days_max=5),
        )  # fmt: skip

    async def report(self, day: date = DAY) -> Report:
        report = await self.reports.get("wechat", day)
        assert report is not None
        return report

    async def differs(self, day: date = DAY) -> list[Kind]:
        result = (await self.report(day)).result
        assert result is not None
        return [difference.kind for difference in result.differences]


@pytest.fixture
async def office(database: Database) -> AsyncIterator[Office]:
    clock = ManualClock()
    noon = MIDNIGHT + timedelta(hours=12)
    clock.advance((noon - clock.now()).total_seconds())
    async with serve_with_bills(lambda: clock.now().timestamp()) as standin:
        office = Office(database, standin, clock)
        await office.payments.ensure_indexes()
        await office.reports.ensure_indexes()
        yield office
        await office.client.close()


async def test_many_processes_make_one_report(office: Office) -> None:
    office.standin.rows.append(Row(MIDNIGHT - timedelta(hours=1), "foreign", 100))

    await asyncio.gather(*(office.process().make_due() for _ in range(8)))

    assert office.standin.asked == [DAY.isoformat()]
    assert await office.differs() == [Kind.UNKNOWN_PAYMENT]
    assert (await office.report()).attempts == 1


async def test_what_a_dead_process_began_another_one_ends_and_the_dead_ones_word_is_too_late(
    office: Office,
) -> None:
    await office.reports.ask("wechat", DAY, office.clock.now())
    dead = await office.reports.claim("wechat", office.clock.now())
    assert dead is not None

    await office.process().make_due()
    assert (await office.report()).pending

    office.clock.advance(LEASE.total_seconds() + 1)
    second = await office.reports.claim("wechat", office.clock.now())
    assert second is not None
    found = compare([], [], {}, [], Span(begins=MIDNIGHT, ends=MIDNIGHT))
    assert not await office.reports.keep(dead, found, office.clock.now())
    assert not await office.reports.put_off(dead, office.clock.now(), "late")
    assert (await office.report()).pending
    assert await office.reports.keep(second, found, office.clock.now())
    assert not (await office.report()).pending


async def test_a_bill_still_being_written_is_asked_for_later(office: Office) -> None:
    office.standin.creating = True
    await office.process().make_due()
    assert (await office.report()).error == "Unavailable"

    office.standin.creating = False
    await office.process().make_due()
    assert (await office.report()).pending, "asked again before its time"
    office.clock.advance(RETRY.total_seconds() + 1)
    await office.process().make_due()
    assert not (await office.report()).pending


async def test_the_first_start_makes_one_day_and_a_long_time_down_the_last_days(
    office: Office,
) -> None:
    await office.process().make_due()
    assert office.standin.asked == [DAY.isoformat()]

    office.clock.advance(30 * 86400)
    await office.process().make_due()
    later = [(DAY + timedelta(days=n)).isoformat() for n in range(26, 31)]
    assert office.standin.asked[1:] == later


async def test_what_was_learnt_after_midnight_is_found_in_the_bill_before(office: Office) -> None:
    yesterday = DAY - timedelta(days=1)
    begun = MIDNIGHT - timedelta(days=1, seconds=20)
    for number in ("n1", "n2"):
        payment = Payment(
            id=number, consultation=number, payer="u1", provider="wechat", out_trade_no=number,
            amount=100, created_at=begun, state=PaymentState.PAID,
            paid_at=begun + timedelta(seconds=40),
        )  # fmt: skip
        await office.payments.ensure(payment)
    office.standin.rows.append(Row(begun + timedelta(seconds=10), "n1", 100))

    await office.process().make_due()

    assert office.standin.asked == [DAY.isoformat(), yesterday.isoformat()]
    (missing,) = (await office.report()).result.differences  # type: ignore[union-attr]  # it was made
    assert (missing.kind, missing.out_trade_no) == (Kind.MISSING_PAYMENT, "n2")
