"""The drugs and the diagnoses collections, found by a part of a word (X1).

`words` holds each name's endings, so that any part of a name is the beginning of one of them: the
index answers, without a scan. A catalogue is read often and written a few times a year.
"""

import re
from collections.abc import Collection, Sequence

from pymongo import ASCENDING, IndexModel, ReplaceOne

from care.catalogue import Diagnosis, Drug
from storage.database import Database, Document


class Drugs:
    def __init__(self, database: Database) -> None:
        self._drugs = database["drugs"]

    async def ensure_indexes(self) -> None:
        # a part of a name or of an ingredient
        await self._drugs.create_indexes([IndexModel([("words", ASCENDING)])])

    async def put(self, drugs: Sequence[Drug]) -> None:
        """Add them; what has the same id is replaced."""
        await self._drugs.bulk_write(
            [
                ReplaceOne(
                    {"_id": drug.id},
                    drug.model_dump(exclude={"id"})
                    | {"words": _endings(drug.name, *drug.ingredients)},
                    upsert=True,
                )
                for drug in drugs
            ]
        )

    async def search(self, text: str, limit: int) -> list[Drug]:
        found = self._drugs.find(_matching(text)).sort("_id", ASCENDING).limit(limit)
        return [_drug(document) async for document in found]

    async def all_of(self, ids: Collection[str]) -> dict[str, Drug]:
        """Give those of these that there are, by id."""
        found = self._drugs.find({"_id": {"$in": list(ids)}})
        return {document["_id"]: _drug(document) async for document in found}


class Diagnoses:
    def __init__(self, database: Database) -> None:
        self._diagnoses = database["diagnoses"]

    async def ensure_indexes(self) -> None:
        # a part of a name, the beginning of a code
        await self._diagnoses.create_indexes([IndexModel([("words", ASCENDING)])])

    async def put(self, diagnoses: Sequence[Diagnosis]) -> None:
        """Add them; what has the same code is replaced."""
        await self._diagnoses.bulk_write(
            [
                ReplaceOne(
                    {"_id": diagnosis.code},
                    {
                        "name": diagnosis.name,
                        "words": [diagnosis.code.lower(), *_endings(diagnosis.name)],
                    },
                    upsert=True,
                )
                for diagnosis in diagnoses
            ]
        )

    async def search(self, text: str, limit: int) -> list[Diagnosis]:
        found = self._diagnoses.find(_matching(text)).sort("_id", ASCENDING).limit(limit)
        return [Diagnosis(code=d["_id"], name=d["name"]) async for d in found]

    async def all_of(self, codes: Collection[str]) -> dict[str, Diagnosis]:
        """Give those of these that there are, by code."""
        found = self._diagnoses.find({"_id": {"$in": list(codes)}})
        return {d["_id"]: Diagnosis(code=d["_id"], name=d["name"]) async for d in found}


def _drug(document: Document) -> Drug:
    fields = {name: value for name, value in document.items() if name not in {"_id", "words"}}
    return Drug(id=document["_id"], **fields)


def _endings(*names: str) -> list[str]:
    return sorted({name.lower()[begin:] for name in names for begin in range(len(name))})


def _matching(text: str) -> Document:
    # an anchored expression without flags is a range of the index
    return {"words": {"$regex": f"^{re.escape(text.strip().lower())}"}}
