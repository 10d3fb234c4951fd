"""A group consultation as its people live it: invited, talked, concluded (G1–G3)."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import pytest_asyncio

from care.groups import GroupAction, GroupState
from tests.scenarios.conftest import Advance, Enter, NewPatient
from tests.scenarios.grouping import CONCLUSION, OPINION, REASON, TITLE, Case, open_case, step
from tests.scenarios.people import HUANGFUMI, HUATUO, SHENNONG, XIAOFU, User, begin, say
from tests.scenarios.views import HOUR, clocked, lines, templates

__all__ = ["clocked"]

NewCase = Callable[..., Awaitable[Case]]
BOTH = pytest.mark.parametrize("mode", ["with_patient", "doctors_only"])


@pytest_asyncio.fixture
async def new_case(new_patient: NewPatient, enter_as: Enter) -> NewCase:
    async def make(opener: str = XIAOFU) -> Case:
        one, two = await enter_as(HUANGFUMI), await enter_as(SHENNONG)
        return await open_case(await new_patient(), await enter_as(opener), one, two)

    return make


def told_as(room: Any) -> list[str]:
    return [member["label"] for member in room["members"]]


@pytest.mark.rule("G1", "G2")
async def test_the_patient_opens_his_invitation_and_is_in(new_case: NewCase) -> None:
    case = await new_case()
    group = await case.open()
    invited = await case.one.event("group:invited", id=group["id"])
    assert (invited["title"], invited["reason"], invited["my_state"]) == (TITLE, REASON, "invited")
    assert "group_invited" in await templates(case.one)
    card = await case.patient.event("message:new", kind="card", room=case.room)
    assert card["body"]["text"] == f"“小傅”医生邀请您加入【{TITLE}】会诊, 进入查看详情"
    assert "group_opened" in await templates(case.patient)
    refused = await case.patient.emit_refused("room:join", room=group["room"])
    assert refused["code"] == "forbidden"

    joined = await step(case.patient, "join", {"id": card["body"]["group"]})
    await step(case.one, "accept", group)

    room = (await case.patient.emit("room:join", room=joined["room"]))["room"]
    assert (room["kind"], room["title"], room["open"]) == ("group", TITLE, True)
    assert told_as(room) == ["主治-小傅", "会诊-皇甫谧", f"患者-{case.patient.name}"]
    said = await say(case.patient, group["room"], "从昨天开始疼")
    for doctor in (case.opener, case.one):
        await doctor.event("message:new", id=said["id"])
    assert group["room"] in [r["id"] for r in (await case.one.emit("room:list"))["rooms"]]
    # who only thinks about it hears nothing of what is said
    assert said["id"] not in [e.data["id"] for e in heard(case.two, "message:new")]


def heard(user: User, name: str) -> list[Any]:
    devices = [user.client, *user.more]
    return [event for device in devices for event in device.events if event.name == name]


@pytest.mark.rule("G2")
@BOTH
async def test_the_case_comes_first_and_the_talk_only_where_it_is_shared(
    mode: str, new_case: NewCase
) -> None:
    case = await new_case()
    group = await case.active(mode)
    first = (await lines(case.one, group["room"]))[0]
    assert (first["body"]["card"], first["body"]["person"]["name"]) == ("case", "炎帝")
    assert "history" not in [m["body"].get("card") for m in await lines(case.one, group["room"])]
    await step(case.opener, "close", group, conclusion=CONCLUSION)

    spoken = [m for m in await case.lines(case.opener) if m["kind"] == "text"]
    group = await case.active(mode, history_from_seq=spoken[1]["seq"])
    second = (await lines(case.one, group["room"]))[1]["body"]
    assert second["card"] == "history"
    assert [m["text"] for m in second["messages"]] == ["您好，我看看"]
    # nothing else of the consultation's room is his to read
    assert (await case.one.emit_refused("room:join", room=case.room))["code"] == "forbidden"


@pytest.mark.rule("G3")
async def test_opinions_and_the_conclusion_reach_the_record_and_the_patient(
    new_case: NewCase,
) -> None:
    case = await new_case()
    group = await case.active()
    await step(case.patient, "join", group)
    await step(case.one, "opinion", group, text="先观察")
    await step(case.one, "opinion", group, text=OPINION)
    unread = await case.patient.get(f"/groups/{group['id']}")
    assert (unread["opinions"], unread["conclusion"]) == ([], None)
    seen = await case.opener.get(f"/groups/{group['id']}")
    assert [o["text"] for o in seen["opinions"]] == [OPINION]

    closed = await step(case.opener, "close", group, conclusion=CONCLUSION)

    assert (closed["state"], closed["conclusion"]) == ("concluded", CONCLUSION)
    for room in (case.room, group["room"]):
        card = (await lines(case.patient, room))[-1]["body"]
        assert (card["card"], card["conclusion"]) == ("group_conclusion", CONCLUSION)
        assert card["opinions"] == [{"name": "皇甫谧", "text": OPINION}]
    read = await case.patient.get(f"/groups/{group['id']}")
    assert [o["text"] for o in read["opinions"]] == [OPINION]
    send = {"client_id": "late", "kind": "text", "body": {"text": "还有一句"}}
    for user in (case.one, case.patient, case.opener):
        refused = await user.emit_refused("message:send", room=group["room"], **send)
        assert refused["code"] == "closed"


@pytest.mark.rule("G1")
@BOTH
async def test_invitations_lapse_after_a_day(
    mode: str, new_case: NewCase, advance: Advance
) -> None:
    case = await new_case()
    group = await case.active(mode)
    await advance(24 * HOUR - 60)
    await say(case.opener, case.room, "会诊还在进行")
    assert state_of(await case.two.get(f"/groups/{group['id']}"), case.two) == "invited"
    await advance(120)
    lapsed = await case.two.get(f"/groups/{group['id']}")
    assert (lapsed["state"], state_of(lapsed, case.two)) == ("active", "lapsed")
    assert (await case.two.emit_refused("group:accept", group=group["id"]))["code"] == "conflict"


def state_of(group: Any, doctor: User) -> str:
    return next(str(d["state"]) for d in group["doctors"] if d["id"] == doctor.id)


@pytest.mark.rule("G1")
async def test_one_to_which_nobody_comes_is_cancelled(new_case: NewCase, advance: Advance) -> None:
    case = await new_case()
    group = await case.open()
    await step(case.one, "decline", group)
    await advance(24 * HOUR - 60)
    await say(case.opener, case.room, "等会诊医生")
    await advance(120)
    over = await case.opener.event("group:updated", id=group["id"], state="cancelled")
    assert over["ended_at"]
    # nothing stands in the way of another
    assert (await case.cancelled())["state"] == "cancelled"


@pytest.mark.rule("G1")
@BOTH
async def test_it_ends_a_day_after_its_consultation(
    mode: str, new_case: NewCase, advance: Advance
) -> None:
    case = await new_case()
    group = await case.active(mode)
    await case.opener.emit("consultation:end", consultation=case.consultation)
    joined = (await case.one.emit("room:join", room=group["room"]))["room"]
    assert (joined["open"], joined["closes_because"]) == (True, "consultation_over")
    await advance(24 * HOUR - 60)
    await say(case.one, group["room"], "结论可以写了")
    await advance(120)
    assert (await case.one.get(f"/groups/{group['id']}"))["state"] == "cancelled"
    assert not (await case.one.emit("room:join", room=group["room"]))["room"]["open"]
    refused = await case.opener.emit_refused(
        "group:open", consultation=case.consultation, title=TITLE, reason=REASON, mode=mode,
        doctors=[case.one.id],
    )  # fmt: skip
    assert refused["code"] == "conflict"


@pytest.mark.rule("G1")
async def test_who_leaves_hears_nothing_more_and_may_come_back(new_case: NewCase) -> None:
    case = await new_case()
    tablet = await case.one.device()
    group = await case.active()
    await step(case.two, "accept", group)
    await step(case.one, "leave", group)
    said = await say(case.two, group["room"], "他走了")
    await case.opener.event("message:new", id=said["id"])
    for device in (case.one.client, tablet):
        assert said["id"] not in [e.data["id"] for e in device.events if e.name == "message:new"]
    for command, data in (
        ("room:join", {}),
        ("room:sync", {"after_seq": 0}),
        ("message:send", {"client_id": "gone", "kind": "text", "body": {"text": "还在"}}),
    ):
        refused = await case.one.emit_refused(command, room=group["room"], **data)
        assert refused["code"] == "forbidden", command
    assert group["room"] not in [r["id"] for r in (await case.one.emit("room:list"))["rooms"]]

    await step(case.one, "join", group)
    read = [m["id"] for m in await lines(case.one, group["room"])]
    assert said["id"] in read
    # whoever comes late reads all of it, in order
    seqs = [m["seq"] for m in await lines(case.two, group["room"])]
    assert seqs == list(range(1, len(seqs) + 1))


@pytest.mark.rule("G1")
async def test_lists_tell_what_waits_for_a_doctor_who_comes_later(
    new_case: NewCase, enter_as: Enter
) -> None:
    case = await new_case()
    group = await case.open()
    later = await enter_as(HUANGFUMI)
    listed = await later.get("/groups?state=inviting,active")
    assert group["id"] in [g["id"] for g in listed["items"]]
    assert listed["counts"]["invited"] >= 1
    await step(case.one, "decline", group)
    again = await later.get("/groups?state=inviting,active")
    assert again["counts"]["invited"] == listed["counts"]["invited"] - 1
    outsider = await enter_as(HUATUO)
    assert (await outsider.refused("GET", f"/groups/{group['id']}"))[0] == 403


@pytest.mark.rule("G1")
async def test_only_others_who_are_doctors_are_invited_once_and_one_group_runs_at_a_time(
    new_case: NewCase, new_patient: NewPatient, enter_as: Enter
) -> None:
    case = await new_case()
    wanted = {
        "consultation": case.consultation, "title": TITLE, "reason": REASON, "mode": "doctors_only",
    }  # fmt: skip
    for doctors in ([case.opener.id], ["nobody"], [case.patient.id], []):
        refused = await case.opener.emit_refused("group:open", **wanted, doctors=doctors)
        assert (refused["code"], next(iter(refused["fields"]))[:7]) == ("bad_request", "doctors")
    stranger = await enter_as(HUATUO)
    await stranger.client.connect()
    for user in (stranger, case.one, case.patient):
        refused = await user.emit_refused("group:open", **wanted, doctors=[case.two.id])
        assert refused["code"] == "forbidden"
    group = await case.open("doctors_only")
    refused = await case.opener.emit_refused("group:open", **wanted, doctors=[case.two.id])
    assert refused["code"] == "conflict"
    assert [d["id"] for d in group["doctors"]] == [case.one.id, case.two.id]
    waiting = await begin(await new_patient(), stranger)
    await stranger.emit("consultation:end", consultation=waiting["id"])
    over = {**wanted, "consultation": waiting["id"]}
    refused = await stranger.emit_refused("group:open", **over, doctors=[case.two.id])
    assert refused["code"] == "conflict"


WAYS: dict[GroupState, Callable[[Case], Awaitable[Any]]] = {
    GroupState.INVITING: Case.open,
    GroupState.ACTIVE: Case.active,
    GroupState.CONCLUDED: Case.concluded,
    GroupState.CANCELLED: Case.cancelled,
}
ASKED: list[GroupAction] = [a for a in GroupAction if a not in {GroupAction.LAPSE, GroupAction.END}]
TEXTS: dict[GroupAction, dict[str, str]] = {
    GroupAction.OPINION: {"text": OPINION}, GroupAction.CLOSE: {"conclusion": CONCLUSION},
}  # fmt: skip
A = GroupAction
MAY: dict[GroupState, dict[str, set[GroupAction]]] = {
    GroupState.INVITING: {
        "one": {A.ACCEPT, A.DECLINE}, "two": {A.ACCEPT, A.DECLINE}, "patient": {A.JOIN},
        "opener": {A.CLOSE},
    },
    GroupState.ACTIVE: {
        "one": {A.OPINION, A.LEAVE}, "two": {A.ACCEPT, A.DECLINE}, "patient": {A.JOIN},
        "opener": {A.CLOSE},
    },
    GroupState.CONCLUDED: {},
    GroupState.CANCELLED: {},
}  # fmt: skip
"""Written out from the rules, not read from the table it is held against."""
SEATED: set[GroupAction] = {A.ACCEPT, A.DECLINE, A.JOIN, A.LEAVE, A.OPINION}
EVER: dict[str, set[GroupAction]] = {
    "one": SEATED,
    "two": SEATED,
    "patient": {A.JOIN, A.LEAVE},
    "opener": {A.CLOSE},
}
"""What each may ask for in some state."""


@pytest.mark.rule("G1", "G2", "G3")
@pytest.mark.parametrize("state", WAYS)
async def test_in_each_state_everyone_else_and_every_other_move_is_refused(
    state: GroupState, new_case: NewCase, new_patient: NewPatient, enter_as: Enter
) -> None:
    case = await new_case()
    stranger, other_doctor = await new_patient(), await enter_as(HUATUO)
    for user in (stranger, other_doctor):
        await user.client.connect()
    group = await WAYS[state](case)
    people = {"patient": case.patient, "opener": case.opener, "one": case.one, "two": case.two}
    people |= {"stranger": stranger, "other_doctor": other_doctor}

    async def picture() -> Any:
        seen = await case.opener.get(f"/groups/{group['id']}")
        return seen, await lines(case.opener, group["room"]), await case.lines(case.patient)

    before, tried = await picture(), 0
    for who, user in people.items():
        for action in set(ASKED) - MAY[state].get(who, set()):
            error = await user.emit_refused(
                f"group:{action}", group=group["id"], **TEXTS.get(action, {})
            )
            wanted = "conflict" if action in EVER.get(who, set()) else "forbidden"
            assert error["code"] == wanted, (who, action)
            tried += 1
    assert tried >= len(people) * len(ASKED) - 8
    assert await picture() == before
