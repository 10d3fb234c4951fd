"""The sandbox's route: a payment succeeds when asked to (demo only)."""

from typing import Any

from care.errors import Forbidden
from care.ports import PaymentStore
from companion.rest.kernel import Call, Route
from realtime.rooms.carrier import Carrier


class SandboxPaymentRoutes:
    def __init__(self, payments: PaymentStore, carrier: Carrier) -> None:
        self._payments = payments
        self._carrier = carrier

    def routes(self) -> list[Route]:
        path = "/payments/sandbox/{payment}/succeed"
        says = "Let a sandbox payment succeed"
        return [Route("POST", path, self.succeed, public=True, summary=says, tag="payments")]

    async def succeed(self, call: Call) -> Any:
        """Note the money's arrival; asking again changes nothing."""
        payment = await self._payments.get(call.path["payment"])
        if payment is None or payment.provider != "sandbox":
            raise Forbidden
        await self._carrier.settle_paid(payment)
        settled = await self._payments.get(payment.id)
        return {"payment": settled.to_wire() if settled else None}
