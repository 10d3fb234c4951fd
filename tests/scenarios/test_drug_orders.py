"""Orders of drugs through the wire: near pharmacies, paying, handing over, once a filling (X4)."""

import asyncio
from itertools import product
from typing import Any

import pytest
import pytest_asyncio

from care.accounts import Role
from care.drug_orders import ACTORS, TABLE, Handover, OrderAction, OrderState
from tests.scenarios.conftest import Advance, Enter, NewPatient
from tests.scenarios.people import HUANGFUMI, OPERATOR, User, begin
from tests.scenarios.prescribing import approved, doctor, patient, pharmacist

__all__ = ["doctor", "patient", "pharmacist"]

DAY = 86400
AT_ONCE = 20
MOBILE = "13412345678"
HOME = {"name": "炎帝", "phone": MOBILE, "region": "福建省福州市鼓楼区", "detail": "东街1号"}
NEAR_P2 = "26.0613,119.3106"
S, A = OrderState, OrderAction
ASKED = [action for action, roles in ACTORS.items() if roles]


@pytest_asyncio.fixture
async def prescription(patient: User, doctor: User, pharmacist: User) -> str:
    c = await begin(patient, doctor)
    return str((await approved(doctor, pharmacist, c["id"]))["id"])


async def place(patient: User, prescription: str, pharmacy: str = "P1", **more: Any) -> Any:
    wanted = {"prescription": prescription, "pharmacy": pharmacy, "handover": "pick_up", **more}
    return await patient.post("/drug-orders", wanted)


async def delivered_home(patient: User, prescription: str) -> Any:
    address = await patient.post("/addresses", HOME)
    return await place(patient, prescription, "P2", handover="delivery", address=address["id"])


async def pay(patient: User, order: str) -> str:
    payment = (await patient.post(f"/drug-orders/{order}/pay"))["payment"]["id"]
    await patient.post(f"/payments/sandbox/{payment}/succeed")
    return str(payment)


async def act(user: User, order: str, action: OrderAction) -> int:
    return (await user.client.call("POST", f"/drug-orders/{order}/{action}", {})).status


@pytest.mark.rule("X4")
async def test_pharmacies_come_nearest_first_with_the_prescriptions_price(
    patient: User, prescription: str
) -> None:
    found = await patient.get(f"/pharmacies?near={NEAR_P2}&prescription={prescription}")
    assert [p["id"] for p in found["items"]][:3] == ["P2", "P1", "P3"]
    near = found["items"][0]
    assert near["distance_m"] < 50
    assert near["price"] == 2 * 1340
    assert 80_000 < found["items"][2]["distance_m"] < 130_000
    status, problem = await patient.refused("GET", "/pharmacies?near=91,200")
    assert (status, list(problem["fields"])) == (400, ["near"])


@pytest.mark.rule("X4")
async def test_medicine_is_ordered_paid_prepared_and_picked_up(
    patient: User, pharmacist: User, prescription: str
) -> None:
    await pharmacist.client.connect()
    order = await place(patient, prescription)
    assert (order["state"], order["amount"]) == ("placed", 2 * 1280)
    assert (await pharmacist.refused("GET", f"/drug-orders/{order['id']}"))[0] == 403
    await pay(patient, order["id"])
    await patient.event("drug_order:updated", id=order["id"], state="paid")
    await pharmacist.event("drug_order:updated", id=order["id"], state="paid", payment=None)
    await pharmacist.event("notice:new", template="drug_order_paid")
    for action in (A.PREPARE, A.READY):
        assert await act(pharmacist, order["id"], action) == 200
    await patient.event("notice:new", template="drug_order_ready")
    assert await act(patient, order["id"], A.COMPLETE) == 403
    assert await act(pharmacist, order["id"], A.COMPLETE) == 200
    done = await patient.get(f"/drug-orders/{order['id']}")
    assert (done["state"], done["payment"]["state"]) == ("completed", "paid")
    had = await patient.get(f"/prescriptions/{prescription}")
    assert (had["state"], had["order"]) == ("delivered", order["id"])
    assert (await patient.get(f"/prescriptions/{prescription}/verification"))["valid"]
    wanted = {"prescription": prescription, "pharmacy": "P1", "handover": "pick_up"}
    assert (await patient.refused("POST", "/drug-orders", wanted))[0] == 409


