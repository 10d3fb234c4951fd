"""WeChat Pay as our provider uses it, against a server that signs and checks as WeChat does."""

import base64
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256

from care.errors import BadRequest, Unavailable
from care.payments import Payment, PaymentState, Receipt, RefundNews
from companion.wechat_pay.client import WechatPayClient
from companion.wechat_pay.provider import WechatPay
from companion.wechat_pay.signing import Forged, Signer, Verifier
from tests.clock import START, ManualClock
from tests.standins import wechat_pay as standins
from tests.standins.wechat_pay import API_KEY, APPID, MCHID, MERCHANT_SERIAL, PLATFORM_SERIAL

NUMBER = "20361124000001"
PAYMENT = Payment(
    id="p1", consultation="c1", payer="u1", provider="wechat", out_trade_no=NUMBER, amount=100,
    state=PaymentState.REFUNDING, out_refund_no=f"R{NUMBER}", created_at=START,
)  # fmt: skip


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def standin(clock: ManualClock) -> AsyncIterator[standins.WechatPay]:
    async with standins.serve_wechat_pay(lambda: clock.now().timestamp()) as server:
        yield server


@pytest.fixture
async def provider(standin: standins.WechatPay, clock: ManualClock) -> AsyncIterator[WechatPay]:
    signer = Signer(MCHID, MERCHANT_SERIAL, standin.merchant_key, clock)
    verifier = Verifier({PLATFORM_SERIAL: standin.key.public_key()}, clock)
    client = WechatPayClient(standin.url, signer, verifier)

    async def openid(user: str) -> str | None:
        return {"u1": "openid-1"}.get(user)

    notify_url = "https://hospital.example/api/v1/payments/wechat/notify"
    provider = WechatPay(APPID, notify_url, API_KEY, client, signer, verifier, openid, 900)
    yield provider
    await provider.close()


async def test_an_order_is_announced_and_the_mini_program_gets_what_it_pays_with(
    standin: standins.WechatPay, provider: WechatPay
) -> None:
    to_pay = await provider.prepare(PAYMENT)

    order = standin.orders[NUMBER]
    assert order["amount"] == {"total": 100, "currency": "CNY"}
    assert order["payer"] == {"openid": "openid-1"}
    assert order["time_expire"] == "2036-11-24T00:15:00+00:00"
    text = f"{APPID}\n{to_pay['timeStamp']}\n{to_pay['nonceStr']}\n{to_pay['package']}\n"
    standin.merchant_key.public_key().verify(
        base64.b64decode(to_pay["paySign"]), text.encode(), PKCS1v15(), SHA256()
    )


async def test_an_order_announced_again_is_the_same_order(
    standin: standins.WechatPay, provider: WechatPay, clock: ManualClock
) -> None:
    first = await provider.prepare(PAYMENT)
    clock.advance(60)

    again = await provider.prepare(PAYMENT)

    assert again["package"] == first["package"]
    assert len(standin.orders) == 1


async def test_who_has_no_openid_is_told_to_log_in_to_wechat(provider: WechatPay) -> None:
    with pytest.raises(BadRequest):
        await provider.prepare(PAYMENT.changed(payer="u2"))


async def test_an_answer_with_a_wrong_signature_counts_as_none(
    standin: standins.WechatPay, provider: WechatPay
) -> None:
    standin.forging = True

    with pytest.raises(Unavailable):
        await provider.prepare(PAYMENT)


async def test_a_notification_gives_number_and_amount(
    standin: standins.WechatPay, provider: WechatPay
) -> None:
    await provider.prepare(PAYMENT)
    standin.pay(NUMBER)

    receipt = provider.read(*standin.notification(NUMBER))

    assert receipt == Receipt(out_trade_no=NUMBER, amount=100)


@pytest.mark.parametrize(
    "changes",
    [
        {"mchid": "1900000002"},
        {"appid": "wxffffffffffffffff"},
        {"amount": {"total": 100, "currency": "USD"}},
        {"amount": "a hundred"},
        {"out_trade_no": None},
    ],
)
async def test_a_foreign_or_malformed_notification_is_refused(
    standin: standins.WechatPay, provider: WechatPay, changes: dict[str, Any]
) -> None:
    await provider.prepare(PAYMENT)
    standin.pay(NUMBER)

    with pytest.raises(Forged):
        provider.read(*standin.notification(NUMBER, **changes))


Spoil = Callable[[dict[str, str], bytes], tuple[dict[str, str], bytes]]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda headers, body: (headers, body + b" "),
        lambda headers, body: (headers | {"Wechatpay-Nonce": "other"}, body),
        lambda headers, body: (headers | {"Wechatpay-Serial": "unknown"}, body),
        lambda headers, body: (headers | {"Wechatpay-Signature": "AAAA"}, body),
        lambda headers, body: (headers | {"Wechatpay-Signature": "签名"}, body),
        lambda headers, body: (headers | {"Wechatpay-Timestamp": "9" * 30}, body),
        lambda headers, body: (headers | {"Wechatpay-Timestamp": "soon"}, body),
        lambda _headers, body: ({}, body),
    ],
)
async def test_a_forged_notification_is_refused(
    standin: standins.WechatPay, provider: WechatPay, spoil: Spoil
) -> None:
    await provider.prepare(PAYMENT)
    standin.pay(NUMBER)

    with pytest.raises(Forged):
        provider.read(*spoil(*standin.notification(NUMBER)))


