"""What medicine is kept in: every query goes by an index, the last package is sold once (X1–X4)."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any

import pytest

from care.accounts import Caller, Role
from care.catalogue import Diagnosis
from care.consultation import PersonSnapshot
from care.drug_orders import DrugOrder, Handover, OrderAction, OrderedDrug, OrderState, PharmacyCard
from care.drug_orders import caused_by as caused_by_order
from care.drug_orders import move as move_order
from care.errors import Conflict
from care.pharmacies import Address, Offer, Pharmacy
from care.prescribing import Item
from care.prescription_effects import caused_by
from care.prescriptions import Decision, Prescription, PrescriptionState, Signature
from care.transfer import DoctorCard
from storage.addresses import Addresses
from storage.catalogue import Diagnoses, Drugs
from storage.database import Database
from storage.drug_orders import DrugOrders
from storage.outbox import Outbox
from storage.payments import Payments
from storage.pharmacies import Pharmacies
from storage.prescriptions import Prescriptions
from storage.signing_keys import SigningKeyStore
from storage.vault import Vault
from tests.clock import ManualClock

NOW = datetime(2026, 11, 22, 8, 0, tzinfo=UTC)
LATER = NOW + timedelta(days=1)
COLLECTIONS = (
    "drugs", "diagnoses", "prescriptions", "drug_orders", "pharmacies", "offers", "addresses",
    "signing_keys", "payments",
)  # fmt: skip
BUYERS, STOCK = 12, 5


def prescription(number: int) -> Prescription:
    item = Item(
        drug="D1", name="甲药", category="某类", ingredients=("甲",), specification="1g", unit="盒",
        dose_unit="g", dose=1, frequency="qd", route="口服", days=3, quantity=1,
    )  # fmt: skip
    by = Signature(by="f1", name="李时珍", role=Role.PHARMACIST, at=NOW)
    return Prescription(
        id=f"p{number}", request=f"q{number}", consultation="c1", order_no="1", room="r1",
        patient="u1",
        doctor=DoctorCard(id="d1", name="小傅", title="t", department="d", hospital="h"),
        person=PersonSnapshot(id="x1", name="炎帝", sex="male", age=36),
        diagnoses=(Diagnosis(code="K05.2", name="急性牙周炎"),), drugs=(item,), created_at=NOW,
        state=PrescriptionState.APPROVED, signature=by, check_at=NOW,
        decision=Decision(approved=True, valid_until=LATER, signature=by),
    )  # fmt: skip


def order(number: int) -> DrugOrder:
    return DrugOrder(
        id=f"o{number}", request=f"q{number}", order_no=f"D{number}", prescription=f"p{number}",
        patient="u1", person="炎帝", handover=Handover.PICK_UP, created_at=NOW, check_at=LATER,
        pharmacy=PharmacyCard(id="P1", name="药房", address="路", telephone="1"),
        drugs=(OrderedDrug(
            drug="D1", name="甲药", specification="1g", unit="盒", quantity=1, price=100
        ),),
    )  # fmt: skip


class Shelf:
    def __init__(self, database: Database) -> None:
        clock, vault = ManualClock(), Vault({"1": b"k" * 32}, "1", b"i" * 32)
        outbox = Outbox(database, clock)
        self.drugs, self.diagnoses = Drugs(database), Diagnoses(database)
        self.prescriptions = Prescriptions(database, outbox)
        self.pharmacies = Pharmacies(database)
        self.orders = DrugOrders(database, outbox, self.prescriptions, self.pharmacies, vault)
        self.payments = Payments(database, outbox)
        self.addresses = Addresses(database, vault)
        self.keys = SigningKeyStore(database, vault)

    async def fill(self) -> None:
        for part in vars(self).values():
            if hasattr(part, "ensure_indexes"):
                await part.ensure_indexes()
        place = {"address": "路", "telephone": "1", "latitude": 26, "longitude": 119}
        await self.pharmacies.put(
            [Pharmacy(id="P1", name="药房", **place)],
            [Offer(pharmacy="P1", drug="D1", price=100, stock=STOCK)],
        )


@pytest.fixture
async def shelf(database: Database) -> Shelf:
    shelf = Shelf(database)
    await shelf.fill()
    return shelf


async def test_every_query_goes_by_an_index(database: Database, shelf: Shelf) -> None:
    await database.db.command("profile", 2)
    for query in queries(shelf):
        await query()
    await database.db.command("profile", 0)
    seen = database.db["system.profile"].find({"planSummary": {"$exists": True}})
    ours = {f"{database.db.name}.{name}" for name in COLLECTIONS}
    plans = [(e["ns"], e["planSummary"], e["command"]) async for e in seen if e["ns"] in ours]
    assert len(plans) > 50
    assert not [plan for plan in plans if "COLLSCAN" in plan[1]]


def queries(shelf: Shelf) -> list[Callable[[], Awaitable[Any]]]:
    """List a call of each method with each shape of its query."""
    s, p, o = shelf, prescription(1), order(1)
    callers = [
        Caller(user="u1", role=role, name="n", session="s", expires_at=LATER) for role in Role
    ]
    paid = move_order(o, OrderAction.PAID, NOW)
    done = paid.changed(state=OrderState.COMPLETED, version=3)
    home = Address(id="a1", name="炎帝", phone="13412345678", region="福州", detail="东街")
    changed = p.changed(version=2, check_at=NOW)
    lists = product(callers, (None, "c1"), (None, "p9"))
    return [
        lambda: s.drugs.search("药", 5), lambda: s.drugs.all_of(["D1"]),
        lambda: s.diagnoses.search("k0", 5), lambda: s.diagnoses.all_of(["K05.2"]),
        lambda: s.prescriptions.create(p), lambda: s.prescriptions.get("p1"),
        lambda: s.prescriptions.replace(p, changed, caused_by(changed)),
        *(
            lambda c=c, k=k, b=b, states=states: s.prescriptions.page(c, states, k, b, 5)
            for (c, k, b), states in product(lists, (None, [PrescriptionState.APPROVED]))
        ),
        lambda: s.prescriptions.of_person("x1", 5),
        s.prescriptions.next_check, lambda: s.prescriptions.claim_due(NOW, LATER),
        lambda: s.prescriptions.postpone(changed, LATER),
        lambda: s.orders.create(o, caused_by_order(o)), lambda: s.orders.get("o1"),
        s.orders.next_check, lambda: s.orders.claim_due(LATER, LATER),
        lambda: s.orders.postpone(o, LATER),
        *(
            lambda c=c, b=b, states=states: s.orders.page(c, states, b, 5)
            for c, b, states in product(callers, (None, "o9"), (None, [OrderState.PAID]))
        ),
        lambda: s.orders.replace(o, paid, caused_by_order(paid)),
        lambda: s.orders.replace(paid, done, caused_by_order(done)),
        lambda: s.pharmacies.near(26, 119, 5), lambda: s.pharmacies.all(5),
        lambda: s.pharmacies.get("P1"), lambda: s.pharmacies.offers(["P1"], ["D1"]),
        lambda: s.addresses.add("u1", home), lambda: s.addresses.of("u1"),
        lambda: s.addresses.remove("u1", "a1"),
        lambda: s.keys.ensure("d1"), lambda: s.keys.private("d1"), lambda: s.keys.public("d1"),
        lambda: s.payments.of(("drug_order", "o1")), lambda: s.payments.of(("consultation", "c1")),
        lambda: s.payments.of_all(["c1"]),
    ]  # fmt: skip


@pytest.mark.rule("X4")
async def test_the_last_packages_are_sold_once(database: Database, shelf: Shelf) -> None:
    for number in range(BUYERS):
        await shelf.prescriptions.create(prescription(number))

    async def buy(number: int) -> bool:
        try:
            await shelf.orders.create(order(number), caused_by_order(order(number)))
        except Conflict:
            return False
        return True

    bought = await asyncio.gather(*(buy(number) for number in range(BUYERS)))
    assert sum(bought) == STOCK
    offer = await database["offers"].find_one({"drug": "D1"})
    assert offer is not None
    assert offer["stock"] == 0
    # who went away empty-handed may order elsewhere; who calls off makes room
    empty = bought.index(False)
    assert await database["prescriptions"].count_documents({"order": None}) == BUYERS - STOCK
    first = order(bought.index(True))
    gone = move_order(first, OrderAction.CANCEL, NOW)
    assert await shelf.orders.replace(first, gone, caused_by_order(gone))
    assert await buy(empty)


@pytest.mark.rule("X4")
async def test_addresses_and_keys_are_sealed(database: Database, shelf: Shelf) -> None:
    home = Address(id="a1", name="炎帝", phone="13412345678", region="福州", detail="东街1号")
    await shelf.addresses.add("u1", home)
    await shelf.prescriptions.create(prescription(1))
    sent = order(1).changed(address=home)
    await shelf.orders.create(sent, caused_by_order(sent))
    stored = [
        document
        for name in ("addresses", "drug_orders")
        async for document in database[name].find()
    ]
    assert "13412345678" not in str(stored)
    assert "东街" not in str(stored)
    assert (await shelf.orders.get("o1")) == sent
