"""WeChat Pay's server as the tests hold it: it checks, signs and encrypts as the real one does."""

import asyncio
import base64
import json
import re
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from aiohttp import web
from aiohttp.test_utils import TestServer
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256

APPID, MCHID, API_KEY = "wx0123456789abcdef", "1900000001", b"k" * 32
MERCHANT_SERIAL, PLATFORM_SERIAL = "5157F09EFDC096DE", "PUB_KEY_ID_0119000000012024"
SKEW_SECONDS = 300


def new_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@dataclass
class Hold:
    """Requests of one kind for one order that WeChat keeps waiting.

    They are carried out first if `booked`, and else never: as when the answer, or the request,
    gets lost. `kind` is the last word of the path.
    """

    kind: str
    order: str
    booked: bool
    reached: asyncio.Event = field(default_factory=asyncio.Event)
    released: asyncio.Event = field(default_factory=asyncio.Event)

    async def keep(self) -> None:
        self.reached.set()
        await self.released.wait()


@dataclass
class WechatPay:
    """`now` gives Unix seconds.

    `trouble` is the fate of the next calls about an order, in turn: a status to answer. A negative
    one is answered after the request was carried out, as when the answer gets lost.
    """

    now: Callable[[], float]
    url: str = ""
    key: rsa.RSAPrivateKey = field(default_factory=new_key)
    merchant_key: rsa.RSAPrivateKey = field(default_factory=new_key)
    orders: dict[str, dict[str, Any]] = field(default_factory=dict)
    refunds: dict[str, dict[str, Any]] = field(default_factory=dict)
    refund_status: str = "SUCCESS"
    trouble: dict[str, list[int]] = field(default_factory=dict)
    code: str = "SYSTEM_ERROR"
    calls: list[str] = field(default_factory=list)
    forging: bool = False
    holds: list[Hold] = field(default_factory=list)

    def hold(self, kind: str, order: str, *, booked: bool) -> Hold:
        """Keep such requests waiting from now on, until `let_go`."""
        self.holds.append(Hold(kind, order, booked))
        return self.holds[-1]

    def let_go(self) -> None:
        """Answer what waits, and keep nothing waiting any more."""
        held, self.holds = self.holds, []
        for hold in held:
            hold.released.set()

    def _held(self, path: str, order: str | None) -> Hold | None:
        kind = path.rpartition("/")[2]
        return next((h for h in self.holds if (h.kind, h.order) == (kind, order)), None)

    def pay(self, out_trade_no: str) -> None:
        """Let the patient pay the order."""
        self.orders[out_trade_no]["trade_state"] = "SUCCESS"

    def notification(
        self, number: str, event: str = "TRANSACTION.SUCCESS", /, **changes: Any
    ) -> tuple[dict[str, str], bytes]:
        """Give the headers and the body that tell of a payment, `changes` in its resource."""
        return self._seal(event, self._transaction(number) | changes)

    def refund_notification(self, number: str, /, **changes: Any) -> tuple[dict[str, str], bytes]:
        """Give the headers and the body that tell how the refund of this number ended."""
        refund = self.refunds[number]
        told = {
            "mchid": MCHID,
            "out_trade_no": refund["out_trade_no"],
            "out_refund_no": number,
            "refund_status": refund["status"],
            "amount": {"total": refund["amount"]["total"], "refund": refund["amount"]["refund"]},
        }
        return self._seal(f"REFUND.{refund['status']}", told | changes)

    def end_refund(self, number: str, status: str = "SUCCESS") -> None:
        """Let a refund that was under way end."""
        self.refunds[number]["status"] = status

    def _seal(self, event: str, told: dict[str, Any]) -> tuple[dict[str, str], bytes]:
        resource = json.dumps(told).encode()
        nonce = secrets.token_hex(6)
        sealed = AESGCM(API_KEY).encrypt(nonce.encode(), resource, b"transaction")
        return self.sign(
            json.dumps(
                {
                    "id": secrets.token_hex(16),
                    "event_type": event,
                    "resource_type": "encrypt-resource",
                    "resource": {
                        "algorithm": "AEAD_AES_256_GCM",
                        "ciphertext": base64.b64encode(sealed).decode(),
                        "associated_data": "transaction",
                        "nonce": nonce,
                    },
                }
            ).encode()
        )

    def sign(self, body: bytes) -> tuple[dict[str, str], bytes]:
        """Sign an answer or a notification."""
        stamp, nonce = str(int(self.now())), secrets.token_hex(16)
        key = new_key() if self.forging else self.key
        text = f"{stamp}\n{nonce}\n".encode() + body + b"\n"
        signature = base64.b64encode(key.sign(text, PKCS1v15(), SHA256())).decode()
        return {
            "Content-Type": "application/json",
            "Wechatpay-Serial": PLATFORM_SERIAL,
            "Wechatpay-Timestamp": stamp,
            "Wechatpay-Nonce": nonce,
            "Wechatpay-Signature": signature,
        }, body

    def _transaction(self, out_trade_no: str) -> dict[str, Any]:
        order = self.orders[out_trade_no]
        return {
            "appid": order["appid"],
            "mchid": order["mchid"],
            "out_trade_no": out_trade_no,
            "trade_state": order["trade_state"],
            "amount": {**order["amount"], "payer_total": order["amount"]["total"]},
        }

    async def handle(self, request: web.Request) -> web.Response:
        body = await request.text()
        self.calls.append(f"{request.method} {request.path}")
        if not self._signed(request, body):
            return web.json_response({"code": "SIGN_ERROR", "message": "签名错误"}, status=401)
        asked = json.loads(body or "{}")
        fate = self._fate(request.path, asked)
        if fate > 0:
            return web.json_response({"code": self.code, "message": "…"}, status=fate)
        hold = self._held(request.path, asked.get("out_trade_no"))
        if hold and not hold.booked:
            await hold.keep()
            return web.json_response({"code": self.code, "message": "…"}, status=503)
        status, answer = self._perform(request, asked)
        if hold:
            await hold.keep()
        if fate < 0:
            status, answer = -fate, {"code": self.code, "message": "…"}
        content = b"" if status == 204 else json.dumps(answer).encode()
        headers, content = self.sign(content)
        return web.Response(status=status, body=content, headers=headers)

    def _fate(self, path: str, asked: dict[str, Any]) -> int:
        for order, fates in self.trouble.items():
            if fates and (order in path or order == asked.get("out_trade_no")):
                return fates.pop(0)
        return 0

    def _signed(self, request: web.Request, body: str) -> bool:
        scheme, _, rest = request.headers.get("Authorization", "").partition(" ")
        given = dict(re.findall(r'(\w+)="([^"]*)"', rest))
        known = (scheme, given.get("mchid"), given.get("serial_no"))
        if known != ("WECHATPAY2-SHA256-RSA2048", MCHID, MERCHANT_SERIAL):
            return False
        stamp, nonce = given["timestamp"], given["nonce_str"]
        lines = (request.method, request.raw_path, stamp, nonce, body)
        try:
            self.merchant_key.public_key().verify(
                base64.b64decode(given["signature"]),
                "".join(f"{line}\n" for line in lines).encode(),
                PKCS1v15(),
                SHA256(),
            )
        except InvalidSignature:
            return False
        return abs(self.now() - int(stamp)) <= SKEW_SECONDS

    def _perform(self, request: web.Request, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        path = request.path.removeprefix("/v3/")
        if path == "pay/transactions/jsapi":
            return self._prepay(body)
        if path == "refund/domestic/refunds":
            return self._refund(body)
        number = path.removeprefix("pay/transactions/out-trade-no/").removesuffix("/close")
        if number not in self.orders:
            return 404, {"code": "ORDER_NOT_EXIST", "message": "订单不存在"}
        if request.method == "GET":
            return 200, self._transaction(number)
        if self.orders[number]["trade_state"] == "SUCCESS":
            return 400, {"code": "ORDERPAID", "message": "订单已支付"}
        self.orders[number]["trade_state"] = "CLOSED"
        return 204, {}

    def _prepay(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        number = body["out_trade_no"]
        known = self.orders.setdefault(number, {**body, "trade_state": "NOTPAY"})
        if {k: v for k, v in known.items() if k != "trade_state"} != body:
            return 400, {"code": "INVALID_REQUEST", "message": "商户订单号重复"}
        return 200, {"prepay_id": f"wx{number}"}

    def _refund(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        order = self.orders.get(body["out_trade_no"])
        if order is None or order["trade_state"] != "SUCCESS":
            return 404, {"code": "RESOURCE_NOT_EXISTS", "message": "订单不存在"}
        given = [r for r in self.refunds.values() if r["out_trade_no"] == body["out_trade_no"]]
        number = body["out_refund_no"]
        if number not in self.refunds and given:
            return 400, {"code": "INVALID_REQUEST", "message": "订单已全额退款"}
        refund = self.refunds.setdefault(number, {**body, "status": self.refund_status})
        return 200, refund


@asynccontextmanager
async def serve_wechat_pay(now: Callable[[], float]) -> AsyncIterator[WechatPay]:
    async with serving(WechatPay(now)) as standin:
        yield standin


Standin = TypeVar("Standin", bound=WechatPay)


@asynccontextmanager
async def serving(standin: Standin) -> AsyncIterator[Standin]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", standin.handle)
    async with TestServer(app) as server:
        standin.url = str(server.make_url("")).rstrip("/")
        yield standin