async def test_a_notification_signed_by_somebody_else_is_refused(
    standin: standins.WechatPay, provider: WechatPay
) -> None:
    await provider.prepare(PAYMENT)
    standin.pay(NUMBER)
    standin.forging = True

    with pytest.raises(Forged):
        provider.read(*standin.notification(NUMBER))


@pytest.mark.parametrize(("seconds", "good"), [(300, True), (301, False), (-301, False)])
async def test_a_notification_is_good_for_five_minutes(
    standin: standins.WechatPay,
    provider: WechatPay,
    clock: ManualClock,
    seconds: int,
    good: bool,
) -> None:
    await provider.prepare(PAYMENT)
    standin.pay(NUMBER)
    notification = standin.notification(NUMBER)
    clock.advance(seconds)

    if good:
        assert provider.read(*notification)
    else:
        with pytest.raises(Forged):
            provider.read(*notification)


@pytest.mark.parametrize("body", [b"", b"null", b"[]", b"{}", b'{"event_type": 1}', b"\xff"])
async def test_signed_nonsense_is_refused(
    standin: standins.WechatPay, provider: WechatPay, body: bytes
) -> None:
    with pytest.raises(Forged):
        provider.read(*standin.sign(body))


async def test_a_notification_of_something_else_says_nothing(
    standin: standins.WechatPay, provider: WechatPay
) -> None:
    await provider.prepare(PAYMENT)

    assert provider.read(*standin.notification(NUMBER, "CONTRACT.CHANGED")) is None
    assert provider.read(*standin.notification(NUMBER)) is None  # not paid yet


async def test_a_notification_tells_how_a_refund_ended(
    standin: standins.WechatPay, provider: WechatPay
) -> None:
    await provider.prepare(PAYMENT)
    standin.pay(NUMBER)
    await provider.refund(PAYMENT)
    number = f"R{NUMBER}"
    done = RefundNews(out_trade_no=NUMBER, out_refund_no=number, amount=100, done=True)

    assert provider.read(*standin.refund_notification(number)) == done
    standin.end_refund(number, "CLOSED")
    closed = done.changed(done=False, problem="CLOSED")
    assert provider.read(*standin.refund_notification(number)) == closed
    with pytest.raises(Forged):
        provider.read(*standin.refund_notification(number, mchid="1900000002"))


async def test_what_no_notification_said_can_be_asked_for(
    standin: standins.WechatPay, provider: WechatPay
) -> None:
    assert await provider.query(PAYMENT) is None
    await provider.prepare(PAYMENT)
    assert await provider.query(PAYMENT) is None
    standin.pay(NUMBER)

    assert await provider.query(PAYMENT) == Receipt(out_trade_no=NUMBER, amount=100)


async def test_a_closed_order_is_closed_again_and_a_paid_one_stays_paid(
    standin: standins.WechatPay, provider: WechatPay
) -> None:
    assert not await provider.close_order(PAYMENT), "nobody knows it yet"
    await provider.prepare(PAYMENT)
    assert await provider.close_order(PAYMENT)
    assert await provider.close_order(PAYMENT)
    assert standin.orders[NUMBER]["trade_state"] == "CLOSED"

    standin.pay(NUMBER)
    assert await provider.close_order(PAYMENT)

    assert standin.orders[NUMBER]["trade_state"] == "SUCCESS"


@pytest.mark.parametrize("fate", [500, -500, 429])
async def test_a_refund_tried_again_is_one_refund(
    standin: standins.WechatPay, provider: WechatPay, fate: int
) -> None:
    await provider.prepare(PAYMENT)
    standin.pay(NUMBER)
    standin.trouble[NUMBER] = [fate]

    with pytest.raises(Unavailable):
        await provider.refund(PAYMENT)
    await provider.refund(PAYMENT)

    assert [r["amount"]["refund"] for r in standin.refunds.values()] == [100]
    assert list(standin.refunds) == [f"R{NUMBER}"]


async def test_a_refund_is_asked_after_until_it_is_through(
    standin: standins.WechatPay, provider: WechatPay
) -> None:
    await provider.prepare(PAYMENT)
    standin.pay(NUMBER)
    standin.refund_status = "PROCESSING"

    news = await provider.refund(PAYMENT)
    assert (news.done, news.problem) == (False, None)
    standin.end_refund(f"R{NUMBER}")
    assert (await provider.refund(PAYMENT)).done

    assert len(standin.refunds) == 1


async def test_a_refund_that_can_not_be_tells_why(
    standin: standins.WechatPay, provider: WechatPay
) -> None:
    await provider.prepare(PAYMENT)
    news = await provider.refund(PAYMENT)
    assert (news.done, news.problem) == (False, "RESOURCE_NOT_EXISTS")

    standin.pay(NUMBER)
    standin.refund_status = "ABNORMAL"
    news = await provider.refund(PAYMENT)
    assert (news.done, news.problem) == (False, "ABNORMAL")
