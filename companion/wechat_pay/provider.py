"""WeChat Pay for mini-programs (JSAPI, API v3) as the hospital's payment provider."""

from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from typing import Any, Literal, TypeVar

import structlog
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from care.errors import BadRequest, Unavailable
from care.payments import Payment, Receipt, RefundNews
from companion.wechat_pay.bill import WechatBills
from companion.wechat_pay.client import Refused, WechatPayClient
from companion.wechat_pay.signing import Forged, Signer, Verifier, decrypt

CURRENCY = "CNY"
TRANSACTIONS = "/v3/pay/transactions"
REFUNDS = "/v3/refund/domestic/refunds"

log = structlog.get_logger(__name__)


class _Said(BaseModel):
    """Something WeChat Pay says; it may say more than we read."""

    model_config = ConfigDict(frozen=True)


class _Prepaid(_Said):
    prepay_id: str = Field(min_length=1)


class _Amount(_Said):
    total: int
    currency: str = CURRENCY


class _RefundAmount(_Said):
    refund: int
    currency: str = CURRENCY


class _Transaction(_Said):
    appid: str
    mchid: str
    out_trade_no: str
    trade_state: str
    amount: _Amount | None = None


class _Refund(_Said):
    out_trade_no: str
    out_refund_no: str
    status: str
    amount: _RefundAmount


class _RefundEnd(_Said):
    """What a notification says of a refund; it names the state otherwise than an answer does."""

    mchid: str
    out_trade_no: str
    out_refund_no: str
    refund_status: str
    amount: _RefundAmount


class _Resource(_Said):
    algorithm: Literal["AEAD_AES_256_GCM"]
    ciphertext: str
    associated_data: str = ""
    nonce: str


class _Notification(_Said):
    event_type: str
    resource: _Resource


Said = TypeVar("Said", bound=_Said)