@pytest.mark.rule("X4", "P3")
async def test_delivery_goes_to_an_address_whose_number_only_the_counter_may_ask_for(
    patient: User, pharmacist: User, prescription: str
) -> None:
    order = await delivered_home(patient, prescription)
    assert order["delivery_fee"] == 600
    assert order["address"]["phone"] == "134****5678"
    assert (await patient.get("/addresses"))["items"][0]["phone"] == "134****5678"
    await pay(patient, order["id"])
    seen = await pharmacist.get("/drug-orders?state=paid")
    assert MOBILE not in str(seen)
    path = f"/drug-orders/{order['id']}"
    full = await pharmacist.post(f"{path}/reveal", {"purpose": "发货"})
    assert full["phone"] == MOBILE
    await pharmacist.post(f"{path}/prepare")
    assert await act(pharmacist, order["id"], A.READY) == 409
    await pharmacist.post(f"{path}/ship", {"tracking_no": "SF1234567890"})
    told = await patient.event("drug_order:updated", id=order["id"], state="shipped")
    assert told["tracking_no"] == "SF1234567890"
    assert (await patient.post(f"{path}/complete"))["state"] == "completed"


@pytest.mark.rule("X4", "M2")
async def test_a_paid_order_is_cancelled_and_refunded_until_it_is_prepared(
    patient: User, doctor: User, pharmacist: User, prescription: str
) -> None:
    order = await place(patient, prescription)
    await pay(patient, order["id"])
    reason = {"reason": "换药"}
    assert (await doctor.refused("POST", f"/prescriptions/{prescription}/void", reason))[0] == 409
    assert await act(patient, order["id"], A.CANCEL) == 200
    told = await patient.event("notice:new", template="refunded")
    assert told["values"]["service"] == "购药费用"
    ended = await patient.get(f"/drug-orders/{order['id']}")
    assert (ended["state"], ended["payment"]["state"]) == ("cancelled", "refunded")
    again = await place(patient, prescription)
    assert again["id"] != order["id"]
    await pay(patient, again["id"])
    assert await act(pharmacist, again["id"], A.PREPARE) == 200
    assert await act(patient, again["id"], A.CANCEL) == 409


@pytest.mark.rule("X4")
async def test_of_many_orders_of_a_prescription_at_once_there_is_one(
    patient: User, prescription: str
) -> None:
    wanted = {"prescription": prescription, "pharmacy": "P1", "handover": "pick_up"}
    answers = await asyncio.gather(
        *(patient.client.call("POST", "/drug-orders", wanted) for _ in range(AT_ONCE))
    )
    assert sorted(a.status for a in answers) == [201] + [409] * (AT_ONCE - 1)
    assert len((await patient.get("/drug-orders"))["items"]) == 1


@pytest.mark.rule("X4")
async def test_an_unpaid_order_runs_out_and_frees_its_prescription(
    patient: User, prescription: str, advance: Advance
) -> None:
    order = await place(patient, prescription)
    payment = (await patient.post(f"/drug-orders/{order['id']}/pay"))["payment"]
    await advance(14 * 60)
    # a token would end at the same moment as the order
    await patient.client.log_in()
    await patient.client.connect()
    await advance(60)
    gone = await patient.event("drug_order:updated", id=order["id"], state="expired")
    assert gone["payment"]["state"] in {"pending", "closed"}
    assert (await patient.refused("POST", f"/drug-orders/{order['id']}/pay"))[0] == 409
    # money that comes all the same goes back
    await patient.post(f"/payments/sandbox/{payment['id']}/succeed")
    told = await patient.event("notice:new", template="refunded")
    assert told["values"]["service"] == "购药费用"
    await place(patient, prescription)


@pytest.mark.rule("X4", "X3")
async def test_a_prescription_is_good_for_three_days(
    patient: User, prescription: str, advance: Advance
) -> None:
    await advance(3 * DAY)
    await patient.client.log_in()
    wanted = {"prescription": prescription, "pharmacy": "P1", "handover": "pick_up"}
    status, problem = await patient.refused("POST", "/drug-orders", wanted)
    assert status == 409, problem


