"""The routes of prescriptions (处方) and of the catalogue they are written from (X1–X3)."""

from dataclasses import replace
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from aiohttp import web
from pydantic import BaseModel, Field, StringConstraints

from care.accounts import Role
from care.catalogue import Control, Diagnosis, Drug, Frequency
from care.errors import Forbidden
from care.ports import Clock
from care.prescribing import Caution, Content, Wanted
from care.prescriptions import Prescription, PrescriptionState
from care.record import wire_time
from companion.catalogue import Catalogue
from companion.prescription_page import write_page
from companion.prescription_pdf import write_pdf
from companion.prescriptions import PrescriptionService, Proof
from companion.rest.consultations import Id
from companion.rest.kernel import Body, Call, Route
from companion.rest.kernel import Content as Media
from companion.rest.paging import Listed, PageQuery, Query, several

DOCTOR = frozenset({Role.DOCTOR})
PHARMACIST = frozenset({Role.PHARMACIST})
PRESCRIBING = DOCTOR | PHARMACIST

Text = Annotated[str, StringConstraints(strip_whitespace=True)]
Word = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=40)]


class WantedDrug(Body):
    drug: Id
    dose: Annotated[float, Field(gt=0, le=10_000)]
    frequency: Frequency
    route: Word
    days: Annotated[int, Field(ge=1, le=365)]
    quantity: Annotated[int, Field(ge=1, le=999)]


class PrescriptionText(Body):
    """What a doctor writes; diagnoses by code, drugs by the catalogue's id."""

    diagnoses: Annotated[tuple[Id, ...], Field(min_length=1, max_length=5)]
    drugs: Annotated[tuple[WantedDrug, ...], Field(min_length=1, max_length=20)]
    advice: Annotated[Text, Field(max_length=500)] = ""
    allergies: Annotated[tuple[Word, ...], Field(max_length=20)] = ()
    pregnant: bool = False
    accompanied: bool = False

    @property
    def content(self) -> Content:
        names = Content.model_fields.keys() - {"drugs"}
        drugs = tuple(Wanted(**dict(drug)) for drug in self.drugs)
        return Content(drugs=drugs, **{name: getattr(self, name) for name in names})


class NewPrescription(PrescriptionText):
    consultation: Id


class Reason(Body):
    reason: Annotated[Text, Field(min_length=1, max_length=200)]


class Listing(PageQuery):
    state: str | None = Field(default=None, max_length=200)
    """One state, or several with commas."""
    consultation: str | None = Field(default=None, max_length=64)


class Looking(Query):
    q: str = Field(min_length=1, max_length=40)


class Party(BaseModel):
    id: str
    name: str


class DoctorView(Party):
    title: str
    department: str
    hospital: str


class PersonView(Party):
    sex: str
    age: int


class ItemView(BaseModel):
    drug: str
    name: str
    category: str
    ingredients: list[str]
    specification: str
    unit: str
    dose: float
    dose_unit: str
    frequency: Frequency
    route: str
    days: int
    quantity: int
    usage: str


class WarningView(BaseModel):
    kind: Caution
    drugs: list[str]
    text: str


class DecisionView(BaseModel):
    approved: bool
    reason: str | None
    pharmacist: Party
    at: str


class VoidView(BaseModel):
    at: str
    reason: str


class PrescriptionView(BaseModel):
    id: str
    consultation: str
    order_no: str
    room: str
    state: PrescriptionState
    doctor: DoctorView
    person: PersonView
    diagnoses: list[Diagnosis]
    drugs: list[ItemView]
    advice: str
    allergies: list[str]
    pregnant: bool
    accompanied: bool
    warnings: list[WarningView]
    created_at: str
    submitted_at: str | None
    decision: DecisionView | None
    valid_until: str | None
    order: str | None
    voided: VoidView | None


class ProofView(BaseModel):
    by: Party
    role: Role
    at: str
    algorithm: Literal["Ed25519"] = "Ed25519"
    public_key: str | None
    signature: str
    text: str
    """The canonical JSON that was signed, in UTF-8."""
    valid: bool


class VerificationView(BaseModel):
    id: str
    state: PrescriptionState
    valid: bool
    doctor: ProofView | None
    pharmacist: ProofView | None


class DrugView(Drug):
    controlled: bool
    """Whether it can't be prescribed here: narcotic or psychotropic."""


