"""WeChat Pay's daily trade bill (交易账单): asked for, downloaded, checked and read (API v3).

The format: https://pay.weixin.qq.com/docs/merchant/products/bill-download/format-trade.html
"""

import csv
import hashlib
import io
from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import Literal

import structlog
from pydantic import BaseModel, ValidationError

from care.errors import Unavailable
from care.reconciliation import BillRow
from companion.wechat_pay.client import Refused, WechatPayClient

NO_TRADE = "NO_STATEMENT_EXIST"
SUMMARY_LINES = 2
MARK = "`"
"""Stands before each value, so that a spreadsheet leaves the long numbers alone."""

log = structlog.get_logger(__name__)


class Malformed(Exception):
    """A bill that doesn't read as one. Says where; a bill holds who paid, so never what."""


class _Where(BaseModel):
    download_url: str
    hash_type: Literal["SHA1"]
    hash_value: str


class WechatBills:
    name = "wechat"

    def __init__(self, client: WechatPayClient) -> None:
        self._client = client

    async def bill(self, day: date) -> Sequence[BillRow]:
        """Give the day's rows, none when nothing was traded. Raises Unavailable."""
        target = f"/v3/bill/tradebill?bill_date={day.isoformat()}&bill_type=ALL"
        try:
            where = _Where.model_validate(await self._client.get(target))
            content = await self._client.download(where.download_url)
        except Refused as refusal:
            if refusal.code == NO_TRADE:
                return ()
            raise Unavailable from None
        except ValidationError:
            log.error("wechat_pay_unexpected_answer", of="tradebill")
            raise Unavailable from None
        # the download itself carries no signature; the signed answer before it carries this digest
        digest = hashlib.sha1(content, usedforsecurity=False).hexdigest()
        if digest != where.hash_value.lower():
            log.error("wechat_pay_bill_spoiled", day=day.isoformat(), why="digest")
            raise Unavailable
        try:
            return read_bill(content)
        except Malformed as failure:
            log.error("wechat_pay_bill_spoiled", day=day.isoformat(), why=str(failure))
            raise Unavailable from None


def read_bill(content: bytes) -> list[BillRow]:
    """Read a bill of the type ALL and check it against its totals. Raises Malformed."""
    try:
        lines = [line for line in csv.reader(io.StringIO(content.decode("utf-8-sig"))) if line]
    except (UnicodeDecodeError, csv.Error):
        raise Malformed("text") from None
    if len(lines) < 1 + SUMMARY_LINES:
        raise Malformed("no totals")
    header, *rows = lines[:-SUMMARY_LINES]
    read = [_read_row(_named(header, row), number) for number, row in enumerate(rows, 2)]
    _check_totals(read, _named(*lines[-SUMMARY_LINES:]))
    return read


def _named(header: list[str], values: list[str]) -> dict[str, str]:
    if len(header) != len(values):
        raise Malformed("columns")
    # columns are told by their names: some merchants' bills have more of them
    clean = (value.strip().removeprefix(MARK) for value in values)
    return dict(zip((name.strip() for name in header), clean, strict=True))


def _read_row(row: dict[str, str], line: int) -> BillRow:
    """Read one. The amounts are those ordered and asked back, before coupons (代金券)."""
    try:
        if row["货币种类"] != "CNY":
            raise Malformed(f"line {line}: currency")
        if row["交易状态"] == "SUCCESS":
            amount = _fen(row["订单金额"])
            return BillRow(out_trade_no=row["商户订单号"], amount=amount, state="SUCCESS")
        if row["交易状态"] not in {"REFUND", "REVOKED"}:
            raise Malformed(f"line {line}: state")
        return BillRow(
            out_trade_no=row["商户订单号"],
            out_refund_no=row["商户退款单号"],
            amount=_fen(row["申请退款金额"]),
            state=row["退款状态"],
        )
    except (KeyError, ArithmeticError, ValueError):
        raise Malformed(f"line {line}") from None


def _check_totals(rows: Sequence[BillRow], totals: dict[str, str]) -> None:
    paid = sum(row.amount for row in rows if row.out_refund_no is None)
    refunded = sum(row.amount for row in rows if row.out_refund_no is not None)
    try:
        said = (
            int(totals["总交易单数"]),
            _fen(totals["订单总金额"]),
            _fen(totals["申请退款总金额"]),
        )
    except (KeyError, ArithmeticError, ValueError):
        raise Malformed("totals") from None
    if said != (len(rows), paid, refunded):
        raise Malformed("totals differ from the rows")


def _fen(yuan: str) -> int:
    """Turn `12.30` into 1230. Raises ValueError for parts of a fen."""
    fen = Decimal(yuan) * 100
    if fen != int(fen):
        raise ValueError("parts of a fen")
    return int(fen)
