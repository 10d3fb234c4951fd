"""A transfer as its people live it: proposed, agreed, taken over, or given back (T1–T3)."""

from collections.abc import Awaitable, Callable

import pytest
import pytest_asyncio

from care.transfer import ACTORS, TABLE, Side, TransferAction, TransferState
from tests.scenarios.conftest import Advance, Enter, NewPatient
from tests.scenarios.people import (
    HUANGFUMI,
    HUATUO,
    SHENNONG,
    XIAOFU,
    User,
    ask,
    begin,
    say,
)
from tests.scenarios.transferring import REASON, Case, open_case
from tests.scenarios.views import HOUR, clocked, closing_of, lines, shown, templates

__all__ = ["clocked"]

NewCase = Callable[..., Awaitable[Case]]
CARD_TEXT = "该转诊有效期为24小时，请及时进行确认操作"
COMMANDS = {action: f"transfer:{action.value}" for action in TransferAction}


@pytest_asyncio.fixture
async def new_case(new_patient: NewPatient, enter_as: Enter) -> NewCase:
    async def make(old: str = XIAOFU, new: str = HUANGFUMI) -> Case:
        return await open_case(await new_patient(), await enter_as(old), await enter_as(new))

    return make


@pytest.mark.rule("T1")
async def test_the_patient_is_asked_by_a_card_that_says_all(new_case: NewCase) -> None:
    case = await new_case()
    transfer = await case.propose()
    told = await case.patient.event("transfer:updated", id=transfer, state="proposed")
    assert (told["from_doctor"]["name"], told["to_doctor"]["name"]) == ("小傅", "皇甫谧")
    card = await case.patient.event("message:new", kind="card", room=case.room)
    asked = card["body"]["transfer"]
    assert (card["body"]["card"], asked["id"], asked["reason"]) == ("transfer", transfer, REASON)
    assert card["body"]["patient"] == case.patient.name
    assert (await lines(case.patient, case.room))[-1]["body"]["text"] == CARD_TEXT
    assert "transfer_proposed" in await templates(case.patient)
    # nobody asked the new doctor yet
    await case.new.emit_refused("room:join", room=case.room)
    assert (await case.new.get("/transfers"))["items"] == []
    assert (await case.new.refused("GET", f"/transfers/{transfer}"))[0] == 403
    assert (await shown(case.patient, case.consultation))["transfer"]["state"] == "proposed"


@pytest.mark.rule("T2")
async def test_the_new_doctor_reads_the_case_then_takes_the_patient_over(
    new_case: NewCase,
) -> None:
    case = await new_case()
    transfer = await case.agreed()
    waits = await case.new.event("transfer:updated", id=transfer, state="agreed")
    assert waits["confirmed_at"]
    assert "transfer_waiting" in await templates(case.new)
    listed = await case.new.get("/transfers?state=agreed")
    assert transfer in [t["id"] for t in listed["items"]]
    assert listed["counts"]["agreed"] >= 1
    texts = [m["body"].get("text") for m in await case.lines(case.new)]
    assert "医生您好，右下后牙疼" in texts
    send = {"client_id": "early", "kind": "text", "body": {"text": "我先看看"}}
    assert (await case.new.emit_refused("message:send", room=case.room, **send))["code"] == "closed"

    await case.new.emit("transfer:accept", transfer=transfer)

    now = await shown(case.patient, case.consultation)
    assert (now["state"], now["doctor"]["id"], now["price"]) == ("in_progress", case.new.id, 0)
    await say(case.new, case.room, "您好，由我继续")
    await case.patient.event("message:new", room=case.room, sender=_sender(case.new))
    last = [m for m in await case.lines(case.patient) if m["kind"] == "system"][-1]
    assert last["body"]["text"] == "皇甫谧医生已接诊，由皇甫谧医生继续为您服务"
    assert last["body"]["transfer"]["state"] == "accepted"
    assert "transfer_accepted" in await templates(case.patient)


def _sender(user: User) -> dict[str, str]:
    return {"id": user.id, "role": "doctor", "name": user.name}


