"""Rooms and messages through the wire (R1–R5, R7, R8, and the invariants a client can see)."""

import asyncio
from typing import Any

import pytest

from tests.scenarios.conftest import Advance, Enter, NewPatient
from tests.scenarios.people import SHENNONG, XIAOFU, User, ask, begin, say


async def texts(user: User, room: str, after_seq: int = 0) -> list[Any]:
    answer = await user.emit("room:sync", room=room, after_seq=after_seq)
    return [m["body"].get("text") for m in answer["messages"]]


@pytest.mark.rule("R1", "R2")
async def test_a_message_reaches_the_other_side_whole(
    new_patient: NewPatient, enter_as: Enter
) -> None:
    patient, doctor = await new_patient(), await enter_as(XIAOFU)
    talk = await begin(patient, doctor)
    receipt = await say(patient, talk["room"], "医生您好 👋", "hello")
    seen = await doctor.event("message:new", client_id="hello")
    assert seen == {
        "id": receipt["id"], "room": talk["room"], "seq": receipt["seq"], "client_id": "hello",
        "sender": {"id": patient.id, "role": "patient", "name": patient.name},
        "kind": "text", "body": {"text": "医生您好 👋"}, "at": receipt["at"],
    }  # fmt: skip


@pytest.mark.rule("R2", "R7")
async def test_every_device_but_the_sending_one_gets_a_message(
    new_patient: NewPatient, enter_as: Enter
) -> None:
    patient, doctor = await new_patient(), await enter_as(XIAOFU)
    talk = await begin(patient, doctor)
    tablet, desktop = await patient.device(), await doctor.device()
    await say(patient, talk["room"], "各位好", "all")
    for client in (tablet, desktop, doctor.client):
        found = await client.wait_for_event("message:new", 5, lambda m: m["client_id"] == "all")
        assert found is not None
    # the sender's socket would have got it before this answer
    await patient.emit("room:sync", room=talk["room"], after_seq=0)
    assert not [e for e in patient.client.events if e.data.get("client_id") == "all"]


@pytest.mark.rule("R2")
async def test_pipelined_messages_keep_their_order(
    new_patient: NewPatient, enter_as: Enter
) -> None:
    patient, doctor = await new_patient(), await enter_as(XIAOFU)
    talk = await begin(patient, doctor)
    receipts = await asyncio.gather(
        *(say(patient, talk["room"], f"第{i}句", f"p{i}") for i in range(300))
    )
    seqs = [r["seq"] for r in receipts]
    assert seqs == list(range(seqs[0], seqs[0] + 300))
    heard = [(await doctor.event("message:new", client_id=f"p{i}"))["seq"] for i in range(300)]
    assert heard == seqs


@pytest.mark.rule("R2")
async def test_a_resend_is_answered_with_the_first_one(
    new_patient: NewPatient, enter_as: Enter
) -> None:
    patient, doctor = await new_patient(), await enter_as(XIAOFU)
    talk = await begin(patient, doctor)
    tablet = await patient.device()
    message = {
        "room": talk["room"], "client_id": "once", "kind": "text", "body": {"text": "只说一次"},
    }  # fmt: skip
    answers = await asyncio.gather(
        *(c.emit("message:send", message) for c in (patient.client, tablet) * 5)
    )
    assert (
        len({(a["message"]["id"], a["message"]["seq"], a["message"]["at"]) for a in answers}) == 1
    )
    assert (await texts(doctor, talk["room"])).count("只说一次") == 1


@pytest.mark.rule("R2")
async def test_after_a_loss_the_client_gets_exactly_what_it_missed(
    new_patient: NewPatient, enter_as: Enter
) -> None:
    patient, doctor = await new_patient(), await enter_as(XIAOFU)
    talk = await begin(patient, doctor)
    last = (await say(patient, talk["room"], "我先断一下"))["seq"]
    await patient.client.lose_socket()
    missed = [await say(doctor, talk["room"], f"错过{i}") for i in range(250)]
    await patient.client.connect()
    joined = await patient.emit("room:join", room=talk["room"], after_seq=last)
    got = joined["messages"]
    assert joined["has_more"]
    while len(got) < len(missed):
        more = await patient.emit("room:sync", room=talk["room"], after_seq=got[-1]["seq"])
        got += more["messages"]
    assert not more["has_more"]
    assert [m["seq"] for m in got] == [m["seq"] for m in missed]
    assert [m["body"]["text"] for m in got] == [f"错过{i}" for i in range(250)]


