"""Among doctors alone: nothing of a group consultation ever reaches the patient (G1, I8)."""

import json
from typing import Any

import pytest
import pytest_asyncio

from bot.client import Event
from tests.scenarios.conftest import Advance, Enter, NewPatient
from tests.scenarios.grouping import CONCLUSION, OPINION, REASON, TITLE, Case, open_case, step
from tests.scenarios.people import HUANGFUMI, SHENNONG, XIAOFU, say, upload
from tests.scenarios.views import HOUR, clocked, lines

__all__ = ["clocked"]

SAID = "患者情绪紧张，先不要告诉他"
LISTS = [
    "/groups", "/groups?state=inviting,active,concluded,cancelled", "/transfers", "/consultations",
    "/notices?limit=100", "/prescriptions", "/bookings", "/drug-orders", "/me",
]  # fmt: skip


@pytest_asyncio.fixture
async def case(new_patient: NewPatient, enter_as: Enter) -> Case:
    opener, one, two = await enter_as(XIAOFU), await enter_as(HUANGFUMI), await enter_as(SHENNONG)
    return await open_case(await new_patient(), opener, one, two)


@pytest.mark.rule("G1", "G2", "G3")
async def test_the_patient_hears_and_finds_nothing_of_it(case: Case, advance: Advance) -> None:
    heard: list[Event] = []
    phone = await case.patient.device()
    for device in (case.patient.client, phone):
        device.listener = heard.append
    await case.patient.emit("room:join", room=case.room)
    before = await everything(case)

    group = await case.active("doctors_only", history_from_seq=1)
    await say(case.one, group["room"], SAID)
    picture = await upload(case.one)
    await case.one.emit(
        "message:send", room=group["room"], client_id="picture", kind="image",
        body={"file": picture},
    )  # fmt: skip
    await case.one.emit("typing:set", room=group["room"], on=True)
    await step(case.one, "leave", group)
    await step(case.one, "join", group)
    await step(case.one, "opinion", group, text=OPINION)
    await advance(24 * HOUR - 60)
    await step(case.opener, "close", group, conclusion=CONCLUSION)
    # whatever was pushed before this has arrived with it
    told = await say(case.opener, case.room, "您好，请继续观察")
    await case.patient.event("message:new", id=told["id"])

    secrets = [group["id"], group["room"], picture, "会诊"]
    secrets += [TITLE, REASON, SAID, OPINION, CONCLUSION]
    after = await everything(case)
    for secret in secrets:
        assert secret not in json.dumps([e.data for e in heard], ensure_ascii=False), secret
        assert secret not in json.dumps(after, ensure_ascii=False), secret
    assert not [event.name for event in heard if event.name.startswith("group:")]
    assert [room["id"] for room in after["rooms"]] == [room["id"] for room in before["rooms"]]
    await refused_by_every_way(case, group)


async def everything(case: Case) -> dict[str, Any]:
    """Read all that the patient's REST and rooms show him."""
    patient = case.patient
    seen: dict[str, Any] = {path: await patient.get(path) for path in LISTS}
    seen["one"] = await patient.get(f"/consultations/{case.consultation}")
    seen["rooms"] = (await patient.emit("room:list"))["rooms"]
    seen["lines"] = await case.lines(patient)
    seen["found"] = [
        (await patient.emit("message:search", text=text))["messages"]
        for text in (SAID, OPINION, CONCLUSION, TITLE)
    ]
    return seen


async def refused_by_every_way(case: Case, group: Any) -> None:
    patient, id_ = case.patient, {"group": group["id"]}
    assert (await patient.refused("GET", f"/groups/{group['id']}"))[0] == 403
    for command in ("join", "leave"):
        assert (await patient.emit_refused(f"group:{command}", **id_))["code"] == "forbidden"
    for command, data in (
        ("room:join", {}),
        ("room:history", {}),
        ("room:sync", {"after_seq": 0}),
        ("message:send", {"client_id": "c", "kind": "text", "body": {"text": "在吗"}}),
        ("message:search", {"text": SAID}),
        ("message:read", {"seq": 1}),
    ):
        refused = await patient.emit_refused(command, room=group["room"], **data)
        assert refused["code"] == "forbidden", command
    # a doctor's link is the doctor's alone
    (shown,) = [m for m in await lines(case.opener, group["room"]) if m["kind"] == "image"]
    url = shown["body"]["url"]
    async with case.patient.http.get(case.patient.url + url) as answer:
        assert answer.status == 200
    own = url.replace(case.opener.id, case.patient.id)
    async with case.patient.http.get(case.patient.url + own) as answer:
        assert answer.status == 403
