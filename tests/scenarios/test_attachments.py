"""Attachments through the wire: uploaded by one, sent into a room, read by its members (R6)."""

from base64 import b64encode
from typing import Any

import aiohttp
import pytest

from bot.scenario import Upload
from tests.media.pictures import SECRET, with_metadata
from tests.media.recordings import video, voice
from tests.scenarios.conftest import Advance, Enter, NewPatient
from tests.scenarios.people import XIAOFU, User, ask, begin

pytestmark = pytest.mark.rule("R6")

SENT = {
    "image": ("photo.jpg", "image/jpeg", with_metadata("JPEG")),
    "voice": ("voice.amr", "audio/amr", voice("amr", 2)),
    "video": ("clip.mp4", "video/mp4", video(2)),
}


async def upload(user: User, kind: str) -> Any:
    name, mime, data = SENT[kind]
    file = Upload(name=name, content_type=mime, base64=b64encode(data).decode())
    answer = await user.client.upload(file)
    assert answer.status == 201, answer.body
    assert answer.body["kind"] == kind
    return answer.body


async def send(user: User, room: str, kind: str, file: str) -> Any:
    return await user.emit(
        "message:send", room=room, client_id=f"c{file}", kind=kind, body={"file": file}
    )


async def read(user: User, url: str, http: aiohttp.ClientSession) -> tuple[int, bytes]:
    async with http.get(user.url + url) as answer:
        return answer.status, await answer.read()


@pytest.mark.parametrize("kind", ["image", "voice", "video"])
async def test_what_one_sends_the_other_sees(
    new_patient: NewPatient, enter_as: Enter, http: aiohttp.ClientSession, kind: str
) -> None:
    patient, doctor = await new_patient(), await enter_as(XIAOFU)
    talk = await begin(patient, doctor)
    stored = await upload(patient, kind)
    await send(patient, talk["room"], kind, stored["id"])
    body = (await doctor.event("message:new", kind=kind))["body"]
    for name in ("size", "width", "height", "duration_ms"):
        assert body.get(name) == stored.get(name)
    status, content = await read(doctor, body["url"], http)
    assert (status, len(content)) == (200, stored["size"])
    assert SECRET.encode() not in content
    if kind != "voice":
        assert (await read(doctor, body["thumbnail_url"], http))[0] == 200


async def test_a_url_ends_and_the_history_gives_a_new_one(
    new_patient: NewPatient, enter_as: Enter, http: aiohttp.ClientSession, advance: Advance
) -> None:
    patient, doctor = await new_patient(), await enter_as(XIAOFU)
    talk = await begin(patient, doctor)
    await send(patient, talk["room"], "image", (await upload(patient, "image"))["id"])
    old = (await doctor.event("message:new", kind="image"))["body"]["url"]
    await advance(601)
    assert (await read(doctor, old, http))[0] == 403
    page = await patient.emit("room:sync", room=talk["room"], after_seq=0)
    new = next(m["body"]["url"] for m in page["messages"] if m["kind"] == "image")
    assert (await read(patient, new, http))[0] == 200


async def test_another_s_file_and_a_file_of_another_room_are_forbidden(
    new_patient: NewPatient, enter_as: Enter
) -> None:
    patient, other, doctor = await new_patient(), await new_patient(), await enter_as(XIAOFU)
    talk, second = await begin(patient, doctor), await begin(other, doctor)
    mine = (await upload(patient, "image"))["id"]
    await send(patient, talk["room"], "image", mine)
    for user, room in ((other, second["room"]), (doctor, second["room"]), (doctor, talk["room"])):
        error = await user.emit_refused(
            "message:send", room=room, client_id="x", kind="image", body={"file": mine}
        )
        assert error["code"] == "forbidden"


async def test_a_file_is_sent_as_what_it_is(new_patient: NewPatient, enter_as: Enter) -> None:
    patient, doctor = await new_patient(), await enter_as(XIAOFU)
    talk = await begin(patient, doctor)
    file = (await upload(patient, "voice"))["id"]
    error = await patient.emit_refused(
        "message:send", room=talk["room"], client_id="x", kind="video", body={"file": file}
    )
    assert error["code"] == "forbidden"
    await send(patient, talk["room"], "voice", file)


async def test_the_doctor_sees_the_images_of_the_form(
    new_patient: NewPatient, enter_as: Enter, http: aiohttp.ClientSession
) -> None:
    patient, doctor = await new_patient(), await enter_as(XIAOFU)
    images = [(await upload(patient, "image"))["id"] for _ in range(2)]
    asked = await ask(patient, doctor, images=images)
    shown = await doctor.get(f"/consultations/{asked['id']}")
    assert [image["file"] for image in shown["images"]] == images
    for image in shown["images"]:
        assert (await read(doctor, image["url"], http))[0] == 200
        assert (await read(doctor, image["thumbnail_url"], http))[0] == 200