@pytest.mark.rule("R2")
async def test_history_pages_backwards(new_patient: NewPatient, enter_as: Enter) -> None:
    patient, doctor = await new_patient(), await enter_as(XIAOFU)
    talk = await begin(patient, doctor)
    for i in range(5):
        await say(doctor, talk["room"], f"{i}")
    newest = await patient.emit("room:history", room=talk["room"], limit=3)
    assert [m["body"]["text"] for m in newest["messages"]] == ["2", "3", "4"]
    assert newest["has_more"]
    first = newest["messages"][0]["seq"]
    older = await patient.emit("room:history", room=talk["room"], before_seq=first, limit=200)
    assert [m["seq"] for m in older["messages"]] == list(range(1, first))
    assert not older["has_more"]


@pytest.mark.rule("R3", "R7")
async def test_reading_on_one_device_clears_the_others(
    new_patient: NewPatient, enter_as: Enter
) -> None:
    patient, doctor = await new_patient(), await enter_as(XIAOFU)
    talk = await begin(patient, doctor)
    tablet = await patient.device()
    for i in range(3):
        last = await say(doctor, talk["room"], f"第{i}条")
    (room,) = (await patient.emit("room:list"))["rooms"]
    assert (room["unread"], room["last_seq"]) == (3, last["seq"])
    await patient.emit("message:read", room=talk["room"], seq=last["seq"])
    mark = {"room": talk["room"], "user": patient.id, "seq": last["seq"]}
    for client in (tablet, doctor.client):
        found = await client.wait_for_event("message:read", 5, lambda e: e == mark)
        assert found is not None
    snapshot = (await tablet.emit("room:join", {"room": talk["room"]}))["room"]
    assert (snapshot["unread"], snapshot["read_seq"]) == (0, last["seq"])
    reader = next(m for m in snapshot["members"] if m["user"] == patient.id)
    assert reader["read_seq"] == last["seq"]


@pytest.mark.rule("R3")
async def test_a_read_mark_never_goes_back_nor_past_the_end(
    new_patient: NewPatient, enter_as: Enter
) -> None:
    patient, doctor = await new_patient(), await enter_as(XIAOFU)
    talk = await begin(patient, doctor)
    last = await say(doctor, talk["room"], "您好")
    await patient.emit("message:read", room=talk["room"], seq=10**9)
    await patient.emit("message:read", room=talk["room"], seq=1)
    snapshot = (await patient.emit("room:join", room=talk["room"]))["room"]
    assert snapshot["read_seq"] == last["seq"]


@pytest.mark.rule("R3")
async def test_typing_is_shown_to_the_other_side(new_patient: NewPatient, enter_as: Enter) -> None:
    patient, doctor = await new_patient(), await enter_as(XIAOFU)
    talk = await begin(patient, doctor)
    await doctor.emit("typing:set", room=talk["room"], on=True)
    seen = await patient.event("typing", room=talk["room"])
    assert seen == {"room": talk["room"], "user": doctor.id, "on": True}


@pytest.mark.rule("R4")
async def test_a_recalled_message_shows_nothing_any_more(
    new_patient: NewPatient, enter_as: Enter
) -> None:
    patient, doctor = await new_patient(), await enter_as(XIAOFU)
    talk = await begin(patient, doctor)
    sent = await say(patient, talk["room"], "发错了的秘密")
    await patient.emit("message:recall", room=talk["room"], seq=sent["seq"])
    recalled = await doctor.event("message:recalled")
    assert (recalled["room"], recalled["seq"]) == (talk["room"], sent["seq"])
    answer = await doctor.emit("room:sync", room=talk["room"], after_seq=sent["seq"] - 1)
    hidden, line = answer["messages"]
    assert (hidden["body"], hidden["recalled"]) == ({}, True)
    assert (line["kind"], line["body"]["seq"]) == ("recall", sent["seq"])
    found = await doctor.emit("message:search", text="发错了")
    assert found["messages"] == []


@pytest.mark.rule("R4")
async def test_only_ones_own_and_only_within_two_minutes(
    new_patient: NewPatient, enter_as: Enter, advance: Advance
) -> None:
    patient, doctor = await new_patient(), await enter_as(XIAOFU)
    talk = await begin(patient, doctor)
    sent = await say(patient, talk["room"], "两分钟")
    theirs = await doctor.emit_refused("message:recall", room=talk["room"], seq=sent["seq"])
    line = await patient.emit_refused("message:recall", room=talk["room"], seq=1)
    assert (theirs["code"], line["code"]) == ("forbidden", "forbidden")
    await advance(121)
    late = await patient.emit_refused("message:recall", room=talk["room"], seq=sent["seq"])
    assert late["code"] == "conflict"
    assert "两分钟" in await texts(doctor, talk["room"])


