"""WeChat Pay with its daily bills, written from what the stand-in itself took and gave back."""

import csv
import hashlib
import io
import json
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone

from aiohttp import web

from tests.standins.wechat_pay import APPID, MCHID, WechatPay, serving

BEIJING = timezone(timedelta(hours=8))
HEADER = (
    "交易时间,公众账号ID,商户号,特约商户号,设备号,微信订单号,商户订单号,用户标识,交易类型,交易状态,"
    "付款银行,货币种类,应结订单金额,代金券金额,微信退款单号,商户退款单号,退款金额,充值券退款金额,"
    "退款类型,退款状态,商品名称,商户数据包,手续费,费率,订单金额,申请退款金额,费率备注"
)
SUMMARY = (
    "总交易单数,应结订单总金额,退款总金额,充值券退款总金额,手续费总金额,订单总金额,申请退款总金额"
)
COLUMNS, TOTALS = HEADER.split(","), SUMMARY.split(",")


@dataclass
class Row:
    """A line of a bill; a refund has the number of one. Amount in fen."""

    at: datetime
    number: str
    amount: int
    refund: str = ""
    refund_status: str = ""

    def values(self) -> dict[str, str]:
        payment = not self.refund
        yuan = f"{self.amount / 100:.2f}"
        return {
            "交易时间": self.at.astimezone(BEIJING).strftime("%Y-%m-%d %H:%M:%S"),
            "公众账号ID": APPID, "商户号": MCHID, "特约商户号": "0",
            "微信订单号": f"42000{self.number}", "商户订单号": self.number, "交易类型": "JSAPI",
            "交易状态": "SUCCESS" if payment else "REFUND", "付款银行": "OTHERS",
            "货币种类": "CNY", "应结订单金额": yuan if payment else "0.00", "代金券金额": "0.00",
            "商户退款单号": self.refund, "微信退款单号": "503" if self.refund else "0",
            "退款金额": "0.00" if payment else yuan, "充值券退款金额": "0.00",
            "退款类型": "" if payment else "ORIGINAL", "退款状态": self.refund_status,
            "商品名称": "问诊费,线上", "手续费": "0.00000", "费率": "0.60%",
            "订单金额": yuan if payment else "0.00", "申请退款金额": "0.00" if payment else yuan,
        }  # fmt: skip


def write(rows: Iterable[Row]) -> bytes:
    """Write a bill as it is downloaded."""
    values = [row.values() for row in rows]
    sums = {
        "总交易单数": str(len(values)),
        "应结订单总金额": _sum(values, "应结订单金额"),
        "退款总金额": _sum(values, "退款金额"),
        "充值券退款总金额": "0.00",
        "手续费总金额": "0.00000",
        "订单总金额": _sum(values, "订单金额"),
        "申请退款总金额": _sum(values, "申请退款金额"),
    }
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    writer.writerows([f"`{row.get(name, '')}" for name in COLUMNS] for row in values)
    writer.writerow(TOTALS)
    writer.writerow(f"`{sums[name]}" for name in TOTALS)
    return text.getvalue().encode("utf-8-sig")


def _sum(values: list[dict[str, str]], name: str) -> str:
    return f"{sum(float(row[name]) for row in values):.2f}"


@dataclass
class WechatPayWithBills(WechatPay):
    """`spoil` changes the rows of a bill; `creating` and `wrong_hash` are of the next ones."""

    rows: list[Row] = field(default_factory=list)
    spoil: Callable[[list[Row]], list[Row]] = list
    creating: bool = False
    wrong_hash: bool = False
    asked: list[str] = field(default_factory=list)

    def note(self) -> None:
        """Enter at its present time what the till took and gave back since."""
        now = datetime.fromtimestamp(self.now(), UTC)
        known = {(row.number, row.refund) for row in self.rows}
        paid = [n for n, order in self.orders.items() if order["trade_state"] != "NOTPAY"]
        for number in paid:
            order = self.orders[number]
            if (number, "") not in known and order["trade_state"] in {"SUCCESS", "REFUND"}:
                self.rows.append(Row(now, number, order["amount"]["total"]))
        for refund, given in self.refunds.items():
            number, amount = given["out_trade_no"], given["amount"]["refund"]
            if (number, refund) not in known:
                self.rows.append(Row(now, number, amount, refund, "SUCCESS"))

    async def handle(self, request: web.Request) -> web.Response:
        if request.path == "/v3/bill/tradebill":
            return self._ask(request)
        if request.path == "/v3/billdownload/file":
            return self._download(request)
        return await super().handle(request)

    def _ask(self, request: web.Request) -> web.Response:
        day = request.query["bill_date"]
        self.asked.append(day)
        if not self._signed(request, ""):
            return web.json_response({"code": "SIGN_ERROR"}, status=401)
        if self.creating:
            return web.json_response({"code": "STATEMENT_CREATING"}, status=400)
        rows = self._of(day)
        if not rows:
            return web.json_response({"code": "NO_STATEMENT_EXIST"}, status=400)
        digest = "0" * 40 if self.wrong_hash else hashlib.sha1(write(rows)).hexdigest()  # noqa: S324 - WeChat's choice
        answer = {
            "hash_type": "SHA1",
            "hash_value": digest,
            "download_url": f"{self.url}/v3/billdownload/file?token={day}%2Bx",
        }
        headers, body = self.sign(json.dumps(answer).encode())
        return web.Response(body=body, headers=headers)

    def _download(self, request: web.Request) -> web.Response:
        if not self._signed(request, ""):
            return web.Response(status=401)
        return web.Response(body=write(self._of(request.query["token"].removesuffix("+x"))))

    def _of(self, day: str) -> list[Row]:
        whole = [r for r in self.rows if r.at.astimezone(BEIJING).date().isoformat() == day]
        return self.spoil(whole) if whole else []


@asynccontextmanager
async def serve_with_bills(now: Callable[[], float]) -> AsyncIterator[WechatPayWithBills]:
    async with serving(WechatPayWithBills(now)) as standin:
        yield standin
