"""The catalogue: the shipped files, a hospital's own, and how it is searched (X1)."""

from pathlib import Path

import pytest

from care.catalogue import Control, Diagnosis, Drug
from care.errors import BadRequest
from companion.catalogue import SHIPPED, Catalogue, read
from storage.catalogue import Diagnoses, Drugs
from storage.database import Database

HEADER = (
    "id,name,category,ingredients,specification,unit,dose_unit,routes,max_single,max_daily,"
    "min_age,max_age,pregnancy,interactions,control"
)
ROW = "X1,甲药,某类,甲,1g×1片,盒,g,口服|外用,1,2,6,,caution,乙|丙,none"


@pytest.fixture
async def catalogue(database: Database) -> Catalogue:
    stores = Drugs(database), Diagnoses(database)
    for store in stores:
        await store.ensure_indexes()
    return Catalogue(*stores)


def written(folder: Path, *rows: str, header: str = HEADER) -> Path:
    path = folder / "ours.csv"
    path.write_text("\n".join(["# 本院药品目录", header, *rows]), "utf-8-sig")
    return path


def test_the_shipped_catalogue_is_whole() -> None:
    drugs = read(Path(str(SHIPPED / "drugs.csv")), Drug)
    assert len(drugs) >= 30
    assert {d.control for d in drugs} == set(Control)
    assert len(read(Path(str(SHIPPED / "diagnoses.csv")), Diagnosis)) >= 20
    for drug in drugs:
        assert not set(drug.interactions) & set(drug.ingredients), drug.name
        single, daily = drug.max_single, drug.max_daily
        assert single is None or daily is None or single <= daily, drug.name


@pytest.mark.rule("X1")
async def test_a_hospitals_own_file_is_loaded_and_replaces_by_id(
    catalogue: Catalogue, tmp_path: Path
) -> None:
    await catalogue.load(written(tmp_path, ROW), None)
    (found,) = await catalogue.drugs("甲")
    assert (found.routes, found.interactions) == (("口服", "外用"), ("乙", "丙"))
    assert (found.max_daily, found.min_age, found.max_age) == (2, 6, None)
    await catalogue.load(written(tmp_path, ROW.replace("甲药", "乙药")), None)
    assert [d.name for d in await catalogue.drugs("乙药")] == ["乙药"]
    assert await catalogue.drugs("甲药") == []


@pytest.mark.parametrize(
    ("row", "why"),
    [
        (ROW.replace("none", "opium"), "ours.csv:4: control"),
        (ROW.replace(",1,2,", ",-1,2,"), "ours.csv:4: max_single"),
        (ROW.replace("甲药", ""), "ours.csv:4: name"),
        (ROW.replace("X2", "X1"), "ours.csv:4: X1 重复"),
        (ROW + ",more", "ours.csv:4: "),
    ],
)
async def test_a_wrong_line_is_named_and_nothing_is_loaded(
    catalogue: Catalogue, tmp_path: Path, row: str, why: str
) -> None:
    with pytest.raises(BadRequest) as refused:
        await catalogue.load(written(tmp_path, ROW, row), None)
    assert refused.value.message.startswith(why)
    assert await catalogue.drugs("甲") == []
    assert await catalogue.diagnoses("感") == []


async def test_a_file_that_is_no_text_is_refused(catalogue: Catalogue, tmp_path: Path) -> None:
    path = tmp_path / "drugs.xlsx"
    path.write_bytes(b"PK\x03\x04\xff")
    with pytest.raises(BadRequest):
        await catalogue.load(path, None)


@pytest.mark.rule("X1")
async def test_it_is_found_by_any_part_of_a_name_or_by_the_code(catalogue: Catalogue) -> None:
    await catalogue.load(None, None)
    assert [d.id for d in await catalogue.drugs("莫西林")] == ["D0001", "D0002"]
    assert [d.id for d in await catalogue.drugs("枸橼酸")] == ["D0018"]
    assert [d.code for d in await catalogue.diagnoses("牙周炎")] == ["K05.2", "K05.3"]
    assert [d.code for d in await catalogue.diagnoses("k05")] == ["K05.2", "K05.3"]
    assert await catalogue.drugs(".*") == []