@pytest.mark.rule("R5")
async def test_chinese_text_is_found_in_ones_own_rooms_alone(
    new_patient: NewPatient, enter_as: Enter
) -> None:
    patient, other = await new_patient(), await new_patient()
    doctor = await enter_as(XIAOFU)
    talk = await begin(patient, doctor)
    await say(doctor, talk["room"], "建议口服布洛芬缓释胶囊，一次一粒")
    await say(patient, talk["room"], "Ibuprofen 可以吗")
    found = await patient.emit("message:search", text="布洛芬")
    assert [m["body"]["text"] for m in found["messages"]] == ["建议口服布洛芬缓释胶囊，一次一粒"]
    assert (await patient.emit("message:search", text="ibuPROFEN"))["messages"]
    assert (await patient.emit("message:search", text="洛.芬"))["messages"] == []
    await ask(other, doctor)
    await other.client.connect()
    assert (await other.emit("message:search", text="布洛芬"))["messages"] == []
    error = await other.emit_refused("message:search", text="布洛芬", room=talk["room"])
    assert error["code"] == "forbidden"


@pytest.mark.rule("R2")
async def test_a_stranger_gets_nothing_of_a_room(new_patient: NewPatient, enter_as: Enter) -> None:
    patient, stranger = await new_patient(), await new_patient()
    doctor, other_doctor = await enter_as(XIAOFU), await enter_as(SHENNONG)
    talk = await begin(patient, doctor)
    room = talk["room"]
    commands: list[tuple[str, dict[str, Any]]] = [
        ("room:join", {}), ("room:leave", {}), ("room:sync", {"after_seq": 0}),
        ("room:history", {}), ("message:recall", {"seq": 1}), ("message:read", {"seq": 1}),
        ("typing:set", {"on": True}),
        ("message:send", {"client_id": "x", "kind": "text", "body": {"text": "混进来"}}),
        ("message:send", {"client_id": "y", "kind": "image", "body": {"file": "f"}}),
    ]  # fmt: skip
    for outsider in (stranger, other_doctor):
        await outsider.client.connect()
        for command, data in commands:
            for name in (room, "no-such-room"):
                error = await outsider.emit_refused(command, room=name, **data)
                assert error["code"] == "forbidden", (command, name)
    await say(patient, room, "只有我们两个")
    await doctor.event("message:new")
    assert "混进来" not in await texts(doctor, room)
    for outsider in (stranger, other_doctor):
        await outsider.emit("room:list")
        assert not [e for e in outsider.client.events if e.data.get("room") == room]


@pytest.mark.rule("R2")
async def test_a_left_room_is_silent_until_it_is_joined_again(
    new_patient: NewPatient, enter_as: Enter
) -> None:
    patient, doctor = await new_patient(), await enter_as(XIAOFU)
    talk = await begin(patient, doctor)
    await patient.emit("room:leave", room=talk["room"])
    sent = await say(doctor, talk["room"], "还在吗", "gone")
    joined = await patient.emit("room:join", room=talk["room"], after_seq=sent["seq"] - 1)
    assert [m["client_id"] for m in joined["messages"]] == ["gone"]
    assert not [e for e in patient.client.events if e.data.get("client_id") == "gone"]
    await say(doctor, talk["room"], "欢迎回来", "back")
    await patient.event("message:new", client_id="back")


@pytest.mark.rule("R8", "R3")
async def test_a_background_socket_fades_after_ten_seconds(
    new_patient: NewPatient, enter_as: Enter, advance: Advance
) -> None:
    patient, doctor = await new_patient(), await enter_as(XIAOFU)
    talk = await begin(patient, doctor)

    async def online() -> bool:
        snapshot = (await doctor.emit("room:join", room=talk["room"]))["room"]
        member = next(m for m in snapshot["members"] if m["user"] == patient.id)
        return bool(member["online"])

    assert await online()
    await patient.emit("presence:set", state="background")
    await advance(11)
    seen = await doctor.event("presence:changed", user=patient.id, online=False)
    assert seen == {"user": patient.id, "online": False}
    assert not await online()
    await patient.emit("presence:set", state="foreground")
    await doctor.event("presence:changed", user=patient.id, online=True)
    assert await online()


@pytest.mark.rule("C12", "R3")
async def test_the_snapshot_says_who_is_there_and_until_when(
    new_patient: NewPatient, enter_as: Enter
) -> None:
    patient, doctor = await new_patient(), await enter_as(XIAOFU)
    talk = await begin(patient, doctor)
    snapshot = (await patient.emit("room:join", room=talk["room"]))["room"]
    assert (snapshot["id"], snapshot["kind"], snapshot["open"]) == (
        talk["room"], "consultation", True,
    )  # fmt: skip
    assert snapshot["consultation"] == talk["id"]
    assert snapshot["closes_at"] == talk["closes_at"]
    labels = {m["role"]: m["label"] for m in snapshot["members"]}
    assert labels == {"patient": f"患者-{patient.name}", "doctor": "医生-小傅"}
