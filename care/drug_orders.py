"""An order of drugs (处方订单): its one table, and who may move it (X4)."""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any

from pydantic import Field, NonNegativeInt, PositiveInt

from care.accounts import STAFF, Caller, Role
from care.effects import DrugOrderUpdated, Effect, Outgoing, PrescriptionUpdated, Settle
from care.errors import Conflict, Forbidden
from care.masking import mask_phone
from care.notices import Notify
from care.pharmacies import Address
from care.record import Record, wire_time


class OrderState(StrEnum):
    PLACED = "placed"
    PAID = "paid"
    PREPARING = "preparing"
    READY = "ready"
    SHIPPED = "shipped"
    COMPLETED = "completed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


class OrderAction(StrEnum):
    PAID = "paid"
    CANCEL = "cancel"
    RUN_OUT = "run_out"
    PREPARE = "prepare"
    READY = "ready"
    SHIP = "ship"
    COMPLETE = "complete"


class Handover(StrEnum):
    """How the patient gets it."""

    PICK_UP = "pick_up"
    DELIVERY = "delivery"


TABLE: Mapping[tuple[OrderState, OrderAction], OrderState] = {
    (OrderState.PLACED, OrderAction.PAID): OrderState.PAID,
    (OrderState.PLACED, OrderAction.CANCEL): OrderState.CANCELLED,
    (OrderState.PLACED, OrderAction.RUN_OUT): OrderState.EXPIRED,
    (OrderState.PAID, OrderAction.CANCEL): OrderState.CANCELLED,
    (OrderState.PAID, OrderAction.PREPARE): OrderState.PREPARING,
    (OrderState.PREPARING, OrderAction.READY): OrderState.READY,
    (OrderState.PREPARING, OrderAction.SHIP): OrderState.SHIPPED,
    (OrderState.READY, OrderAction.COMPLETE): OrderState.COMPLETED,
    (OrderState.SHIPPED, OrderAction.COMPLETE): OrderState.COMPLETED,
}

_COUNTER = STAFF | {Role.PHARMACIST}

ACTORS: Mapping[OrderAction, frozenset[Role]] = {
    OrderAction.CANCEL: STAFF | {Role.PATIENT},
    OrderAction.PREPARE: _COUNTER,
    OrderAction.READY: _COUNTER,
    OrderAction.SHIP: _COUNTER,
    # whoever hands it over, or who received it
    OrderAction.COMPLETE: _COUNTER | {Role.PATIENT},
    # the payment and the clock; no caller may ask for these
    OrderAction.PAID: frozenset(),
    OrderAction.RUN_OUT: frozenset(),
}

_HANDOVERS: Mapping[OrderAction, Handover] = {
    OrderAction.READY: Handover.PICK_UP,
    OrderAction.SHIP: Handover.DELIVERY,
}

CLOSED = frozenset({OrderState.CANCELLED, OrderState.EXPIRED})
"""Nothing was had: the prescription is free for another order."""


class OrderedDrug(Record):
    """A drug at the pharmacy's price of a package, in fen."""

    drug: str
    name: str
    specification: str
    unit: str
    quantity: PositiveInt
    price: PositiveInt


class PharmacyCard(Record):
    """The pharmacy as it was when the order was placed."""

    id: str
    name: str
    address: str
    telephone: str


class DrugOrder(Record):
    id: str
    request: str
    """The same for every try of one request: the second gives the first one's order."""
    order_no: str
    prescription: str
    patient: str
    person: str
    """The name of who takes it."""
    pharmacy: PharmacyCard
    handover: Handover
    address: Address | None = None
    drugs: tuple[OrderedDrug, ...] = Field(min_length=1)
    delivery_fee: NonNegativeInt = 0
    state: OrderState = OrderState.PLACED
    created_at: datetime
    paid_at: datetime | None = None
    ended_at: datetime | None = None
    tracking_no: str | None = None
    check_at: datetime | None = None
    """When it runs out unless it is paid."""
    version: int = 1

    @property
    def amount(self) -> int:
        return self.delivery_fee + sum(d.price * d.quantity for d in self.drugs)

    @property
    def live(self) -> bool:
        return self.state not in CLOSED

    def allows(self, caller: Caller) -> bool:
        """Say whether the caller may see it: the counter once it was paid."""
        if caller.role in STAFF:
            return True
        paid = self.paid_at is not None
        return caller.user == self.patient or (caller.role is Role.PHARMACIST and paid)

    def to_wire(self) -> dict[str, Any]:
        same = {
            "id", "order_no", "prescription", "person", "handover", "delivery_fee", "state",
            "tracking_no", "drugs", "pharmacy",
        }  # fmt: skip
        return {
            **self.model_dump(mode="json", include=same),
            "address": self.address and address_view(self.address),
            "amount": self.amount,
            "created_at": wire_time(self.created_at),
            "paid_at": self.paid_at and wire_time(self.paid_at),
            "ended_at": self.ended_at and wire_time(self.ended_at),
            "expires_at": self.check_at and wire_time(self.check_at),
        }


def address_view(address: Address) -> dict[str, Any]:
    """Show an address with its number masked (P3)."""
    return address.model_dump() | {"phone": mask_phone(address.phone)}


def permit(order: DrugOrder, action: OrderAction, caller: Caller) -> None:
    """Refuse a caller who may not ask for the action. Raises Forbidden."""
    if caller.role not in ACTORS[action] or not order.allows(caller):
        raise Forbidden


def move(order: DrugOrder, action: OrderAction, now: datetime, **changes: Any) -> DrugOrder:
    """Return it after the action. Raises Conflict where the table has no such move."""
    state = TABLE.get((order.state, action))
    if state is None or _HANDOVERS.get(action, order.handover) is not order.handover:
        raise Conflict
    changes |= {"state": state, "version": order.version + 1, "check_at": None}
    if action is OrderAction.PAID:
        changes["paid_at"] = now
    if state in CLOSED or state is OrderState.COMPLETED:
        changes["ended_at"] = now
    return order.changed(**changes)


_NOTES: Mapping[OrderState, tuple[str, str]] = {
    OrderState.READY: ("drug_order_ready", "药品已备好，请凭订单到药房取药"),
    OrderState.SHIPPED: ("drug_order_shipped", "药品已发出，请留意查收"),
    OrderState.EXPIRED: ("drug_order_closed", "超时未支付，订单已关闭"),
    OrderState.CANCELLED: ("drug_order_closed", "订单已取消"),
}


def caused_by(order: DrugOrder, pharmacists: tuple[str, ...] = ()) -> Outgoing:
    """List what entering its state causes; `pharmacists` are told of what waits for them."""
    effects: list[Effect] = []
    if not order.live:
        effects.append(Settle(drug_order=order.id, refund=True))
    effects += [
        DrugOrderUpdated(order=order.id),
        # it says by which order it is filled, and whether the medicine was had
        PrescriptionUpdated(prescription=order.prescription),
    ]
    template, note = _NOTES.get(order.state, ("drug_order_paid", "请配药"))
    told = (order.patient,) if order.state in _NOTES else pharmacists
    values = {"service": "处方购药", "pharmacy": order.pharmacy.name, "note": note}
    effects += [
        Notify(user=user, key=f"{template}:{order.id}:{user}", template=template, values=values)
        for user in told
    ]
    return Outgoing(id=f"drug_order:{order.id}:{order.version:06d}", effects=tuple(effects))
