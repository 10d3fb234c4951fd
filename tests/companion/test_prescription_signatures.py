"""A signed prescription: whatever of it is altered, verification says so (X2)."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest

from care.accounts import Role
from care.catalogue import Diagnosis, Frequency
from care.consultation import PersonSnapshot
from care.errors import Forbidden
from care.policy import Policy
from care.ports import Channel, ConsultationStore
from care.prescribing import Caution, Item, Warned
from care.prescriptions import (
    Decision,
    Prescription,
    PrescriptionAction,
    PrescriptionState,
    Signature,
    doctors_text,
    permit,
    pharmacists_text,
)
from care.transfer import DoctorCard
from companion.prescribing import Writing
from companion.prescriptions import PrescriptionService
from companion.signing import Signing
from storage.database import Database
from storage.prescriptions import Prescriptions, to_document
from storage.signing_keys import SigningKeyStore
from storage.vault import Vault
from tests.care.test_consultation import caller
from tests.clock import ManualClock

NOW = datetime(2026, 11, 22, 8, 0, tzinfo=UTC)
NOT_SIGNED = {"version", "issued"}
"""The count of changes, and what a list is found by."""

Path = tuple[str | int, ...]


async def signed(signing: Signing) -> Prescription:
    medicine = Item(
        drug="D0001", name="阿莫西林胶囊", category="青霉素类", ingredients=("阿莫西林",),
        specification="0.25g×24粒", unit="盒", dose_unit="g", dose=2, frequency=Frequency.THRICE,
        route="口服", days=5, quantity=2,
    )  # fmt: skip
    p = Prescription(
        id="p1", request="q1", consultation="c1", order_no="20261122000000000001", room="r1",
        patient="u1", doctor=DoctorCard(
            id="d1", name="小傅", title="主任医师", department="口腔颌面科", hospital="医院"
        ),
        person=PersonSnapshot(id="x", name="炎帝", sex="male", age=36, phone="134****5678"),
        diagnoses=(Diagnosis(code="K05.2", name="急性牙周炎"),), drugs=(medicine,),
        advice="饭后服用", allergies=("头孢菌素类",), created_at=NOW,
        warnings=(Warned(kind=Caution.DOSE, drugs=("阿莫西林胶囊",), text="超过上限"),),
        state=PrescriptionState.APPROVED,
    )  # fmt: skip
    by = Signature(by="d1", name="小傅", role=Role.DOCTOR, at=NOW)
    p = p.changed(signature=by)
    value = await signing.sign("d1", doctors_text(p))
    p = p.changed(signature=by.changed(value=value))
    by = Signature(by="f1", name="李时珍", role=Role.PHARMACIST, at=NOW)
    until = NOW + timedelta(days=3)
    p = p.changed(decision=Decision(approved=True, valid_until=until, signature=by))
    value = await signing.sign("f1", pharmacists_text(p))
    assert p.decision is not None
    return p.changed(decision=p.decision.changed(signature=by.changed(value=value)))


@pytest.fixture
def signing(database: Database) -> Signing:
    return Signing(SigningKeyStore(database, Vault({"1": b"k" * 32}, "1", b"i" * 32)))


@pytest.fixture
def service(database: Database, signing: Signing) -> PrescriptionService:
    unused: Any = None
    return PrescriptionService(
        Prescriptions(database, unused), cast(Writing, unused), cast(ConsultationStore, unused),
        signing, unused, unused, cast(Channel, unused), unused, ManualClock(), Policy(),
    )  # fmt: skip


def leaves(node: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Walk every value of a document, with the way to it."""
    if isinstance(node, dict):
        for name, child in node.items():
            yield from leaves(child, (*path, name))
    elif isinstance(node, list | tuple):
        for n, child in enumerate(node):
            yield from leaves(child, (*path, n))
    else:
        yield path, node


def others(path: Path, value: Any) -> list[Any]:
    """Give values a forger might write, each of a type that is read without an error."""
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int | float):
        return [value + 1]
    if isinstance(value, datetime):
        return [value + timedelta(milliseconds=1)]
    if value is None:
        return []
    forged = {
        "state": ["draft", "submitted", "rejected", "void"], "frequency": ["qd"],
        "role": ["admin"], "kind": ["age"], "code": ["K05.3"],
    }  # fmt: skip
    return forged.get(str(path[-1]), [f"{value}x", value[:-1], value[:-3] + "A" + value[-2:]])


@pytest.mark.rule("X2")
async def test_whatever_is_altered_of_a_signed_one_is_found(
    database: Database, signing: Signing, service: PrescriptionService
) -> None:
    p = await signed(signing)
    whole = to_document(p)
    collection = database["prescriptions"]
    await collection.insert_one(whole)
    verdict = await service.verify("p1")
    assert verdict is not None
    assert verdict.valid
    tried = 0
    for path, value in leaves(whole):
        if path[0] in {"_id", *NOT_SIGNED}:
            continue
        for forged in others(path, value):
            if forged in {value, ""}:
                continue
            tried += 1
            field = ".".join(map(str, path))
            await collection.update_one({"_id": "p1"}, {"$set": {field: forged}})
            verdict = await service.verify("p1")
            assert verdict is not None
            assert not verdict.valid, (field, forged)
            await collection.replace_one({"_id": "p1"}, whole)
    assert tried > 80


@pytest.mark.rule("X2")
@pytest.mark.parametrize(
    ("field", "forged"),
    [
        ("drugs", []), ("warnings", []), ("allergies", []), ("signature", None),
        ("decision", None), ("pregnant", True),
    ],
)  # fmt: skip
async def test_what_is_taken_away_is_found(
    database: Database, signing: Signing, service: PrescriptionService, field: str, forged: Any
) -> None:
    p = await signed(signing)
    whole = to_document(p)
    drugs = [*whole["drugs"], *whole["drugs"]]
    await database["prescriptions"].insert_one(
        whole | {field: forged if field != "drugs" else drugs}
    )
    verdict = await service.verify("p1")
    assert verdict is not None
    assert not verdict.valid


@pytest.mark.rule("X2")
async def test_a_pharmacist_who_wrote_it_as_a_doctor_cannot_approve_it(signing: Signing) -> None:
    p = (await signed(signing)).changed(state=PrescriptionState.SUBMITTED, decision=None)
    for action in (PrescriptionAction.APPROVE, PrescriptionAction.REJECT):
        permit(p, action, caller(Role.PHARMACIST, "f1"))
        with pytest.raises(Forbidden):
            permit(p, action, caller(Role.PHARMACIST, "d1"))


async def test_private_keys_are_sealed_and_stay_the_same(
    database: Database, signing: Signing
) -> None:
    first = await signing.sign("d1", b"text")
    assert await signing.sign("d1", b"text") == first
    assert await signing.holds("d1", b"text", first)
    assert not await signing.holds("d1", b"text.", first)
    assert not await signing.holds("nobody", b"text", first)
    stored = await database["signing_keys"].find_one({"_id": "d1"})
    assert stored is not None
    assert len(stored["public"]) == 32
    # AES-GCM: the nonce, the tag and the key's id lengthen it
    assert len(stored["private"]) > 64
