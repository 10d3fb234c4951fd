"""Reading WeChat Pay's bill: the columns by their names, the rows against the totals."""

import pytest

from care.reconciliation import BillRow
from companion.wechat_pay.bill import Malformed, read_bill

HEADER = (
    "交易时间,公众账号ID,商户号,特约商户号,设备号,微信订单号,商户订单号,用户标识,交易类型,交易状态,"
    "付款银行,货币种类,应结订单金额,代金券金额,微信退款单号,商户退款单号,退款金额,充值券退款金额,"
    "退款类型,退款状态,商品名称,商户数据包,手续费,费率,订单金额,申请退款金额,费率备注"
)
PAID = (
    "`2026-05-01 10:00:00,`wx1,`1900000001,`0,`,`4200001,`n1,`o1,`JSAPI,`SUCCESS,`OTHERS,`CNY,"
    "`10.00,`2.30,`0,`0,`0.00,`0.00,`,`,`问诊费,`,`0.06000,`0.60%,`12.30,`0.00,`"
)
REFUNDED = (
    "`2026-05-01 11:00:00,`wx1,`1900000001,`0,`,`4200001,`n1,`o1,`JSAPI,`REFUND,`OTHERS,`CNY,"
    "`0.00,`0.00,`503001,`Rn1,`10.00,`2.30,`ORIGINAL,`SUCCESS,`问诊费,`,`-0.06000,`0.60%,`0.00,"
    "`12.30,`"
)
SUMMARY = (
    "总交易单数,应结订单总金额,退款总金额,充值券退款总金额,手续费总金额,订单总金额,申请退款总金额"
)
SUMS = "`2,`10.00,`10.00,`2.30,`0.00000,`12.30,`12.30"
BILL = "\r\n".join([HEADER, PAID, REFUNDED, SUMMARY, SUMS, ""])


def test_payments_and_refunds_are_read_with_the_amounts_before_coupons() -> None:
    assert read_bill(BILL.encode("utf-8-sig")) == [
        BillRow(out_trade_no="n1", amount=1230, state="SUCCESS"),
        BillRow(out_trade_no="n1", out_refund_no="Rn1", amount=1230, state="SUCCESS"),
    ]
    assert read_bill(BILL.encode()) == read_bill(BILL.encode("utf-8-sig"))


@pytest.mark.parametrize(
    ("was", "becomes"),
    [
        (PAID + "\r\n", ""),
        ("`2,`10.00", "`3,`10.00"),
        ("`12.30,`0.00,`\r\n", "`12.31,`0.00,`\r\n"),
        ("`12.30,`12.30\r\n", "`12.30,`12.31\r\n"),
        ("`12.30,`0.00,`\r\n", "`12.305,`0.00,`\r\n"),
        ("`12.30,`0.00,`\r\n", "`NaN,`0.00,`\r\n"),
        ("`12.30,`0.00,`\r\n", "`Infinity,`0.00,`\r\n"),
        ("`12.30,`0.00,`\r\n", "`很多,`0.00,`\r\n"),
        ("`SUCCESS,`OTHERS", "`MYSTERY,`OTHERS"),
        ("`CNY", "`USD"),
        ("商户订单号", "单号"),
        ("`问诊费,", "`问诊费,`,"),
        (SUMMARY, HEADER),
        (BILL, ""),
        (BILL, "no bill"),
        (BILL, '{"code":"SYSTEM_ERROR"}'),
    ],
)
def test_a_bill_that_is_not_whole_is_refused(was: str, becomes: str) -> None:
    assert was in BILL
    with pytest.raises(Malformed):
        read_bill(BILL.replace(was, becomes, 1).encode())


def test_bytes_that_are_no_text_are_refused() -> None:
    with pytest.raises(Malformed):
        read_bill(b"\xff\xfe\x00")
