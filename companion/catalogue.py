"""The catalogue of drugs and diagnoses: found by a part of the name, loaded from CSV (X1)."""

import csv
from collections.abc import Iterable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from care.catalogue import Diagnosis, Drug
from care.errors import BadRequest
from care.fields import refuse
from care.record import Record
from storage.catalogue import Diagnoses, Drugs

SHIPPED = files("companion") / "catalogue"
LISTS = frozenset({"ingredients", "routes", "interactions"})
FOUND_MAX = 20

Row = TypeVar("Row", bound=Record)


class Catalogue:
    def __init__(self, drugs: Drugs, diagnoses: Diagnoses) -> None:
        self._drugs = drugs
        self._diagnoses = diagnoses

    async def drugs(self, text: str) -> list[Drug]:
        """List drugs with the text in their name or in an ingredient's."""
        return await self._drugs.search(text, FOUND_MAX)

    async def diagnoses(self, text: str) -> list[Diagnosis]:
        """List diagnoses with the text in their name, or at the beginning of their code."""
        return await self._diagnoses.search(text, FOUND_MAX)

    async def load(self, drugs: Path | None, diagnoses: Path | None) -> tuple[int, int]:
        """Put in what the files hold, the shipped ones where none is named; give how many.

        What is there by the same id or code is replaced, nothing is removed. Raises BadRequest
        with the line that is wrong; then nothing has changed.
        """
        read_drugs = read(drugs or Path(str(SHIPPED / "drugs.csv")), Drug)
        read_diagnoses = read(diagnoses or Path(str(SHIPPED / "diagnoses.csv")), Diagnosis)
        await self._drugs.put(read_drugs)
        await self._diagnoses.put(read_diagnoses)
        return len(read_drugs), len(read_diagnoses)


def read(path: Path, row: type[Row], keys: int = 1) -> list[Row]:
    """Read a file whose first `keys` columns name a row. Raises BadRequest with the wrong line."""
    try:
        lines = path.read_text("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError):
        raise BadRequest(f"{path.name}: 无法读取，应为 UTF-8 编码的 CSV 文件") from None
    kept = [(n, line) for n, line in enumerate(lines, 1) if line and not line.startswith("#")]
    rows = csv.DictReader((line for _, line in kept), restkey="surplus")
    numbers = [n for n, _ in kept[1:]]
    return _checked(path.name, zip(numbers, rows, strict=False), row, keys)


def _checked(
    name: str, rows: Iterable[tuple[int, Mapping[str, Any]]], row: type[Row], keys: int
) -> list[Row]:
    read: dict[tuple[object, ...], Row] = {}
    for number, cells in rows:
        try:
            made = row.model_validate(_values(cells))
        except ValidationError as error:
            raise BadRequest(f"{name}:{number}: {refuse(error).message}") from None
        key = tuple(dict(made).values())[:keys]
        if key in read:
            raise BadRequest(f"{name}:{number}: {' '.join(map(str, key))} 重复")
        read[key] = made
    return list(read.values())


def _values(cells: Mapping[str, Any]) -> dict[str, object]:
    """Part the lists; what is empty has its default, cells too many are refused with the row."""
    values: dict[str, object] = {}
    for name, cell in cells.items():
        text = cell.strip() if isinstance(cell, str) else cell
        if text:
            values[name] = [part.strip() for part in text.split("|")] if name in LISTS else text
    return values
