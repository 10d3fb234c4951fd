"""The use cases of people under care: add, edit, delete, the default, the full numbers (P1–P4)."""

from collections.abc import Awaitable, Callable, Mapping
from datetime import date
from typing import Any
from zoneinfo import ZoneInfo

from care.accounts import STAFF, Caller
from care.errors import Conflict, Forbidden, Unavailable
from care.people import Claims, Family, OpenCare, Person, check_claims, check_person
from care.policy import PeoplePolicy
from care.ports import Audit, Clock
from storage.people import People

ATTEMPTS = 100
"""How often a change is tried again after losing to another; each loss means the other one won."""

Step = Callable[[Family], Awaitable[Family]]


class PeopleService:
    def __init__(
        self,
        people: People,
        open_care: OpenCare,
        audit: Audit,
        clock: Clock,
        policy: PeoplePolicy,
        zone: ZoneInfo,
    ) -> None:
        self._people = people
        self._open_care = open_care
        self._audit = audit
        self._clock = clock
        self._policy = policy
        self._zone = zone

    @property
    def today(self) -> date:
        """The hospital's day, which ages are counted by."""
        return self._clock.now().astimezone(self._zone).date()

    async def all_of(self, owner: str) -> tuple[Person, ...]:
        """List the owner's people, oldest first."""
        return (await self._people.of(owner)).people

    async def get(self, owner: str, person_id: str) -> Person:
        """Give the owner's person. Raises Forbidden for anyone else's."""
        return await self._people.get(owner, person_id)

    async def add(
        self, owner: str, person_id: str, details: Mapping[str, Any], claims: Claims
    ) -> Person:
        """Add a person; one with this id is an earlier try's. Raises BadRequest, Conflict."""
        now = self._clock.now()
        person = Person(id=person_id, owner=owner, created_at=now, **details)
        self._check(person, claims)

        async def step(family: Family) -> Family:
            known = family.has(person_id)
            return family if known else family.add(person, self._policy.limit)

        return (await self._change(owner, step)).person(person_id)

    async def edit(
        self, owner: str, person_id: str, changes: Mapping[str, Any], claims: Claims
    ) -> Person:
        """Change a person. Raises BadRequest, Forbidden."""

        async def step(family: Family) -> Family:
            person = family.person(person_id).changed(**changes)
            self._check(person, claims)
            return family.edit(person)

        return (await self._change(owner, step)).person(person_id)

    async def make_default(self, owner: str, person_id: str) -> Person:
        return await self.edit(owner, person_id, {"default": True}, Claims())

    async def remove(self, owner: str, person_id: str) -> None:
        """Delete a person; the record keeps him. Raises Forbidden, Conflict when care is open (P4).

        The family is read before the question is asked and written only in that version. A
        consultation committed after the question raised the version, so the write fails and the
        question is asked again; one that comes after the write no longer finds the person.
        """

        async def step(family: Family) -> Family:
            family.person(person_id)
            if await self._open_care.has_open(person_id):
                raise Conflict("该就诊人有未结束的问诊或预约，不能删除")
            return family.remove(person_id)

        await self._change(owner, step)

    async def reveal(self, caller: Caller, person_id: str, purpose: str) -> Person:
        """Give the full numbers to the owner or staff, who says what for (P3). Raises Forbidden."""
        person = await self._people.find(person_id)
        if person is None or not (person.owner == caller.user or caller.role in STAFF):
            raise Forbidden
        # first noted, then shown: what can't be noted isn't shown
        await self._audit.record(caller.user, "person_revealed", person.id, purpose)
        return person

    def _check(self, person: Person, claims: Claims) -> None:
        check_person(person, self.today, self._policy)
        check_claims(claims, person, self.today, self._policy)

    async def _change(self, owner: str, step: Step) -> Family:
        """Take a step from the family as it is, again when somebody else was faster."""
        for _ in range(ATTEMPTS):
            before = await self._people.of(owner)
            after = await step(before)
            if after is before or await self._people.replace(before, after):
                return after
        raise Unavailable
