"""What payment providers call: WeChat Pay's notifications, the sandbox's success (demo only)."""

from collections.abc import Mapping
from typing import Any, Literal, Protocol

import orjson
import structlog
from aiohttp import web
from pydantic import BaseModel

from care.errors import Forbidden
from care.payments import Mismatch, Receipt, RefundNews
from care.ports import PaymentStore
from companion.rest.answers import SettledPayment
from companion.rest.kernel import Also, Call, Route
from companion.wechat_pay.signing import Forged
from realtime.rooms.payments import PaymentService

log = structlog.get_logger(__name__)


class Reader(Protocol):
    """Reads a provider's notification. Raises Forged."""

    name: str

    def read(self, headers: Mapping[str, str], body: bytes) -> Receipt | RefundNews | None: ...


class Failed(BaseModel):
    """WeChat's own form of a refusal."""

    code: Literal["FAIL"]
    message: str


REFUSALS = (
    Also(400, "It speaks of another order or amount", Failed),
    Also(401, "It isn't the provider's", Failed),
)


class NotificationRoutes:
    def __init__(self, payments: PaymentService, reader: Reader) -> None:
        self._payments = payments
        self._reader = reader

    def routes(self) -> list[Route]:
        path = f"/payments/{self._reader.name}/notify"
        says = "Take the provider's word that money arrived, or went back"
        return [
            Route("POST", path, self.notify, public=True, status=204, also=REFUSALS, summary=says,
                  tag="payments"),
        ]  # fmt: skip

    async def notify(self, call: Call) -> web.Response | None:
        """Answer 204 once it is noted; whatever else comes, the provider tells again later."""
        try:
            match self._reader.read(call.request.headers, await call.request.read()):
                case Receipt() as receipt:
                    await self._payments.arrived(self._reader.name, receipt)
                case RefundNews() as news:
                    await self._payments.refund_told(self._reader.name, news)
        except Forged as failure:
            log.warning("payment_notification_forged", why=str(failure))
            return _fail(401, "签名或内容有误")
        except Mismatch:
            return _fail(400, "订单或金额不符")
        return None


def _fail(status: int, message: str) -> web.Response:
    body = orjson.dumps({"code": "FAIL", "message": message})
    return web.Response(status=status, body=body, content_type="application/json")


class SandboxPaymentRoutes:
    def __init__(self, store: PaymentStore, payments: PaymentService) -> None:
        self._store = store
        self._payments = payments

    def routes(self) -> list[Route]:
        path = "/payments/sandbox/{payment}/succeed"
        says = "Let a sandbox payment succeed"
        return [
            Route(
                "POST",
                path,
                self.succeed,
                public=True,
                answer=SettledPayment,
                summary=says,
                tag="payments",
            )
        ]

    async def succeed(self, call: Call) -> Any:
        """Note the money's arrival; asking again changes nothing."""
        payment = await self._store.get(call.path["payment"])
        if payment is None or payment.provider != "sandbox":
            raise Forbidden
        await self._payments.settle_paid(payment)
        settled = await self._store.get(payment.id)
        return {"payment": settled.to_wire() if settled else None}