async def brought_to(
    state: OrderState, patient: User, pharmacist: User, doctor: User
) -> tuple[str, Handover]:
    """Bring a new order into a state, with what it is handed over by."""
    c = await patient.get("/consultations?state=in_progress")
    p = await approved(doctor, pharmacist, c["items"][0]["id"])
    by = Handover.DELIVERY if state is S.SHIPPED else Handover.PICK_UP
    order = await (delivered_home if state is S.SHIPPED else place)(patient, p["id"])
    steps: dict[OrderState, list[OrderAction]] = {
        S.PREPARING: [A.PREPARE], S.READY: [A.PREPARE, A.READY], S.SHIPPED: [A.PREPARE, A.SHIP],
        S.COMPLETED: [A.PREPARE, A.READY, A.COMPLETE],
    }  # fmt: skip
    if state not in {S.PLACED, S.EXPIRED, S.CANCELLED}:
        await pay(patient, order["id"])
    for action in steps.get(state, []):
        assert await act(pharmacist, order["id"], action) == 200
    if state is S.CANCELLED:
        assert await act(patient, order["id"], A.CANCEL) == 200
    return str(order["id"]), by


@pytest.mark.rule("X4")
async def test_only_the_tables_moves_are_possible_and_only_to_their_actors(
    new_patient: NewPatient, enter_as: Enter, doctor: User, pharmacist: User
) -> None:
    patient, stranger = await new_patient(), await new_patient()
    people = {
        Role.PATIENT: patient, Role.DOCTOR: await enter_as(HUANGFUMI), Role.PHARMACIST: pharmacist,
        Role.OPERATOR: await enter_as(OPERATOR),
    }  # fmt: skip
    await begin(patient, doctor)
    hands = {A.READY: Handover.PICK_UP, A.SHIP: Handover.DELIVERY}
    for state in set(S) - {S.EXPIRED}:
        order, by = await brought_to(state, patient, pharmacist, doctor)
        hidden = state in {S.PLACED, S.CANCELLED}
        for action, (role, user) in product(ASKED, [*people.items(), (Role.PATIENT, stranger)]):
            possible = (state, action) in TABLE and hands.get(action, by) is by
            may = role in ACTORS[action] and user is not stranger
            if may and role is Role.PHARMACIST and hidden:
                may = False
            if may and role is Role.PATIENT and (state, action) == (S.READY, A.COMPLETE):
                may = False
            if not may:
                assert await act(user, order, action) == 403, (state, action, role)
            elif not possible:
                assert await act(user, order, action) == 409, (state, action, role)
        assert (await patient.get(f"/drug-orders/{order}"))["state"] == state


async def test_an_address_book_is_ones_own(patient: User, new_patient: NewPatient) -> None:
    made = await patient.post("/addresses", HOME)
    other = await new_patient()
    assert (await other.get("/addresses"))["items"] == []
    assert (await other.refused("DELETE", f"/addresses/{made['id']}"))[0] == 403
    for _ in range(19):
        await patient.post("/addresses", HOME)
    assert (await patient.refused("POST", "/addresses", HOME))[0] == 409
    assert (await patient.client.call("DELETE", f"/addresses/{made['id']}")).status == 204
    assert len((await patient.get("/addresses"))["items"]) == 19


@pytest.mark.rule("P3")
async def test_no_answer_and_no_event_shows_a_number_in_full(
    patient: User, doctor: User, pharmacist: User, enter_as: Enter, prescription: str
) -> None:
    operator = await enter_as(OPERATOR)
    everybody = (patient, doctor, pharmacist, operator)
    for user in (pharmacist, operator):
        await user.client.connect()
    order = await delivered_home(patient, prescription)
    await pay(patient, order["id"])
    for action in (A.PREPARE, A.SHIP, A.COMPLETE):
        assert await act(pharmacist, order["id"], action) == 200
    await patient.event("drug_order:updated", id=order["id"], state="completed")
    seen = [str(event.data) for user in everybody for event in user.client.events]
    for user, path in product(
        everybody,
        (
            "/prescriptions",
            f"/prescriptions/{prescription}",
            "/drug-orders",
            "/notices",
            f"/prescriptions/{prescription}/verification",
            f"/drug-orders/{order['id']}",
            "/addresses",
            f"/pharmacies?near={NEAR_P2}",
            "/consultations",
            "/operator/payments",
        ),
    ):
        seen.append(str((await user.client.call("GET", path)).body))
    secrets = {MOBILE, "110101199003070417", *(user.phone for user in everybody)}
    assert [text for text in seen for secret in secrets if secret in text] == []
    assert any(order["id"] in text for text in seen)