class PrescriptionRoutes:
    def __init__(
        self,
        prescriptions: PrescriptionService,
        catalogue: Catalogue,
        clock: Clock,
        zone: ZoneInfo,
    ) -> None:
        self._prescriptions = prescriptions
        self._catalogue = catalogue
        self._clock = clock
        self._zone = zone

    def routes(self) -> list[Route]:
        every, one, view = "/prescriptions", "/prescriptions/{id}", PrescriptionView
        rows = [
            Route("POST", every, self.create, body=NewPrescription, roles=DOCTOR, status=201,
                  answer=view, summary="Draft a prescription (处方) in a consultation"),
            Route("GET", every, self.list, query=Listing, answer=Listed[PrescriptionView],
                  summary="Those one may see, newest first; a pharmacist's queue is `submitted`"),
            Route("GET", one, self.get, answer=view, summary="Show one"),
            Route("PUT", one, self.edit, body=PrescriptionText, roles=DOCTOR, answer=view,
                  summary="Write a draft, or a rejected one, anew"),
            Route("POST", f"{one}/submit", self.submit, roles=DOCTOR, answer=view,
                  summary="Sign it and put it before the pharmacists"),
            Route("POST", f"{one}/approve", self.approve, roles=PHARMACIST, answer=view,
                  summary="Sign it and send it to the patient"),
            Route("POST", f"{one}/reject", self.reject, body=Reason, roles=PHARMACIST, answer=view,
                  summary="Send it back to the doctor"),
            Route("POST", f"{one}/void", self.void, body=Reason, roles=DOCTOR, answer=view,
                  summary="Take it back (作废)"),
            Route("GET", f"{one}/verification", self.verification, answer=VerificationView,
                  summary="Check its signatures"),
            Route("GET", f"{one}/page", self.page, answer=Media("text/html"),
                  summary="Its printable page, HTML"),
            Route("GET", f"{one}/pdf", self.pdf, answer=Media("application/pdf"),
                  summary="Its printable page, PDF"),
            Route("GET", "/drugs", self.drugs, query=Looking, roles=PRESCRIBING,
                  answer=Listed[DrugView], summary="Find drugs by a part of the name"),
            Route("GET", "/diagnoses", self.diagnoses, query=Looking, roles=PRESCRIBING,
                  answer=Listed[Diagnosis], summary="Find diagnoses by name or ICD-10 code"),
        ]  # fmt: skip
        return [replace(row, tag="prescriptions") for row in rows]

    async def create(self, call: Call) -> Any:
        body: NewPrescription = call.body
        request = call.creation_id(self._clock.now())
        p = await self._prescriptions.create(call.caller, request, body.consultation, body.content)
        return p.to_wire()

    async def list(self, call: Call) -> Any:
        query: Listing = call.query
        found = await self._prescriptions.page(
            call.caller,
            several(query.state, PrescriptionState),
            query.consultation,
            query.cursor,
            query.limit + 1,
        )
        shown = found[: query.limit]
        cursor = shown[-1].id if len(found) > query.limit else None
        return {"items": [p.to_wire() for p in shown], "cursor": cursor}

    async def get(self, call: Call) -> Any:
        return (await self._find(call)).to_wire()

    async def edit(self, call: Call) -> Any:
        content = call.body.content
        return (await self._prescriptions.edit(call.path["id"], call.caller, content)).to_wire()

    async def submit(self, call: Call) -> Any:
        return (await self._prescriptions.submit(call.path["id"], call.caller)).to_wire()

    async def approve(self, call: Call) -> Any:
        return (await self._prescriptions.approve(call.path["id"], call.caller)).to_wire()

    async def reject(self, call: Call) -> Any:
        reason = call.body.reason
        return (await self._prescriptions.reject(call.path["id"], call.caller, reason)).to_wire()

    async def void(self, call: Call) -> Any:
        reason = call.body.reason
        return (await self._prescriptions.void(call.path["id"], call.caller, reason)).to_wire()

    async def verification(self, call: Call) -> Any:
        p = await self._find(call)
        verdict = await self._prescriptions.verify(p.id)
        if verdict is None:
            raise Forbidden
        return VerificationView(
            id=p.id,
            state=verdict.prescription.state,
            valid=verdict.valid,
            doctor=_proof(verdict.doctor),
            pharmacist=_proof(verdict.pharmacist),
        )

    async def page(self, call: Call) -> web.Response:
        text = write_page(await self._find(call), self._zone)
        headers = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"}
        return web.Response(text=text, content_type="text/html", charset="utf-8", headers=headers)

    async def pdf(self, call: Call) -> web.Response:
        p = await self._find(call)
        headers = {"Content-Disposition": f'inline; filename="prescription-{p.id}.pdf"'}
        return web.Response(
            body=await write_pdf(p, self._zone), content_type="application/pdf", headers=headers
        )

    async def drugs(self, call: Call) -> Any:
        found = await self._catalogue.drugs(call.query.q)
        items = [
            drug.model_dump() | {"controlled": drug.control is not Control.NONE} for drug in found
        ]
        return {"items": items, "cursor": None}

    async def diagnoses(self, call: Call) -> Any:
        return {"items": await self._catalogue.diagnoses(call.query.q), "cursor": None}

    async def _find(self, call: Call) -> Prescription:
        return await self._prescriptions.find(call.path["id"], call.caller)


def _proof(proof: Proof | None) -> ProofView | None:
    if proof is None:
        return None
    signature = proof.signature
    return ProofView(
        by=Party(id=signature.by, name=signature.name),
        role=signature.role,
        at=wire_time(signature.at),
        public_key=proof.public_key,
        signature=signature.value,
        text=proof.text,
        valid=proof.valid,
    )
