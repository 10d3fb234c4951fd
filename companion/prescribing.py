"""What a doctor writes, held against the catalogue and what is known of the person (X1)."""

from datetime import datetime, timedelta
from typing import Any

from care.catalogue import Diagnosis, Drug
from care.consultation import Consultation
from care.errors import BadRequest
from care.policy import PrescriptionPolicy
from care.ports import Clock
from care.prescribing import Content, Takes, item, refuse, warnings
from care.prescriptions import Prescription, PrescriptionState
from storage.catalogue import Diagnoses, Drugs
from storage.prescriptions import Prescriptions

HISTORY_MAX = 50
"""How many of a person's earlier prescriptions are looked at for what he takes."""


class Writing:
    def __init__(
        self,
        drugs: Drugs,
        diagnoses: Diagnoses,
        earlier: Prescriptions,
        clock: Clock,
        policy: PrescriptionPolicy,
        child_under: int,
    ) -> None:
        self._drugs = drugs
        self._diagnoses = diagnoses
        self._earlier = earlier
        self._clock = clock
        self._policy = policy
        self._child_under = child_under

    async def written(self, c: Consultation, content: Content, own: str | None) -> dict[str, Any]:
        """Give the fields of what the doctor wrote, with the warnings. Raises BadRequest."""
        child_under = self._child_under
        if c.person.age < child_under and not (c.guardian_present and content.accompanied):
            why = f"为{child_under}岁以下儿童开具处方，须有监护人和相关专业医师陪伴"
            raise BadRequest.field("accompanied", why)
        if content.pregnant and c.person.sex == "male":
            raise BadRequest.field("pregnant", "患者为男性")
        drugs = await self._known_drugs(content)
        refuse(drugs, content.drugs, c.person.age, child_under, self._policy)
        takes = await self._takes(c, content, own)
        return {
            "diagnoses": await self._known_diagnoses(content),
            "drugs": tuple(item(*pair) for pair in zip(drugs, content.drugs, strict=True)),
            "warnings": warnings(drugs, content.drugs, takes),
            **content.model_dump(include={"advice", "allergies", "pregnant", "accompanied"}),
        }

    async def _known_drugs(self, content: Content) -> list[Drug]:
        known = await self._drugs.all_of({wanted.drug for wanted in content.drugs})
        for n, wanted in enumerate(content.drugs):
            if wanted.drug not in known:
                raise BadRequest.field(f"drugs.{n}.drug", "目录中没有这个药品")
        return [known[wanted.drug] for wanted in content.drugs]

    async def _known_diagnoses(self, content: Content) -> tuple[Diagnosis, ...]:
        known = await self._diagnoses.all_of(content.diagnoses)
        for n, code in enumerate(content.diagnoses):
            if code not in known:
                raise BadRequest.field(f"diagnoses.{n}", "目录中没有这个诊断")
        return tuple(known[code] for code in content.diagnoses)

    async def _takes(self, c: Consultation, content: Content, own: str | None) -> Takes:
        """Gather what is known of the person: from this prescription and from earlier ones."""
        earlier = [
            p
            for p in await self._earlier.of_person(c.person.id, HISTORY_MAX)
            if p.id != own and p.signature and p.state is not PrescriptionState.VOID
        ]
        now = self._clock.now()
        taken = {i.drug for p in earlier for i in p.drugs if _still(p, i.days, now)}
        return Takes(
            age=c.person.age,
            allergies={*content.allergies, *(a for p in earlier for a in p.allergies)},
            pregnant=content.pregnant,
            current=list((await self._drugs.all_of(taken)).values()),
        )


def _still(p: Prescription, days: int, now: datetime) -> bool:
    """Say whether a drug of it may still be taken."""
    since = p.signature.at if p.signature else p.created_at
    return p.state is not PrescriptionState.REJECTED and now < since + timedelta(days=days)
