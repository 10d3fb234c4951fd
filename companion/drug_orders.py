"""The use cases of drug orders: placing, paying, preparing, handing over, calling off (X4)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Protocol
from zoneinfo import ZoneInfo

from care.accounts import STAFF, Caller, Role
from care.audit import Inspection
from care.consultation import order_number
from care.drug_orders import (
    DrugOrder,
    Handover,
    OrderAction,
    OrderedDrug,
    OrderState,
    PharmacyCard,
    caused_by,
    move,
    permit,
)
from care.effects import DrugOrderUpdated, Settle
from care.errors import BadRequest, Conflict, Forbidden
from care.payments import Payment, Subject
from care.pharmacies import Address, Offer
from care.policy import ConsultationPolicy
from care.ports import Channel, Clock
from care.prescriptions import Prescription
from care.record import new_id
from companion.prescriptions import Carrier, Pharmacists
from storage.addresses import Addresses
from storage.drug_orders import DrugOrders
from storage.pharmacies import Pharmacies
from storage.prescriptions import Prescriptions

ATTEMPTS = 10
"""How often a change is tried again after losing to another; each loss means the other one won."""


class Money(Protocol):
    """Begins an order's payment; `settle` brings it in line with the order's end."""

    async def begin_for(
        self, subject: Subject, payer: str, order_no: str, amount: int
    ) -> tuple[Payment, Mapping[str, Any]]: ...

    async def settle(self, effect: Settle) -> None: ...


class PaymentSource(Protocol):
    async def of(self, subject: Subject) -> Payment | None: ...


@dataclass(frozen=True, slots=True)
class OrderForm:
    """What the patient chose; `request` is the same for every try of the same request."""

    request: str
    prescription: str
    pharmacy: str
    handover: Handover
    address: str | None = None


class DrugOrderService:
    def __init__(
        self,
        store: DrugOrders,
        prescriptions: Prescriptions,
        pharmacies: Pharmacies,
        addresses: Addresses,
        money: Money,
        payments: PaymentSource,
        pharmacists: Pharmacists,
        carrier: Carrier,
        channel: Channel,
        audit: Inspection,
        clock: Clock,
        policy: ConsultationPolicy,
        zone: ZoneInfo,
    ) -> None:
        self._store = store
        self._prescriptions = prescriptions
        self._pharmacies = pharmacies
        self._addresses = addresses
        self._money = money
        self._payments = payments
        self._pharmacists = pharmacists
        self._carrier = carrier
        self._channel = channel
        self._audit = audit
        self._clock = clock
        self._policy = policy
        self._zone = zone

    async def place(self, caller: Caller, form: OrderForm) -> DrugOrder:
        """Order what a prescription says, once however often it is sent.

        Raises Forbidden for anyone else's prescription or address, Conflict when it is filled, void
        or expired, or the pharmacy hasn't everything.
        """
        now = self._clock.now()
        p = await self._prescriptions.get(form.prescription)
        if p is None or not p.allows(caller):
            raise Forbidden
        pharmacy = await self._pharmacies.get(form.pharmacy)
        if pharmacy is None:
            raise BadRequest.field("pharmacy", "没有这家药房")
        delivered = form.handover is Handover.DELIVERY
        if delivered and not pharmacy.delivers:
            raise BadRequest.field("handover", "该药房不提供配送")
        offers = await self._pharmacies.offers([pharmacy.id], [i.drug for i in p.drugs])
        card = PharmacyCard(**{n: getattr(pharmacy, n) for n in PharmacyCard.model_fields})
        unpaid_until = now + timedelta(seconds=self._policy.payment_seconds)
        order = DrugOrder(
            id=new_id(now),
            request=form.request,
            order_no=f"D{order_number(now.astimezone(self._zone).date(), form.request)}",
            prescription=p.id,
            patient=p.patient,
            person=p.person.name,
            pharmacy=card,
            handover=form.handover,
            address=await self._address(caller, form.address) if delivered else None,
            drugs=tuple(_priced(p, {drug: offer for (_, drug), offer in offers.items()})),
            delivery_fee=pharmacy.delivery_fee if delivered else 0,
            created_at=now,
            check_at=min(unpaid_until, p.valid_until) if p.valid_until else unpaid_until,
        )
        outgoing = caused_by(order)
        stored = await self._store.create(order, outgoing)
        await self._carrier.carry_out(outgoing.id)
        return stored

    async def _address(self, caller: Caller, address_id: str | None) -> Address:
        if address_id is None:
            raise BadRequest.field("address", "请选择收货地址")
        return await self._addresses.get(caller.user, address_id)

    async def pay(self, order_id: str, caller: Caller) -> tuple[Payment, Mapping[str, Any]]:
        """Begin the payment, or go on with the one begun; answer what the client needs to pay."""
        order = await self._store.get(order_id)
        if order is None or caller.user != order.patient:
            raise Forbidden
        if order.state is not OrderState.PLACED or _late(order, self._clock):
            raise Conflict
        subject = ("drug_order", order.id)
        begun = await self._money.begin_for(subject, order.patient, order.order_no, order.amount)
        now = await self._store.get(order.id)
        if now is not None and not now.live:
            # its closing found no payment yet that it could have closed along
            await self._money.settle(Settle(drug_order=order.id, refund=True))
            raise Conflict
        return begun

    async def paid(self, order_id: str) -> DrugOrder:
        """Let the payment move it. Raises Conflict when its time was up, or it closed, before."""
        return await self._change(order_id, OrderAction.PAID)

    async def ended(self, order_id: str) -> bool | None:
        """Say whether its end gives the money back; None while it is open."""
        order = await self._store.get(order_id)
        if order is None or (order.live and order.state is not OrderState.COMPLETED):
            return None
        return not order.live

    async def act(
        self, order_id: str, caller: Caller, action: OrderAction, **changes: Any
    ) -> DrugOrder:
        """Let a person move it. Raises Forbidden or Conflict, then nothing has changed."""
        return await self._change(order_id, action, caller, **changes)

    async def _change(
        self, order_id: str, action: OrderAction, caller: Caller | None = None, **changes: Any
    ) -> DrugOrder:
        for _ in range(ATTEMPTS):
            before = await self._store.get(order_id)
            if before is None:
                raise Forbidden
            if caller is not None:
                permit(before, action, caller)
                # what is still to be handed over nobody has received
                if action is OrderAction.COMPLETE and caller.role is Role.PATIENT:
                    _refuse_unsent(before)
            if _late(before, self._clock):
                raise Conflict("订单已超时关闭")
            after = move(before, action, self._clock.now(), **changes)
            if await self._store_change(before, after):
                return after
        raise Conflict

    async def _store_change(self, before: DrugOrder, after: DrugOrder) -> bool:
        paid = after.state is OrderState.PAID
        outgoing = caused_by(after, tuple(await self._pharmacists()) if paid else ())
        stored = await self._store.replace(before, after, outgoing)
        if stored:
            await self._carrier.carry_out(outgoing.id)
        return stored

    async def look_at(self, order: DrugOrder) -> None:
        """Close what was not paid in its time; whoever pays at this moment may still win."""
        after = move(order, OrderAction.RUN_OUT, self._clock.now())
        await self._store_change(order, after)

    async def find(self, order_id: str, caller: Caller) -> DrugOrder:
        """Give it to whom it concerns; a look by staff is noted. Raises Forbidden to others."""
        order = await self._store.get(order_id)
        if order is None or not order.allows(caller):
            raise Forbidden
        if caller.user != order.patient:
            await self._note(caller, "drug_order_read", order, "look_up")
        return order

    async def reveal(self, order_id: str, caller: Caller, purpose: str) -> Address:
        """Give the whole address to whoever sends it; the purpose is kept (P3, S4)."""
        order = await self._store.get(order_id)
        if order is None or not order.allows(caller) or order.address is None:
            raise Forbidden
        await self._note(caller, "drug_order_revealed", order, purpose)
        return order.address

    async def _note(self, caller: Caller, action: str, order: DrugOrder, purpose: str) -> None:
        details = {"drug_order": order.id}
        await self._audit.record(caller.user, action, order.patient, purpose, details)

    async def page(
        self,
        caller: Caller,
        states: Sequence[OrderState] | None,
        before: str | None,
        limit: int,
    ) -> list[DrugOrder]:
        """List what the caller may see; what staff are shown is noted."""
        found = await self._store.page(caller, states, before, limit)
        if caller.role in STAFF or caller.role is Role.PHARMACIST:
            owners = {order.id: order.patient for order in found}
            await self._audit.record_all(caller.user, "drug_order_listed", owners, "search")
        return found

    async def show(self, order: DrugOrder, caller: Caller) -> dict[str, Any]:
        """Show it; how the money stands is between patient and hospital."""
        payment = None
        if caller.role is not Role.PHARMACIST:
            payment = await self._payments.of(("drug_order", order.id))
        return order.to_wire() | {"payment": payment and payment.to_wire()}

    async def tell(self, effect: DrugOrderUpdated) -> None:
        """Push it to its patient, and once it was paid to the pharmacists."""
        order = await self._store.get(effect.order)
        if order is None:
            return
        payment = await self._payments.of(("drug_order", order.id))
        shown = order.to_wire() | {"payment": payment and payment.to_wire()}
        self._channel.push([order.patient], "drug_order:updated", shown)
        if order.paid_at:
            counter = await self._pharmacists()
            self._channel.push(counter, "drug_order:updated", shown | {"payment": None})


def _priced(p: Prescription, offers: Mapping[str, Offer]) -> list[OrderedDrug]:
    """Price what was prescribed. Raises Conflict where the pharmacy hasn't all of it."""
    priced = []
    for i in p.drugs:
        offer = offers.get(i.drug)
        if offer is None or not offer.has(i.quantity):
            raise Conflict(f"该药房的{i.name}库存不足")
        names = ("drug", "name", "specification", "unit", "quantity")
        priced.append(OrderedDrug(price=offer.price, **{n: getattr(i, n) for n in names}))
    return priced


def _late(order: DrugOrder, clock: Clock) -> bool:
    """Say whether its time to be paid is up, whether or not a clock looked yet."""
    return order.check_at is not None and order.check_at <= clock.now()


def _refuse_unsent(order: DrugOrder) -> None:
    if order.state is OrderState.READY:
        raise Forbidden
