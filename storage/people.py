"""The people collection: one document an account, with the people it cares for (P1–P4).

One document, because the limit and the single default are rules over all of an account's people;
its version makes each change of them one conditional write.
"""

from typing import Any

from pymongo import ASCENDING, IndexModel
from pymongo.errors import DuplicateKeyError

from care.errors import Forbidden
from care.people import Family, Guardian, Person
from care.ports import Vault
from storage.database import Database, Document, Session
from storage.former_people import FormerPeople

SEALED = ("id_card", "mobile", "social_security_card")
SEALED_OF_GUARDIAN = ("id_card", "phone")


class People:
    def __init__(self, database: Database, vault: Vault) -> None:
        self._people = database["people"]
        self._former = FormerPeople(database)
        self._run = database.run
        self._vault = vault

    async def ensure_indexes(self) -> None:
        await self._people.create_indexes(
            [
                # staff name a person, not the account
                IndexModel([("people.id", ASCENDING)]),
            ]
        )
        await self._former.ensure_indexes()

    async def of(self, owner: str) -> Family:
        """Give an account's people; none yet is version 0."""
        found = await self._people.find_one({"_id": owner})
        return self._to_family(found) if found else Family(owner=owner)

    async def get(self, owner: str, person_id: str) -> Person:
        """Give the owner's person. Raises Forbidden for anyone else's."""
        return (await self.of(owner)).person(person_id)

    async def find(self, person_id: str) -> Person | None:
        """Give a person of whatever account: for staff."""
        found = await self._people.find_one({"people.id": person_id})
        return self._to_family(found).person(person_id) if found else None

    async def replace(self, before: Family, after: Family) -> bool:
        """Store a change unless somebody changed the family first; say whether it was stored.

        Who is dropped goes to the former people in the same transaction.
        """
        gone = [self._seal(p) for p in before.people if not after.has(p.id)]

        async def work(session: Session) -> bool:
            if not await self._store(session, before, after):
                return False
            await self._former.keep(session, before.owner, gone)
            return True

        try:
            return await self._run(work)
        except DuplicateKeyError:
            # two first people at once: the other one's family is there now
            return False

    async def _store(self, session: Session, before: Family, after: Family) -> bool:
        document = self._to_document(after)
        if before.version == 0:
            await self._people.insert_one(document, session=session)
            return True
        known = {"_id": before.owner, "version": before.version}
        result = await self._people.replace_one(known, document, session=session)
        return result.matched_count == 1

    async def touch(self, session: Session, owner: str, person_id: str) -> None:
        """Raise the family's version, so that a deletion decided before this fails (P4).

        Raises Forbidden when the person is not, or no longer, the owner's.
        """
        result = await self._people.update_one(
            {"_id": owner, "people.id": person_id}, {"$inc": {"version": 1}}, session=session
        )
        if result.matched_count == 0:
            raise Forbidden

    def _to_document(self, family: Family) -> Document:
        people = [self._seal(person) for person in family.people]
        return {"_id": family.owner, "version": family.version, "people": people}

    def _to_family(self, document: Document) -> Family:
        owner = document["_id"]
        people = tuple(self._unseal(owner, person) for person in document["people"])
        return Family(owner=owner, version=document["version"], people=people)

    def _seal(self, person: Person) -> Document:
        document = self._sealed(person.model_dump(exclude={"owner", "guardian"}), SEALED)
        guardian = person.guardian
        document["guardian"] = guardian and self._sealed(guardian.model_dump(), SEALED_OF_GUARDIAN)
        return document

    def _unseal(self, owner: str, document: Document) -> Person:
        fields = self._opened(document, SEALED)
        guardian = fields.pop("guardian")
        if guardian is not None:
            guardian = Guardian(**self._opened(guardian, SEALED_OF_GUARDIAN))
        return Person(owner=owner, guardian=guardian, **fields)

    def _sealed(self, fields: Document, names: tuple[str, ...]) -> Document:
        seal = self._vault.seal
        return fields | {n: _unless_none(seal, fields[n]) for n in names}

    def _opened(self, fields: Document, names: tuple[str, ...]) -> Document:
        return fields | {n: _unless_none(self._vault.open, fields[n]) for n in names}


def _unless_none(convert: Any, value: Any) -> Any:
    return None if value is None else convert(value)
