"""Bookings through the wire: the strip, the slot, the payment, the reminder, the end (B1–B8)."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from tests.scenarios.booking import book, booking_form, free_days, free_slots, until
from tests.scenarios.conftest import Advance, Enter, NewPatient
from tests.scenarios.people import HUATUO, SHENNONG, XIAOFU, User, add_person, form, pay
from tests.scenarios.views import templates
from tests.server import ServerProcess

MINUTE, HOUR, DAY = 60, 3600, 86400


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def clocked(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ServerProcess]:
    """Serve people whose tokens outlast the days that a booking takes."""
    env = {"WENZHEN_ACCOUNTS__ACCESS_TOKEN_SECONDS": str(365 * DAY)}
    folder = tmp_path_factory.mktemp("bookings") / "data"
    process = ServerProcess(folder, "--virtual-clock", env=env)
    try:
        await process.start()
        yield process
    finally:
        await process.close()


async def state(user: User, booking: str) -> str:
    return str((await user.get(f"/bookings/{booking}"))["state"])


@pytest.mark.rule("B1", "B2")
async def test_the_strip_shows_seven_days_and_each_days_slots(
    new_patient: NewPatient, enter_as: Enter
) -> None:
    patient, doctor = await new_patient(), await enter_as(XIAOFU)
    days = await free_days(patient, doctor, "voice")
    assert len(days) == 7
    assert {day["weekday"] for day in days} == set(range(1, 8))
    slots = (await patient.get(f"/doctors/{doctor.id}/slots?mode=voice&date={days[6]['date']}"))[
        "items"
    ]
    shown = {(s["begins"], s["ends"], s["label"], s["number"]) for s in slots}
    assert ("09:45", "10:05", "上午", 1) in shown
    assert ("20:00", "20:20", "晚上", 4) in shown
    assert days[6]["free"] == sum(slot["free"] for slot in slots)


@pytest.mark.rule("B1")
async def test_who_offers_no_calls_has_no_slots(new_patient: NewPatient, enter_as: Enter) -> None:
    patient, doctor = await new_patient(), await enter_as(SHENNONG)
    assert {day["free"] for day in await free_days(patient, doctor)} == {0}
    assert await free_slots(patient, doctor) == []


@pytest.mark.rule("B1")
async def test_a_doctor_keeps_his_schedule(new_patient: NewPatient, enter_as: Enter) -> None:
    patient, doctor = await new_patient(), await enter_as(HUATUO)
    before = len(await free_slots(patient, doctor, 3))
    weekday = (await free_days(patient, doctor))[3]["weekday"]
    period = {"weekday": weekday, "begins": "14:00", "ends": "15:00", "modes": ["video"]}
    made = await doctor.post("/schedules", period)
    assert len(await free_slots(patient, doctor, 3)) == before + 3
    status, problem = await doctor.refused("POST", "/schedules", period)
    assert (status, problem["code"]) == (409, "conflict")

    (slot,) = [s for s in await free_slots(patient, doctor, 3) if s["begins"] == "14:20"]
    changed = await doctor.client.call("PATCH", f"/schedules/{made['id']}", {"begins": "14:30"})
    assert changed.status == 200, changed.body
    wanted = await booking_form(patient, doctor, slot["id"])
    status, problem = await patient.refused("POST", "/bookings", wanted)
    assert (status, problem["code"]) == (409, "conflict")

    gone = await doctor.client.call("DELETE", f"/schedules/{made['id']}")
    assert gone.status == 204
    assert len(await free_slots(patient, doctor, 3)) == before


@pytest.mark.rule("B3", "C1")
@pytest.mark.parametrize("mode", ["voice", "video"])
async def test_a_call_needs_a_slot_and_a_text_takes_none(
    new_patient: NewPatient, enter_as: Enter, mode: str
) -> None:
    patient, doctor = await new_patient(), await enter_as(XIAOFU)
    slot, person = (await free_slots(patient, doctor, 1))[0]["id"], await add_person(patient)
    for wanted in (
        form(doctor.id, person, mode=mode),
        form(doctor.id, person, mode="text", slot=slot),
        form(doctor.id, person, mode=mode, slot="tomorrow"),
    ):
        status, problem = await patient.refused("POST", "/consultations", wanted)
        assert (status, problem["code"]) == (400, "bad_request")
        assert "slot" in problem["fields"]
    short = form(doctor.id, person, mode=mode, slot=slot, description="太短")
    _, problem = await patient.refused("POST", "/bookings", short)
    assert "description" in problem["fields"]


@pytest.mark.rule("B2", "B3", "B5", "B7", "P3", "P4")
async def test_a_free_booking_stands_at_once_and_shows_what_it_is(
    new_patient: NewPatient, enter_as: Enter
) -> None:
    patient, doctor = await new_patient(), await enter_as(XIAOFU)
    evening = [s for s in await free_slots(patient, doctor, 1, "voice") if s["begins"] == "20:00"]
    made = await book(patient, doctor, mode="voice", slot=evening[0]["id"])
    date = (await free_days(patient, doctor, "voice"))[1]["date"]
    assert (made["state"], made["time"]) == ("booked", f"{date} 20:00:00")
    assert (made["slot"]["number"], made["label"], made["mode"]) == (4, "晚上", "voice")
    assert (made["account"]["name"], made["person"]["name"]) == (patient.name, "炎帝")
    assert (made["person"]["id_card"], made["person"]["phone"]) == ("1101****0417", "134****5678")
    assert (made["doctor"]["title"], made["doctor"]["department"]) == ("主任医师", "口腔颌面科")

    assert evening[0]["id"] not in [s["id"] for s in await free_slots(patient, doctor, 1, "voice")]
    listed = (await patient.get("/bookings?state=booked"))["items"]
    assert [b["id"] for b in listed] == [made["id"]]
    assert (await patient.get("/bookings?state=held,no_show"))["items"] == []
    day = (await doctor.get(f"/slots?date={date}"))["items"]
    (entry,) = [e for e in day if e["id"] == evening[0]["id"]]
    assert (entry["state"], entry["booking"]["id"]) == ("booked", made["id"])
    assert await templates(patient) == ["booking_confirmed"]

    seen = await patient.get(f"/consultations/{made['id']}")
    assert (seen["state"], seen["queue"], seen["closes_because"]) == (
        "awaiting_doctor", None, "no_show",
    )  # fmt: skip
    status, _ = await patient.refused("DELETE", f"/people/{made['person']['id']}")
    assert status == 409


@pytest.mark.rule("B2", "C14")
async def test_a_taken_slot_is_nobody_elses(new_patient: NewPatient, enter_as: Enter) -> None:
    patient, other = await new_patient(), await new_patient()
    doctor = await enter_as(XIAOFU)
    slot = (await free_slots(patient, doctor, 2))[0]["id"]
    await book(patient, doctor, slot=slot)
    for mode in ("video", "voice"):
        wanted = await booking_form(other, doctor, slot, mode)
        status, problem = await other.refused("POST", "/bookings", wanted)
        assert (status, problem["code"]) == (409, "conflict")
        assert problem["detail"] == "该时段已被预约"
    again = await booking_form(patient, doctor, (await free_slots(patient, doctor, 2))[0]["id"])
    status, problem = await patient.refused("POST", "/bookings", again)
    assert (status, problem["detail"]) == (409, "您与该医生已有进行中的问诊")


@pytest.mark.rule("B2")
async def test_a_booking_sent_twice_is_made_once(new_patient: NewPatient, enter_as: Enter) -> None:
    patient, doctor = await new_patient(), await enter_as(XIAOFU)
    slot = (await free_slots(patient, doctor, 2))[0]["id"]
    wanted = await booking_form(patient, doctor, slot)
    key = f"twice-{patient.id}"
    answers = await asyncio.gather(
        *(patient.client.call("POST", "/bookings", wanted, key) for _ in range(5))
    )
    assert {a.status for a in answers} == {201}
    assert len({a.body["id"] for a in answers}) == 1


@pytest.mark.rule("B2", "B3")
async def test_an_unpaid_slot_is_held_for_15_minutes(
    new_patient: NewPatient, enter_as: Enter, advance: Advance
) -> None:
    patient, other = await new_patient(), await new_patient()
    doctor = await enter_as(HUATUO)
    slot = (await free_slots(patient, doctor, 2))[0]["id"]
    held = await book(patient, doctor, slot=slot)
    assert held["state"] == "held"
    assert await templates(patient) == []
    await doctor.refused("GET", f"/bookings/{held['id']}")
    await advance(14 * MINUTE)
    await other.refused("POST", "/bookings", await booking_form(other, doctor, slot))
    await advance(MINUTE)
    assert await state(patient, held["id"]) == "expired"
    taken = await book(other, doctor, slot=slot)
    await pay(other, taken["id"])
    assert await state(other, taken["id"]) == "booked"
    assert await templates(other) == ["booking_confirmed"]


@pytest.mark.rule("B4", "M2")
async def test_a_cancelled_booking_is_refunded_and_its_slot_is_free(
    new_patient: NewPatient, enter_as: Enter
) -> None:
    patient, doctor = await new_patient(), await enter_as(HUATUO)
    made = await book(patient, doctor, 2)
    await pay(patient, made["id"])
    cancelled = await patient.post(f"/bookings/{made['id']}/cancel")
    assert cancelled["state"] == "cancelled"
    shown = await patient.get(f"/consultations/{made['id']}")
    assert shown["payment"]["state"] == "refunded"
    assert made["slot"]["id"] in [s["id"] for s in await free_slots(patient, doctor, 2)]
    assert (await templates(doctor))[-2:] == ["booking_received", "booking_dropped"]


@pytest.mark.rule("B4")
async def test_it_can_be_cancelled_until_two_hours_before(
    new_patient: NewPatient, enter_as: Enter
) -> None:
    early, late = await new_patient(), await new_patient()
    doctor = await enter_as(XIAOFU)
    slots = await free_slots(early, doctor, 0)
    booked = [await book(p, doctor, slot=slots[0]["id"]) for p in (early,)]
    booked.append(await book(late, doctor, slot=slots[1]["id"]))
    await until(early, booked[0]["slot"]["starts_at"], 2 * HOUR + 1)
    assert (await early.post(f"/bookings/{booked[0]['id']}/cancel"))["state"] == "cancelled"
    await until(late, booked[1]["slot"]["starts_at"], 2 * HOUR - 1)
    status, problem = await late.refused("POST", f"/bookings/{booked[1]['id']}/cancel")
    assert (status, problem["code"]) == (409, "conflict")
    assert await state(late, booked[1]["id"]) == "booked"


@pytest.mark.rule("B4")
async def test_three_cancellations_in_30_days_and_no_more(
    new_patient: NewPatient, enter_as: Enter, advance: Advance
) -> None:
    patient = await new_patient()
    doctors = [await enter_as(XIAOFU), await enter_as(HUATUO)]
    for _ in range(2):
        # a hold that is let go costs nothing
        held = await book(patient, doctors[1], 3)
        await patient.post(f"/bookings/{held['id']}/cancel")
    made = [await book(patient, doctors[0], 3, mode) for mode in ("voice", "video")]
    for mode in ("voice", "video"):
        paid = await book(patient, doctors[1], 3, mode)
        await pay(patient, paid["id"])
        made.append(paid)
    answers = await asyncio.gather(
        *(patient.client.call("POST", f"/bookings/{b['id']}/cancel", {}) for b in made)
    )
    assert sorted(a.status for a in answers) == [200, 200, 200, 409]
    (kept,) = [a.body for a in answers if a.status == 409]
    assert kept["detail"] == "30天内最多取消3次预约"

    await advance(31 * DAY)
    again = await book(patient, doctors[0], 3)
    assert (await patient.post(f"/bookings/{again['id']}/cancel"))["state"] == "cancelled"


@pytest.mark.rule("B5", "C9")
async def test_both_are_reminded_20_minutes_before_once(
    new_patient: NewPatient, enter_as: Enter, advance: Advance
) -> None:
    patient, doctor = await new_patient(), await enter_as(XIAOFU)
    made = await book(patient, doctor)
    await until(patient, made["slot"]["starts_at"], 20 * MINUTE + 1)
    assert await templates(patient) == ["booking_confirmed"]
    await advance(1)
    assert await templates(patient) == ["booking_confirmed", "booking_reminder"]
    await advance(10 * MINUTE)
    assert await templates(patient) == ["booking_confirmed", "booking_reminder"]
    assert (await templates(doctor)).count("booking_soon") >= 1
    notices = (await patient.get("/notices"))["items"]
    assert notices[0]["values"]["begins_at"] == made["time"]


@pytest.mark.rule("B6", "V7")
async def test_from_20_minutes_before_the_doctor_may_begin_in_text(
    new_patient: NewPatient, enter_as: Enter
) -> None:
    patient, doctor = await new_patient(), await enter_as(XIAOFU)
    made = await book(patient, doctor)
    accept = f"/consultations/{made['id']}/accept"
    await until(patient, made["slot"]["starts_at"], 20 * MINUTE + 1)
    status, problem = await doctor.refused("POST", accept)
    assert (status, problem["detail"]) == (409, "还没有到预约时间")
    await until(patient, made["slot"]["starts_at"], 20 * MINUTE)
    assert (await doctor.post(accept))["state"] == "in_progress"
    assert await state(patient, made["id"]) == "in_progress"


async def call(doctor: User, made: Any) -> str:
    """Ring the patient at the booked time."""
    await until(doctor, made["slot"]["starts_at"])
    await doctor.client.connect()
    started = await doctor.emit("call:start", room=made["room"], media="video")
    return str(started["call"]["id"])


@pytest.mark.rule("B6")
@pytest.mark.parametrize(
    ("rung", "missed_by"), [("never", "doctor"), ("shortly", "doctor"), ("out", "patient")]
)
async def test_without_a_connected_call_it_closes_an_hour_after_and_is_refunded(
    new_patient: NewPatient, enter_as: Enter, rung: str, missed_by: str
) -> None:
    patient, doctor = await new_patient(), await enter_as(HUATUO)
    made = await book(patient, doctor)
    await pay(patient, made["id"])
    if rung != "never":
        ringing = await call(doctor, made)
        if rung == "shortly":
            await doctor.emit("call:cancel", call=ringing)
    await until(patient, made["slot"]["ends_at"], 1 - HOUR)
    assert await state(patient, made["id"]) == "booked"
    await until(patient, made["slot"]["ends_at"], -HOUR)
    shown = await patient.get(f"/bookings/{made['id']}")
    assert (shown["state"], shown["closed_reason"]["missed_by"]) == ("no_show", missed_by)
    consultation = await patient.get(f"/consultations/{made['id']}")
    assert (consultation["state"], consultation["payment"]["state"]) == ("expired", "refunded")
    assert {"no_show", "refunded"} <= set(await templates(patient))


@pytest.mark.rule("B6", "V10")
async def test_a_connected_call_begins_the_talk(
    new_patient: NewPatient, enter_as: Enter, advance: Advance
) -> None:
    patient, doctor = await new_patient(), await enter_as(XIAOFU)
    made = await book(patient, doctor)
    rings = await call(doctor, made)
    await patient.client.connect()
    await patient.emit("call:accept", call=rings)
    for side in (doctor, patient):
        await side.emit("call:stats", call=rings, stats={"connection": "connected"})
    await advance(3)
    await patient.event("consultation:updated", id=made["id"], state="in_progress")
    await doctor.emit("call:hang_up", call=rings)
    await until(patient, made["slot"]["ends_at"], -2 * HOUR)
    # a call is a reply: what runs is the talk's own clock
    shown = await patient.get(f"/consultations/{made['id']}")
    assert (shown["state"], shown["closes_because"]) == ("in_progress", "idle")
    await doctor.post(f"/consultations/{made['id']}/end")
    assert await state(patient, made["id"]) == "completed"


@pytest.mark.rule("B8", "M2")
async def test_a_doctor_calls_a_day_off(new_patient: NewPatient, enter_as: Enter) -> None:
    paid, held = await new_patient(), await new_patient()
    doctor = await enter_as(HUATUO)
    made = await book(paid, doctor, 6)
    await pay(paid, made["id"])
    hold = await book(held, doctor, 6)
    off = {"date": made["time"][:10], "reason": "临时手术"}
    first = (await doctor.post("/slots/cancel", off))["items"]
    assert {entry["state"] for entry in first} == {"blocked"}
    assert (await doctor.post("/slots/cancel", off))["items"] == first
    assert await free_slots(paid, doctor, 6) == []

    shown = await paid.get(f"/bookings/{made['id']}")
    assert (shown["state"], shown["closed_reason"]["detail"]) == ("cancelled_by_doctor", "临时手术")
    consultation = await paid.get(f"/consultations/{made['id']}")
    assert consultation["payment"]["state"] == "refunded"
    told = await templates(paid)
    assert sorted(told) == ["booking_cancelled", "booking_confirmed", "refunded"]
    assert await state(held, hold["id"]) == "cancelled_by_doctor"
    assert await templates(held) == ["booking_cancelled"]


@pytest.mark.rule("B8")
async def test_a_doctor_calls_one_slot_off(new_patient: NewPatient, enter_as: Enter) -> None:
    patient, doctor = await new_patient(), await enter_as(XIAOFU)
    slots = await free_slots(patient, doctor, 5)
    date = (await free_days(patient, doctor))[5]["date"]
    off = {"date": date, "slot": slots[1]["id"], "reason": "会议"}
    await doctor.post("/slots/cancel", off)
    left = [s["id"] for s in await free_slots(patient, doctor, 5)]
    assert left == [s["id"] for s in slots if s != slots[1]]
    wanted = await booking_form(patient, doctor, slots[1]["id"])
    status, _ = await patient.refused("POST", "/bookings", wanted)
    assert status == 409
    status, _ = await doctor.refused("POST", "/slots/cancel", off | {"slot": f"a.{'2' * 8}.0900"})
    assert status == 409


@pytest.mark.rule("B8")
async def test_a_doctor_offers_again_what_he_blocked_and_never_what_is_booked(
    new_patient: NewPatient, enter_as: Enter
) -> None:
    patient, doctor = await new_patient(), await enter_as(XIAOFU)
    made = await book(patient, doctor, 4)
    slots = await free_slots(patient, doctor, 4)
    date = made["time"][:10]
    for slot in slots[:2]:
        off = {"date": date, "slot": slot["id"], "reason": "会议"}
        await doctor.post("/slots/cancel", off)
    await doctor.post("/slots/reopen", {"date": date, "slot": slots[0]["id"]})
    left = [s["id"] for s in await free_slots(patient, doctor, 4)]
    assert left == [s["id"] for s in slots if s != slots[1]]
    await doctor.post("/slots/reopen", {"date": date})
    assert await free_slots(patient, doctor, 4) == slots
    assert await state(patient, made["id"]) == "booked"
    none = {"date": date, "slot": f"a.{'2' * 8}.0900"}
    status, _ = await doctor.refused("POST", "/slots/reopen", none)
    assert status == 409


@pytest.mark.rule("B8")
async def test_a_day_far_away_is_refused(enter_as: Enter) -> None:
    doctor = await enter_as(XIAOFU)
    for date in ("0001-01-01", "9999-12-31"):
        for method, path, body in (
            ("GET", f"/slots?date={date}", None),
            ("POST", "/slots/cancel", {"date": date, "reason": "会议"}),
        ):
            status, problem = await doctor.refused(method, path, body)
            assert status == 400, (method, date)
            assert "date" in problem["fields"]