@pytest.mark.rule("T2")
async def test_the_old_doctor_keeps_what_he_was_party_to_and_gets_nothing_more(
    new_case: NewCase,
) -> None:
    case = await new_case()
    tablet = await case.old.device()
    transfer = await case.agreed()
    before = await case.lines(case.old)
    await case.new.emit("transfer:accept", transfer=transfer)
    await case.old.event("transfer:updated", id=transfer, state="accepted")
    said = await say(case.new, case.room, "以后由我负责")
    await case.patient.event("message:new", id=said["id"])

    assert await case.lines(case.old) == before
    history = await case.old.emit("room:history", room=case.room)
    assert history["messages"][-1] == before[-1]
    room = (await case.old.emit("room:join", room=case.room))["room"]
    assert (room["open"], room["unread"], room["last_seq"]) == (False, 0, before[-1]["seq"])
    send = {"client_id": "late", "kind": "text", "body": {"text": "还有一句"}}
    assert (await case.old.emit_refused("message:send", room=case.room, **send))["code"] == "closed"
    for command, data in (
        ("message:read", {"seq": 1}),
        ("typing:set", {"on": True}),
        ("message:recall", {"seq": before[-1]["seq"]}),
    ):
        error = await case.old.emit_refused(command, room=case.room, **data)
        assert error["code"] == "forbidden", command
    for move in ("consultation:end", "consultation:decline"):
        data = {"reason": "已转诊"} if move.endswith("decline") else {}
        error = await case.old.emit_refused(move, consultation=case.consultation, **data)
        assert error["code"] == "forbidden", move
    for device in (case.old.client, tablet):
        heard = [e.data["id"] for e in device.events if e.name == "message:new"]
        assert said["id"] not in heard


@pytest.mark.rule("T2")
async def test_a_new_doctor_who_never_answers_is_not_paid_for(
    new_case: NewCase, advance: Advance
) -> None:
    case = await new_case(old=HUATUO, new=HUANGFUMI)
    await case.accepted()
    await advance(24 * HOUR + 60)
    closing = await closing_of(case.patient.client, case.consultation)
    assert (closing["state"], closing["closed_reason"]["because"]) == ("expired", "no_reply")
    assert (await shown(case.patient, case.consultation))["payment"]["state"] == "refunded"


@pytest.mark.rule("T2")
async def test_a_new_doctor_who_declines_gives_the_patient_back(
    new_case: NewCase, advance: Advance
) -> None:
    case = await new_case()
    transfer = await case.declined()
    await case.old.event("transfer:updated", id=transfer, state="declined")
    await say(case.old, case.room, "那我们继续")
    last = [m for m in await case.lines(case.patient) if m["kind"] == "system"][-1]
    assert last["body"]["text"] == "皇甫谧医生未接受转诊，由小傅医生继续为您服务"
    assert "transfer_returned" in await templates(case.old)
    assert (await case.new.emit_refused("room:join", room=case.room))["code"] == "forbidden"
    # and may propose again: one live transfer at a time, not one for ever
    assert await case.propose() != transfer


@pytest.mark.rule("T2")
async def test_a_new_doctor_has_six_hours(new_case: NewCase, advance: Advance) -> None:
    case = await new_case()
    await advance(20 * HOUR)
    transfer = await case.propose()
    # the talk's own clock stands still while somebody is asked
    await advance(10 * HOUR)
    await case.patient.emit("transfer:agree", transfer=transfer)
    await advance(6 * HOUR - 60)
    assert (await case.transfer(transfer))["state"] == "agreed"
    await advance(120)
    await case.old.event("transfer:updated", id=transfer, state="expired")
    late = await case.new.emit_refused("transfer:accept", transfer=transfer)
    assert late["code"] == "conflict"
    assert await case.state() == "in_progress"
    await say(case.old, case.room, "转诊超时了，我们继续")


@pytest.mark.rule("T3")
async def test_a_refusal_closes_and_refunds(new_case: NewCase) -> None:
    case = await new_case(old=HUATUO)
    transfer = await case.propose()
    await case.patient.emit("transfer:refuse", transfer=transfer)
    closed = await case.old.event("consultation:updated", state="refused_transfer")
    assert closed["closed_reason"]["text"] == "患者拒绝转诊，问诊订单关闭，问诊费用将原路退回"
    assert (await shown(case.patient, case.consultation))["payment"]["state"] == "refunded"
    assert "transfer_refused" in await templates(case.old)


