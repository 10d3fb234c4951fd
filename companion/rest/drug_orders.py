"""The routes of drug orders (处方订单, X4)."""

from dataclasses import replace
from typing import Annotated, Any

from pydantic import BaseModel, Field, StringConstraints

from care.accounts import STAFF, Role
from care.drug_orders import Handover, OrderAction, OrderState
from care.ports import Clock
from companion.drug_orders import DrugOrderService, OrderForm
from companion.rest.answers import BegunPayment, PaymentView
from companion.rest.consultations import PATIENT, Id
from companion.rest.kernel import Body, Call, Route
from companion.rest.paging import Listed, PageQuery, several
from companion.rest.people import Purpose
from companion.rest.pharmacies import AddressView

COUNTER = STAFF | {Role.PHARMACIST}
PARTIES = COUNTER | PATIENT

Tracking = Annotated[str, StringConstraints(strip_whitespace=True, min_length=4, max_length=40)]


class NewDrugOrder(Body):
    prescription: Id
    pharmacy: Id
    handover: Handover
    address: Id | None = None
    """Where it is delivered to."""


class Shipment(Body):
    tracking_no: Tracking | None = None


class Listing(PageQuery):
    state: str | None = Field(default=None, max_length=200)
    """One state, or several with commas."""


class OrderedDrugView(BaseModel):
    drug: str
    name: str
    specification: str
    unit: str
    quantity: int
    price: int


class PharmacyCardView(BaseModel):
    id: str
    name: str
    address: str
    telephone: str


class DrugOrderView(BaseModel):
    id: str
    order_no: str
    prescription: str
    person: str
    pharmacy: PharmacyCardView
    handover: Handover
    address: AddressView | None
    drugs: list[OrderedDrugView]
    delivery_fee: int
    amount: int
    state: OrderState
    tracking_no: str | None
    created_at: str
    paid_at: str | None
    ended_at: str | None
    expires_at: str | None
    payment: PaymentView | None


class DrugOrderRoutes:
    def __init__(self, orders: DrugOrderService, clock: Clock) -> None:
        self._orders = orders
        self._clock = clock

    def routes(self) -> list[Route]:
        every, one, view = "/drug-orders", "/drug-orders/{id}", DrugOrderView
        rows = [
            Route("POST", every, self.place, body=NewDrugOrder, roles=PATIENT, status=201,
                  answer=view, summary="Order what a prescription says, from a pharmacy"),
            Route("GET", every, self.list, query=Listing, roles=PARTIES,
                  answer=Listed[DrugOrderView],
                  summary="The own orders, newest first; at the counter all that were paid"),
            Route("GET", one, self.get, roles=PARTIES, answer=view, summary="Show one"),
            Route("POST", f"{one}/pay", self.pay, roles=PATIENT, answer=BegunPayment,
                  summary="Begin its payment, or go on with it"),
            Route("POST", f"{one}/cancel", self.cancel, roles=PATIENT | STAFF, answer=view,
                  summary="Call it off before it is prepared; what was paid goes back"),
            Route("POST", f"{one}/prepare", self.prepare, roles=COUNTER, answer=view,
                  summary="Begin to prepare it"),
            Route("POST", f"{one}/ready", self.ready, roles=COUNTER, answer=view,
                  summary="It can be picked up"),
            Route("POST", f"{one}/ship", self.ship, body=Shipment, roles=COUNTER, answer=view,
                  summary="It is on its way"),
            Route("POST", f"{one}/complete", self.complete, roles=PARTIES, answer=view,
                  summary="It was handed over, or received"),
            Route("POST", f"{one}/reveal", self.reveal, body=Purpose, roles=COUNTER,
                  answer=AddressView, summary="Show the whole address, for a stated purpose"),
        ]  # fmt: skip
        return [replace(row, tag="drug orders") for row in rows]

    async def place(self, call: Call) -> Any:
        form = OrderForm(request=call.creation_id(self._clock.now()), **dict(call.body))
        return await self._orders.show(await self._orders.place(call.caller, form), call.caller)

    async def list(self, call: Call) -> Any:
        query: Listing = call.query
        found = await self._orders.page(
            call.caller, several(query.state, OrderState), query.cursor, query.limit + 1
        )
        shown = found[: query.limit]
        cursor = shown[-1].id if len(found) > query.limit else None
        return {"items": [await self._orders.show(o, call.caller) for o in shown], "cursor": cursor}

    async def get(self, call: Call) -> Any:
        order = await self._orders.find(call.path["id"], call.caller)
        return await self._orders.show(order, call.caller)

    async def pay(self, call: Call) -> Any:
        payment, params = await self._orders.pay(call.path["id"], call.caller)
        return {"payment": payment.to_wire(), "params": params}

    async def cancel(self, call: Call) -> Any:
        return await self._act(call, OrderAction.CANCEL)

    async def prepare(self, call: Call) -> Any:
        return await self._act(call, OrderAction.PREPARE)

    async def ready(self, call: Call) -> Any:
        return await self._act(call, OrderAction.READY)

    async def ship(self, call: Call) -> Any:
        return await self._act(call, OrderAction.SHIP, tracking_no=call.body.tracking_no)

    async def complete(self, call: Call) -> Any:
        return await self._act(call, OrderAction.COMPLETE)

    async def _act(self, call: Call, action: OrderAction, **changes: Any) -> Any:
        order = await self._orders.act(call.path["id"], call.caller, action, **changes)
        return await self._orders.show(order, call.caller)

    async def reveal(self, call: Call) -> Any:
        body: Purpose = call.body
        address = await self._orders.reveal(call.path["id"], call.caller, body.purpose)
        return address.model_dump()