class WechatPay:
    name = "wechat"

    def __init__(
        self,
        appid: str,
        notify_url: str,
        api_key: bytes,
        client: WechatPayClient,
        signer: Signer,
        verifier: Verifier,
        openid: Callable[[str], Awaitable[str | None]],
        order_seconds: int,
    ) -> None:
        self._appid = appid
        self._notify_url = notify_url
        self._api_key = api_key
        self._client = client
        self._signer = signer
        self._verifier = verifier
        self._openid = openid
        self._order_time = timedelta(seconds=order_seconds)
        self.bills = WechatBills(client)

    async def prepare(self, payment: Payment) -> Mapping[str, Any]:
        """Announce the order; give what `wx.requestPayment` takes. Raises BadRequest, Unavailable.

        The same order announced again gives a prepay id of the same order, so it is paid once.
        """
        openid = await self._openid(payment.payer)
        if openid is None:
            raise BadRequest("请先在小程序中登录微信，再支付")
        order = {
            "appid": self._appid,
            "mchid": self._signer.mchid,
            "description": payment.service,
            "out_trade_no": payment.out_trade_no,
            "time_expire": (payment.created_at + self._order_time).isoformat(timespec="seconds"),
            "notify_url": self._notify_url,
            "amount": {"total": payment.amount, "currency": CURRENCY},
            "payer": {"openid": openid},
        }
        try:
            answer = await self._client.post(f"{TRANSACTIONS}/jsapi", order)
        except Refused:
            raise Unavailable from None
        return self._to_pay(_read(_Prepaid, answer).prepay_id)

    def _to_pay(self, prepay_id: str) -> dict[str, str]:
        stamp, nonce = self._signer.stamp()
        package = f"prepay_id={prepay_id}"
        return {
            "timeStamp": stamp,
            "nonceStr": nonce,
            "package": package,
            "signType": "RSA",
            "paySign": self._signer.sign(self._appid, stamp, nonce, package),
        }

    async def refund(self, payment: Payment) -> RefundNews:
        """Ask for the refund under its number; asking again is how its end is learnt."""
        request = {
            "out_trade_no": payment.out_trade_no,
            "out_refund_no": payment.out_refund_no,
            "notify_url": self._notify_url,
            "amount": {"refund": payment.amount, "total": payment.amount, "currency": CURRENCY},
        }
        try:
            refund = _read(_Refund, await self._client.post(REFUNDS, request))
        except Refused as refusal:
            return RefundNews(
                out_trade_no=payment.out_trade_no, out_refund_no=payment.out_refund_no or "",
                amount=payment.amount, done=False, problem=refusal.code,
            )  # fmt: skip
        return _news(refund.out_trade_no, refund.out_refund_no, refund.amount, refund.status)

    async def query(self, payment: Payment) -> Receipt | None:
        """Ask whether the money came, for a notification that didn't. Raises Unavailable."""
        target = f"{TRANSACTIONS}/out-trade-no/{payment.out_trade_no}?mchid={self._signer.mchid}"
        try:
            answer = await self._client.get(target)
        except Refused as refusal:
            if refusal.code == "ORDER_NOT_EXIST":
                return None
            raise
        try:
            return self._receipt(_read(_Transaction, answer))
        except Forged as failure:
            log.error("wechat_pay_foreign_answer", why=str(failure))
            raise Unavailable from None

    async def close_order(self, payment: Payment) -> bool:
        """Let nobody pay this order any more; say whether that is certain.

        It isn't where WeChat Pay refuses, say while the payer types his password.
        """
        target = f"{TRANSACTIONS}/out-trade-no/{payment.out_trade_no}/close"
        try:
            await self._client.post(target, {"mchid": self._signer.mchid})
        except Refused as refusal:
            return refusal.code in {"ORDERPAID", "ORDER_CLOSED"}
        return True

    async def close(self) -> None:
        await self._client.close()

    def read(self, headers: Mapping[str, str], body: bytes) -> Receipt | RefundNews | None:
        """Read a notification; None for one that tells nothing of money. Raises Forged."""
        self._verifier.check(headers, body)
        try:
            notification = _Notification.model_validate_json(body)
            if notification.event_type == "TRANSACTION.SUCCESS":
                return self._receipt(self._open(_Transaction, notification.resource))
            if notification.event_type.startswith("REFUND."):
                return self._refund_end(self._open(_RefundEnd, notification.resource))
        except ValidationError:
            raise Forged("malformed") from None
        return None

    def _open(self, model: type[Said], resource: _Resource) -> Said:
        clear = decrypt(
            self._api_key, resource.nonce, resource.associated_data, resource.ciphertext
        )
        return model.model_validate_json(clear)

    def _refund_end(self, end: _RefundEnd) -> RefundNews:
        if end.mchid != self._signer.mchid:
            raise Forged("another merchant")
        return _news(end.out_trade_no, end.out_refund_no, end.amount, end.refund_status)

    def _receipt(self, transaction: _Transaction) -> Receipt | None:
        if (transaction.mchid, transaction.appid) != (self._signer.mchid, self._appid):
            raise Forged("another merchant or mini-program")
        # REFUND: it was paid first, and a notification may come after its refund
        if transaction.trade_state not in {"SUCCESS", "REFUND"} or transaction.amount is None:
            return None
        if transaction.amount.currency != CURRENCY:
            raise Forged("another currency")
        return Receipt(out_trade_no=transaction.out_trade_no, amount=transaction.amount.total)


def _news(trade: str, number: str, amount: _RefundAmount, status: str) -> RefundNews:
    if amount.currency != CURRENCY:
        raise Forged("another currency")
    return RefundNews(
        out_trade_no=trade,
        out_refund_no=number,
        amount=amount.refund,
        done=status == "SUCCESS",
        problem=None if status in {"SUCCESS", "PROCESSING"} else status,
    )


def _read(model: type[Said], answer: Mapping[str, Any]) -> Said:
    try:
        return model.model_validate(answer)
    except ValidationError:
        log.error("wechat_pay_unexpected_answer", of=model.__name__)
        raise Unavailable from None
