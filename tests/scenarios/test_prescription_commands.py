"""The commands beside a running server: a prescription is verified, a catalogue loaded (X1, X2)."""

from pathlib import Path

import pytest

from tests.command import wenzhen
from tests.scenarios.conftest import Enter, NewPatient
from tests.scenarios.people import XIAOFU, begin
from tests.scenarios.prescribing import PHARMACIST, approved
from tests.server import ServerProcess

DRUG = (
    "id,name,category,ingredients,specification,unit,dose_unit,routes\n"
    "H1,本院合剂,合剂,甘草,100ml,瓶,ml,口服\n"
)


@pytest.mark.rule("X2")
async def test_a_signed_prescription_is_verified_by_a_command(
    clocked: ServerProcess, new_patient: NewPatient, enter_as: Enter
) -> None:
    doctor, pharmacist = await enter_as(XIAOFU), await enter_as(PHARMACIST)
    c = await begin(await new_patient(), doctor)
    p = await approved(doctor, pharmacist, c["id"])
    verify = ("prescription", "verify", "--data", str(clocked.data))
    code, out, err = await wenzhen(*verify, p["id"])
    assert (code, err) == (0, "")
    assert out == "doctor: holds\npharmacist: holds\nThe prescription is as it was signed.\n"
    code, _, err = await wenzhen(*verify, "unknown")
    assert (code, err) == (1, "There is no prescription unknown.\n")


@pytest.mark.rule("X1")
async def test_a_hospitals_catalogue_is_loaded_by_a_command(
    clocked: ServerProcess, enter_as: Enter, tmp_path: Path
) -> None:
    file = tmp_path / "drugs.csv"
    file.write_text(DRUG, "utf-8")
    load = ("catalogue", "load", "--data", str(clocked.data), "--drugs", str(file))
    code, out, err = await wenzhen(*load)
    assert (code, err) == (0, "")
    assert out.startswith("1 drugs, ")
    doctor = await enter_as(XIAOFU)
    (found,) = (await doctor.get("/drugs?q=本院"))["items"]
    assert (found["id"], found["controlled"]) == ("H1", False)
    file.write_text(DRUG + "H2,甲,乙\n", "utf-8")
    code, _, err = await wenzhen(*load)
    assert code == 1
    assert "drugs.csv:3: " in err


@pytest.mark.rule("X4")
async def test_pharmacies_and_their_prices_are_loaded_by_a_command(
    clocked: ServerProcess, enter_as: Enter, tmp_path: Path
) -> None:
    pharmacies, offers = tmp_path / "pharmacies.csv", tmp_path / "offers.csv"
    header = "id,name,address,telephone,latitude,longitude"
    pharmacies.write_text(f"{header}\nH1,院内药房,一楼,0591-1,-33.9,151.2\n", "utf-8")
    offers.write_text("pharmacy,drug,price,stock\nH1,D0001,1100,\nH1,D0002,900,3\n", "utf-8")
    load = ("catalogue", "pharmacies", "--data", str(clocked.data))
    code, out, err = await wenzhen(*load, "--file", str(pharmacies), "--offers", str(offers))
    assert (code, out, err) == (0, "1 pharmacies, 2 prices.\n", "")
    doctor = await enter_as(XIAOFU)
    found = (await doctor.get("/pharmacies?near=-33.9,151.2"))["items"]
    assert (found[0]["id"], found[0]["distance_m"], found[0]["delivers"]) == ("H1", 0, False)
