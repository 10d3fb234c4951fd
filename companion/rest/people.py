"""The routes of people under care (P1–P4)."""

from dataclasses import replace
from datetime import date
from typing import Annotated, Any

from pydantic import BaseModel, Field, StringConstraints

from care.accounts import STAFF, Role
from care.masking import mask_card, mask_id_card, mask_phone
from care.people import (
    Claims,
    Kind,
    Person,
    Sex,
    age_on,
    kind_on,
    needs_guardian_present,
)
from care.policy import PeoplePolicy
from care.ports import Clock
from care.record import wire_time
from companion.people import PeopleService
from companion.rest.kernel import Body, Call, Route
from companion.rest.paging import Listed, page

PATIENT = frozenset({Role.PATIENT})
CLAIMS = frozenset(Claims.model_fields)
CLEARABLE = frozenset({"mobile", "social_security_card", "guardian"})

Text = Annotated[str, StringConstraints(strip_whitespace=True, max_length=64)]
Number = Annotated[str, StringConstraints(strip_whitespace=True, to_upper=True, max_length=64)]


class GuardianForm(Body):
    name: Text
    id_card: Number
    phone: Text


class NewPerson(Body):
    """Kind, sex and birth date follow from the ID card; whoever sends them must agree with it."""

    kind: Kind | None = None
    name: Text
    id_card: Number
    sex: Sex | None = None
    birth_date: date | None = None
    mobile: Text | None = None
    social_security_card: Number | None = None
    default: bool = False
    guardian: GuardianForm | None = None


class PersonChange(Body):
    """What is absent stays as it is. Null clears mobile, card and guardian; elsewhere it stays."""

    kind: Kind | None = None
    name: Text | None = None
    id_card: Number | None = None
    sex: Sex | None = None
    birth_date: date | None = None
    mobile: Text | None = None
    social_security_card: Number | None = None
    default: bool | None = None
    guardian: GuardianForm | None = None


class Purpose(Body):
    purpose: Annotated[Text, Field(min_length=2)]


class GuardianView(BaseModel):
    name: str
    id_card: str
    phone: str


class PersonView(BaseModel):
    id: str
    kind: Kind
    name: str
    sex: Sex
    age: int
    birth_date: date
    id_card: str
    mobile: str | None
    social_security_card: str | None
    guardian: GuardianView | None
    guardian_must_be_present: bool
    default: bool
    created_at: str


class FullNumbers(BaseModel):
    id: str
    id_card: str
    mobile: str | None
    social_security_card: str | None
    guardian: GuardianView | None


class PeopleRoutes:
    def __init__(self, people: PeopleService, clock: Clock, policy: PeoplePolicy) -> None:
        self._people = people
        self._clock = clock
        self._policy = policy

    def routes(self) -> list[Route]:
        one = "/people/{id}"
        rows = [
            Route("GET", "/people", self.list, roles=PATIENT, answer=Listed[PersonView],
                  summary="The own people under care"),
            Route("POST", "/people", self.add, body=NewPerson, roles=PATIENT, status=201,
                  answer=PersonView, summary="Add a person under care (就诊人)"),
            Route("GET", one, self.get, roles=PATIENT, answer=PersonView, summary="Show one"),
            Route("PATCH", one, self.edit, body=PersonChange, roles=PATIENT, answer=PersonView,
                  summary="Change one"),
            Route("DELETE", one, self.remove, roles=PATIENT, status=204, summary="Delete one"),
            Route("POST", f"{one}/default", self.make_default, roles=PATIENT, answer=PersonView,
                  summary="Make one the default"),
            Route("POST", f"{one}/reveal", self.reveal, body=Purpose, roles=PATIENT | STAFF,
                  answer=FullNumbers, summary="Show the full numbers, for a stated purpose"),
        ]  # fmt: skip
        return [replace(row, tag="people") for row in rows]

    async def list(self, call: Call) -> Any:
        # at most ten: always one page
        return page([self._view(p) for p in await self._people.all_of(call.caller.user)])

    async def add(self, call: Call) -> Any:
        body: NewPerson = call.body
        person_id = call.creation_id(self._clock.now())
        details = body.model_dump(exclude=set(CLAIMS))
        added = await self._people.add(call.caller.user, person_id, details, _claims(body))
        return self._view(added)

    async def get(self, call: Call) -> Any:
        return self._view(await self._people.get(call.caller.user, call.path["id"]))

    async def edit(self, call: Call) -> Any:
        body: PersonChange = call.body
        given = body.model_dump(exclude_unset=True, exclude=set(CLAIMS))
        changes = {k: v for k, v in given.items() if v is not None or k in CLEARABLE}
        edited = await self._people.edit(call.caller.user, call.path["id"], changes, _claims(body))
        return self._view(edited)

    async def remove(self, call: Call) -> None:
        await self._people.remove(call.caller.user, call.path["id"])

    async def make_default(self, call: Call) -> Any:
        return self._view(await self._people.make_default(call.caller.user, call.path["id"]))

    async def reveal(self, call: Call) -> Any:
        body: Purpose = call.body
        person = await self._people.reveal(call.caller, call.path["id"], body.purpose)
        return FullNumbers(**person.model_dump(include=set(FullNumbers.model_fields)))

    def _view(self, person: Person) -> PersonView:
        """Show a person with every number masked (P3)."""
        today = self._people.today
        sex, birth_date = person.sex, person.birth_date
        mobile, card = person.mobile, person.social_security_card
        guardian = person.guardian
        return PersonView(
            id=person.id,
            kind=kind_on(birth_date, today, self._policy),
            name=person.name,
            sex=sex,
            age=age_on(birth_date, today),
            birth_date=birth_date,
            id_card=mask_id_card(person.id_card),
            mobile=mobile and mask_phone(mobile),
            social_security_card=card and mask_card(card),
            guardian=GuardianView(
                name=guardian.name,
                id_card=mask_id_card(guardian.id_card),
                phone=mask_phone(guardian.phone),
            )
            if guardian
            else None,
            guardian_must_be_present=needs_guardian_present(person, today, self._policy),
            default=person.default,
            created_at=wire_time(person.created_at),
        )


def _claims(body: NewPerson | PersonChange) -> Claims:
    return Claims(kind=body.kind, sex=body.sex, birth_date=body.birth_date)