@pytest.mark.rule("T3")
async def test_an_unanswered_card_lapses_and_the_doctor_goes_on(
    new_case: NewCase, advance: Advance
) -> None:
    case = await new_case()
    transfer = await case.propose()
    error = await case.old.emit_refused(
        "transfer:propose", consultation=case.consultation, to_doctor=case.new.id, reason=REASON
    )
    assert error["code"] == "conflict"
    await advance(24 * HOUR - 60)
    assert (await case.transfer(transfer))["state"] == "proposed"
    await advance(120)
    assert (await case.transfer(transfer))["state"] == "expired"
    last = [m for m in await case.lines(case.patient) if m["kind"] == "system"][-1]
    assert last["body"]["text"] == "转诊已超时，由小傅医生继续为您服务"
    assert await case.state() == "in_progress"
    # from now on the talk has its whole time again
    await advance(15 * HOUR)
    assert await case.state() == "in_progress"


@pytest.mark.rule("T3")
async def test_an_end_ends_the_transfer_along(new_case: NewCase) -> None:
    case = await new_case()
    transfer = await case.agreed()
    await case.old.emit("consultation:end", consultation=case.consultation)
    await case.new.event("transfer:updated", id=transfer, state="cancelled")
    assert (await case.new.emit_refused("transfer:accept", transfer=transfer))["code"] == "conflict"
    assert await case.state() == "ended"


@pytest.mark.rule("T1")
async def test_only_a_doctor_of_text_who_has_no_open_talk_with_the_patient_is_proposed(
    new_patient: NewPatient, enter_as: Enter, new_case: NewCase
) -> None:
    patient, old, new = await new_patient(), await enter_as(XIAOFU), await enter_as(HUANGFUMI)
    made = await begin(patient, old)
    propose = {"consultation": made["id"], "reason": REASON}
    for to, code in ((old.id, "conflict"), ("nobody", "bad_request")):
        refused = await old.emit_refused("transfer:propose", **propose, to_doctor=to)
        assert refused["code"] == code
    other = await ask(patient, new)
    refused = await old.emit_refused("transfer:propose", **propose, to_doctor=new.id)
    assert refused["code"] == "conflict"
    # one that opens while the new doctor is asked (C14)
    await patient.post(f"/consultations/{other['id']}/cancel")
    case = Case(patient, old, new, made["id"], made["room"])
    await new.client.connect()
    transfer = await case.agreed()
    await ask(patient, new)
    assert (await new.emit_refused("transfer:accept", transfer=transfer))["code"] == "conflict"
    assert (await case.transfer(transfer))["state"] == "agreed"
    assert (await shown(patient, made["id"]))["doctor"]["id"] == old.id


WAYS = {
    TransferState.PROPOSED: Case.propose,
    TransferState.AGREED: Case.agreed,
    TransferState.ACCEPTED: Case.accepted,
    TransferState.REFUSED: Case.refused,
    TransferState.DECLINED: Case.declined,
    TransferState.CANCELLED: Case.cancelled,
}
ASKED = [action for action in TransferAction if ACTORS[action] is not Side.SYSTEM]


@pytest.mark.rule("T1", "T2", "T3")
@pytest.mark.parametrize("state", WAYS)
async def test_in_each_state_everyone_else_and_every_other_move_is_refused(
    state: TransferState, new_case: NewCase, new_patient: NewPatient, enter_as: Enter
) -> None:
    case = await new_case()
    stranger, other_doctor = await new_patient(), await enter_as(SHENNONG)
    for user in (stranger, other_doctor):
        await user.client.connect()
    transfer = await WAYS[state](case)
    before = await case.transfer(transfer), await case.lines(case.patient)
    people = {
        case.patient: Side.PATIENT, case.new: Side.NEW_DOCTOR, case.old: None,
        stranger: None, other_doctor: None,
    }  # fmt: skip
    for action in ASKED:
        for user, side in people.items():
            if side is ACTORS[action] and (state, action) in TABLE:
                continue
            error = await user.emit_refused(COMMANDS[action], transfer=transfer)
            wanted = {"conflict"} if side is ACTORS[action] else {"forbidden"}
            # before the patient agreed, the new doctor must not even learn of it
            unasked = side is Side.NEW_DOCTOR and before[0]["confirmed_at"] is None
            assert error["code"] in ({"forbidden"} if unasked else wanted), (action, user.name)
    assert (await case.transfer(transfer), await case.lines(case.patient)) == before
