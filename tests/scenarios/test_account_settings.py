"""The own account's settings through the wire: the avatar, and who sees what of it (A8)."""

import pytest

from tests.scenarios.conftest import Enter, NewPatient
from tests.scenarios.people import XIAOFU, begin, upload


@pytest.mark.rule("A8", "R6")
async def test_an_avatar_is_an_image_of_ones_own_that_was_checked(
    new_patient: NewPatient,
) -> None:
    patient, other = await new_patient(), await new_patient()
    picture = await upload(patient)
    for wrong in (await upload(other), "unknown"):
        status, problem = await patient.refused("PATCH", "/me", {"avatar": wrong})
        assert (status, list(problem["fields"])) == (400, ["avatar"])

    answer = await patient.client.call("PATCH", "/me", {"avatar": picture})

    assert (answer.status, answer.body["avatar"]) == (200, picture)
    me = await patient.get("/me")
    async with patient.http.get(patient.url + me["avatar_url"]) as shown:
        assert (shown.status, shown.content_type) == (200, "image/jpeg")
    # the same one once more, and another one in its place
    for again in (picture, await upload(patient)):
        answer = await patient.client.call("PATCH", "/me", {"avatar": again})
        assert (answer.status, answer.body["avatar"]) == (200, again)


@pytest.mark.rule("A8", "R6")
async def test_what_was_said_in_a_room_does_not_become_public(
    new_patient: NewPatient, enter_as: Enter
) -> None:
    patient, doctor = await new_patient(), await enter_as(XIAOFU)
    made = await begin(patient, doctor)
    picture = await upload(patient)
    await patient.emit(
        "message:send", room=made["room"], client_id="p", kind="image", body={"file": picture}
    )
    status, problem = await patient.refused("PATCH", "/me", {"avatar": picture})
    assert (status, list(problem["fields"])) == (400, ["avatar"])
    assert (await patient.get("/me"))["avatar"] is None
    await doctor.emit("consultation:end", consultation=made["id"])
