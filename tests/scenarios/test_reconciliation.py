"""The daily reconciliation through the real wire, against what WeChat Pay really did."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import pytest
import pytest_asyncio

from tests.scenarios.conftest import Enter
from tests.scenarios.people import OPERATOR, User, enter
from tests.scenarios.test_payments import SECONDS, Till, open_till, until_money_is
from tests.standins.wechat_pay_bill import BEIJING, Row, WechatPayWithBills, serve_with_bills

REASON = "渠道已更正账单"
REPORTS = "/operator/reconciliations"


@pytest_asyncio.fixture(scope="module")
async def till(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Till]:
    async with open_till(tmp_path_factory.mktemp("bills"), serve_with_bills) as opened:
        yield opened


@pytest_asyncio.fixture(scope="module")
async def operator(till: Till) -> AsyncIterator[User]:
    user = await enter(till.server.url, till.http, OPERATOR)
    yield user
    await user.close()


def bills(till: Till) -> WechatPayWithBills:
    assert isinstance(till.standin, WechatPayWithBills)
    return till.standin


async def next_noon(till: Till) -> date:
    """Move to the next day's noon; give that day."""
    now = datetime.fromtimestamp(till.time.now(), UTC).astimezone(BEIJING)
    noon = datetime.combine(now.date() + timedelta(days=1), time(12), BEIJING)
    await till.advance((noon - now).total_seconds())
    return noon.date()


async def report(operator: User, day: date, **wanted: Any) -> Any:
    """Wait for a day's report to look so: the server makes it when it gets to it."""
    async with asyncio.timeout(SECONDS):
        while True:
            answer = await operator.client.call("GET", f"{REPORTS}/{day}")
            if answer.status == 200 and wanted.items() <= answer.body.items():
                return answer.body
            await asyncio.sleep(0.05)


def told(shown: Any) -> set[tuple[str, str]]:
    return {(d["kind"], d["out_trade_no"]) for d in shown["differences"]}


@pytest.mark.rule("M3")
async def test_the_days_report_lists_exactly_what_the_bill_has_otherwise(
    till: Till, operator: User
) -> None:
    standin, day = bills(till), await next_noon(till)
    _, _, dearer = await till.paid()
    _, _, dropped = await till.paid()
    await till.paid()
    patient, consultation, unreturned = await till.paid()
    await patient.post(f"/consultations/{consultation}/cancel")
    await until_money_is(patient, consultation, "refunded")
    standin.note()

    def spoil(rows: list[Row]) -> list[Row]:
        kept = [r for r in rows if r.number != dropped and r.refund != f"R{unreturned}"]
        foreign = replace(kept[0], number="foreign")
        return [replace(r, amount=777) if r.number == dearer else r for r in kept] + [foreign]

    standin.spoil = spoil
    await next_noon(till)

    shown = await report(operator, day, pending=False)
    assert told(shown) == {
        ("payment_amount", dearer),
        ("missing_payment", dropped),
        ("missing_refund", unreturned),
        ("unknown_payment", "foreign"),
    }
    assert shown["here"] == {"payments": 4, "paid": 4, "refunds": 1, "refunded": 1}
    assert shown["there"] == {"payments": 4, "paid": 780, "refunds": 0, "refunded": 0}
    assert "reconciliation_differs" in till.server.log_text()

    standin.spoil = list
    again = await operator.post(REPORTS, {"date": day.isoformat(), "reason": REASON})
    assert (again["differences"], again["differing"]) == ([], 0)
    listed = (await operator.get(REPORTS))["items"]
    assert [r["differing"] for r in listed if r["date"] == day.isoformat()] == [0]


@pytest.mark.rule("M3")
async def test_a_spoiled_bill_gives_no_report_and_is_asked_for_again(
    till: Till, operator: User
) -> None:
    standin, day = bills(till), await next_noon(till)
    await till.paid()
    standin.note()
    standin.wrong_hash = True
    await next_noon(till)

    shown = await report(operator, day, error="Unavailable")
    assert (shown["pending"], shown["here"], shown["differences"]) == (True, None, [])
    status, _ = await operator.refused("POST", REPORTS, {"date": day.isoformat(), "reason": REASON})
    assert status == 503

    standin.wrong_hash = False
    await till.advance(601)
    shown = await report(operator, day, pending=False)
    assert (shown["error"], shown["differences"]) == (None, [])
    assert shown["here"]["payments"] == 1


@pytest.mark.rule("M3")
async def test_days_that_were_missed_are_made_up_for(till: Till, operator: User) -> None:
    first = await next_noon(till)
    await till.advance(3 * 86400)

    for day in (first, first + timedelta(days=1), first + timedelta(days=2)):
        shown = await report(operator, day, pending=False)
        assert shown["there"]["payments"] == 0


@pytest.mark.rule("M3")
async def test_a_day_whose_bill_cannot_be_there_yet_is_refused(till: Till, operator: User) -> None:
    today = await next_noon(till)
    for day in (today, today + timedelta(days=1), today - timedelta(days=400)):
        status, problem = await operator.refused(
            "POST", REPORTS, {"date": day.isoformat(), "reason": REASON}
        )
        assert (status, list(problem["fields"])) == (400, ["date"])


@pytest.mark.rule("S4")
async def test_looking_at_the_books_is_on_the_record(till: Till, operator: User) -> None:
    admin = await enter(till.server.url, till.http, "13500000001")
    await next_noon(till)
    yesterday = await next_noon(till) - timedelta(days=1)
    # while the server itself is at it, asking is a conflict
    await report(operator, yesterday, pending=False)
    await operator.post(REPORTS, {"date": yesterday.isoformat(), "reason": REASON})
    entries = (await admin.get("/operator/audit?subject=hospital&limit=100"))["items"]
    await admin.close()
    seen = {(e["action"], e["purpose"], e["details"].get("day")) for e in entries}
    day = yesterday.isoformat()
    assert {("reconciliation_asked", REASON, day), ("reconciliation_read", "look_up", day)} <= seen


@pytest.mark.rule("M3")
async def test_the_sandbox_says_that_it_keeps_no_ledger(enter_as: Enter) -> None:
    staff = await enter_as(OPERATOR)
    for method, path, body in (
        ("GET", REPORTS, None),
        ("GET", f"{REPORTS}/2026-05-01", None),
        ("POST", REPORTS, {"date": "2026-05-01", "reason": REASON}),
    ):
        status, problem = await staff.refused(method, path, body)
        assert (status, problem["code"]) == (409, "conflict")
        assert "沙箱" in str(problem)
