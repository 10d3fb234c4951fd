"""Notices through the wire: inside, by subscription message, by SMS (N1, N2, R8, C5)."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web

from tests.scenarios.people import (
    HUATUO,
    OPERATOR,
    XIAOFU,
    User,
    ask,
    enter,
    pay,
    register,
)
from tests.server import ServerProcess
from tests.standins import sms, wechat
from tests.standins.sms import SmsHouse, sms_house
from tests.standins.wechat import Wechat

TRIES = 3
NAMES = ("consultation_started", "consultation_refused", "consultation_closed", "refunded")
ADMIN = "13500000001"
STARTED, CLOSED = "WX-consultation_started", "WX-consultation_closed"
BY_SMS = "SMS-consultation_started"
SECONDS = 45.0


@dataclass
class Ward:
    server: ServerProcess
    wechat: Wechat
    sms: SmsHouse
    http: aiohttp.ClientSession
    doctor: User

    async def patient(self, consents: int = 0) -> User:
        """Make a patient who uses the mini-program and gave so many consents."""
        user = await register(self.server.url, self.http)
        codes = {
            "code": self.wechat.phone_code(user.phone),
            "login_code": self.wechat.login_code(f"openid-{user.id}"),
        }
        url = f"{self.server.url}/api/v1/auth/wechat-login"
        async with self.http.post(url, json=codes) as answer:
            assert answer.status == 200, await answer.text()
        for _ in range(consents):
            self.wechat.consent(f"openid-{user.id}", STARTED)
        consent = {"template": "consultation_started", "accepted": consents}
        assert (await user.post("/notices/subscriptions", consent))["left"] == consents
        return user

    async def advance(self, seconds: float) -> None:
        url = f"{self.server.url}/test/clock/advance"
        async with self.http.post(url, json={"seconds": seconds}) as answer:
            assert answer.status == 200, await answer.text()

    async def accept(self, patient: User) -> Any:
        asked = await ask(patient, self.doctor)
        return await self.doctor.post(f"/consultations/{asked['id']}/accept")

    async def left(self, patient: User, template: str = "consultation_started") -> int:
        """Tell how many consents our ledger counts."""
        items = (await patient.get("/notices/subscriptions"))["items"]
        (left,) = [item["left"] for item in items if item["template"] == template]
        return int(left)

    async def end(self, talk: Any) -> None:
        await self.doctor.post(f"/consultations/{talk['id']}/end")

    def messages(self, user: User, template: str = STARTED) -> list[dict[str, str]]:
        """List the values of the subscription messages the user got."""
        return [
            {name: field["value"] for name, field in m["data"].items()}
            for m in self.wechat.sent
            if m["touser"] == f"openid-{user.id}" and m["template_id"] == template
        ]


async def eventually(fulfilled: Callable[[], bool]) -> None:
    """Wait for what another process does; there is nothing to await, so look."""
    async with asyncio.timeout(SECONDS):
        while not fulfilled():  # noqa: ASYNC110 - another process's doing sets no event here
            await asyncio.sleep(0.05)


def given_up(server: ServerProcess, letter: str) -> bool:
    lines = server.log_text().splitlines()
    return any(letter in line and "effects_given_up" in line for line in lines)


@asynccontextmanager
async def open_ward(folder: Path) -> AsyncIterator[Ward]:
    async with (
        wechat.serve_wechat() as weixin,
        sms_house() as house,
        aiohttp.ClientSession() as http,
    ):
        templates = {name: f"WX-{name}" for name in NAMES}
        texts = {name: f"SMS-{name}" for name in (*NAMES, "sms_code")}
        server = ServerProcess(
            folder,
            "--virtual-clock",
            env={
                "WENZHEN_WECHAT__APPID": wechat.APPID,
                "WENZHEN_SECRET_WECHAT_SECRET": wechat.SECRET,
                "WENZHEN_WECHAT__BASE_URL": weixin.url,
                "WENZHEN_WECHAT__TEMPLATES": json.dumps(templates),
                "WENZHEN_SMS__PROVIDER": "tencent",
                "WENZHEN_SMS__BASE_URL": house.url,
                "WENZHEN_SMS__APP_ID": sms.APP_ID,
                "WENZHEN_SMS__SIGN_NAME": sms.SIGN_NAME,
                "WENZHEN_SMS__TEMPLATES": json.dumps(texts),
                "WENZHEN_SECRET_SMS_SECRET_ID": sms.SECRET_ID,
                "WENZHEN_SECRET_SMS_SECRET_KEY": sms.SECRET_KEY,
                "WENZHEN_OUTBOX__ATTEMPTS_MAX": str(TRIES),
            },
        )
        try:
            await server.start()
            doctor = await enter(server.url, http, XIAOFU)
            yield Ward(server, weixin, house, http, doctor)
            await doctor.close()
        finally:
            await server.close()


@pytest_asyncio.fixture(scope="module")
async def ward(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Ward]:
    async with open_ward(tmp_path_factory.mktemp("notices") / "data") as opened:
        yield opened


@pytest.mark.rule("C5", "N1")
async def test_an_absent_patient_gets_the_subscription_message(ward: Ward) -> None:
    patient = await ward.patient(consents=1)
    talk = await ward.accept(patient)
    await eventually(lambda: bool(ward.messages(patient)))
    (notice,) = (await patient.get("/notices"))["items"]
    assert ward.messages(patient) == [
        {
            "thing1": "医生接诊",
            "name2": "小傅",
            "name3": "炎帝",
            "time4": notice["values"]["started_at"],
            "thing5": "医生已接诊，可以进行问诊操作了",
        }
    ]
    accepted = time.strptime(notice["values"]["started_at"], "%Y-%m-%d %H:%M:%S")
    assert accepted.tm_hour == (int(talk["accepted_at"][11:13]) + 8) % 24
    assert notice["title"] == "服务开始提醒"
    assert ward.sms.to(patient.phone, BY_SMS) == []
    items = (await patient.get("/notices/subscriptions"))["items"]
    assert {"template": "consultation_started", "template_id": STARTED, "left": 0} in items
    await ward.end(talk)


@pytest.mark.rule("N1")
async def test_without_a_consent_an_urgent_notice_goes_by_sms(ward: Ward) -> None:
    patient = await ward.patient()
    talk = await ward.accept(patient)
    await eventually(lambda: bool(ward.sms.to(patient.phone, BY_SMS)))
    ((service, doctor, initiator, _, _),) = ward.sms.to(patient.phone, BY_SMS)
    assert (service, doctor, initiator) == ("医生接诊", "小傅", "炎帝")
    assert ward.messages(patient) == []
    await ward.end(talk)


@pytest.mark.rule("N1")
async def test_wechats_refusal_sets_the_ledger_right(ward: Ward) -> None:
    patient = await ward.patient(consents=2)
    ward.wechat.consents.clear()
    talk = await ward.accept(patient)
    await eventually(lambda: bool(ward.sms.to(patient.phone, BY_SMS)))
    items = (await patient.get("/notices/subscriptions"))["items"]
    assert {i["left"] for i in items if i["template"] == "consultation_started"} == {0}
    await ward.end(talk)


@pytest.mark.rule("R8", "N1")
async def test_ten_seconds_in_the_background_leave_only_the_ways_outside(ward: Ward) -> None:
    patient, marker = await ward.patient(), await ward.patient()
    await patient.client.connect()
    talk = await ward.accept(patient)
    told = await patient.event("notice:new", template="consultation_started")
    assert told["read"] is False
    # what would have gone out for him left before this one
    other = await ward.accept(marker)
    await eventually(lambda: bool(ward.sms.to(marker.phone, BY_SMS)))
    assert ward.sms.to(patient.phone, BY_SMS) == []
    await ward.end(talk)
    await ward.end(other)

    await patient.emit("presence:set", state="background")
    await ward.advance(11)
    asked = await ask(patient, ward.doctor)
    await ward.doctor.post(f"/consultations/{asked['id']}/decline", {"reason": "请线下就诊"})
    await eventually(lambda: bool(ward.sms.to(patient.phone, "SMS-consultation_refused")))


@pytest.mark.rule("N1")
async def test_what_fails_is_tried_again_later_and_at_last_given_up(ward: Ward) -> None:
    saved, lost = await ward.patient(), await ward.patient()
    ward.sms.failing = "InternalError.Timeout"
    before = ward.sms.asked
    talk = await ward.accept(saved)
    await eventually(lambda: ward.sms.asked == before + 1)
    await ward.advance(2)
    await eventually(lambda: ward.sms.asked == before + 2)
    ward.sms.failing = None
    await ward.advance(4)
    await eventually(lambda: len(ward.sms.to(saved.phone, BY_SMS)) == 1)

    ward.sms.failing = "InternalError.Timeout"
    before = ward.sms.asked
    other = await ward.accept(lost)
    for tries in range(1, TRIES + 1):
        await eventually(lambda tries=tries: ward.sms.asked == before + tries)  # type: ignore[misc]
        await ward.advance(2**tries)
    await eventually(lambda: "effects_given_up" in ward.server.log_text())
    ward.sms.failing = None
    # inside, he was told all the same
    assert len((await lost.get("/notices"))["items"]) == 1
    for each in (talk, other):
        await ward.end(each)


@pytest.mark.rule("N1")
async def test_a_crash_between_sending_and_noting_shows_the_notice_once(tmp_path: Path) -> None:
    async with open_ward(tmp_path / "data") as ward:
        patient = await ward.patient()
        ward.sms.hold = asyncio.Event()
        await ward.accept(patient)
        await eventually(lambda: len(ward.sms.to(patient.phone, BY_SMS)) == 1)
        await ward.server.kill9()
        ward.sms.hold.set()
        await ward.server.start()
        await ward.advance(11)
        await eventually(lambda: len(ward.sms.to(patient.phone, BY_SMS)) == 2)
        listed = await patient.get("/notices")
        assert [n["template"] for n in listed["items"]] == ["consultation_started"]
        assert listed["unread_count"] == 1


@pytest.mark.rule("N2")
async def test_notices_are_listed_in_pages_and_read(ward: Ward) -> None:
    patient, stranger = await ward.patient(), await ward.patient()
    for reason in ("请线下就诊", "请改挂外科", "资料不足"):
        asked = await ask(patient, ward.doctor)
        await ward.doctor.post(f"/consultations/{asked['id']}/decline", {"reason": reason})
    first = await patient.get("/notices?limit=2")
    assert (len(first["items"]), first["unread_count"]) == (2, 3)
    rest = await patient.get(f"/notices?limit=2&cursor={first['cursor']}")
    assert (len(rest["items"]), rest["cursor"]) == (1, None)
    ids = [n["id"] for n in first["items"] + rest["items"]]
    assert len(set(ids)) == 3

    status, _ = await stranger.refused("POST", f"/notices/{ids[0]}/read")
    assert status == 403
    for _ in range(2):
        assert (await patient.post(f"/notices/{ids[0]}/read"))["unread_count"] == 2
    assert (await patient.get("/notices"))["items"][0]["read"] is True
    assert (await patient.post("/notices/read-all"))["unread_count"] == 0
    assert (await patient.get("/notices"))["unread_count"] == 0


@pytest.mark.rule("N1")
async def test_a_refund_is_told_once_with_its_amount(ward: Ward) -> None:
    patient = await ward.patient()
    doctor = await enter(ward.server.url, ward.http, HUATUO)
    asked = await ask(patient, doctor)
    await pay(patient, asked["id"])
    await doctor.post(f"/consultations/{asked['id']}/decline", {"reason": "请线下就诊"})
    told = (await patient.get("/notices"))["items"]
    assert {n["template"] for n in told} == {"consultation_refused", "refunded"}
    (refund,) = [n for n in told if n["template"] == "refunded"]
    assert (refund["title"], refund["values"]["amount"]) == ("退款成功通知", "0.01元")
    await doctor.close()


@pytest.mark.rule("N1")
async def test_a_waiting_patient_is_told_to_the_doctor_once(ward: Ward) -> None:
    patient = await ward.patient()
    await ward.doctor.client.connect()
    asked = await ask(patient, ward.doctor)
    told = await ward.doctor.event("notice:new", id=f"waiting:{asked['id']}")
    assert told["values"] == {"service": "图文问诊", "person": "炎帝"}
    await patient.post(f"/consultations/{asked['id']}/cancel")


@pytest.mark.rule("N1")
async def test_consents_are_counted_and_checked(ward: Ward) -> None:
    patient = await ward.patient(consents=1)
    consent = {"template": "consultation_started", "accepted": 2}
    assert (await patient.post("/notices/subscriptions", consent))["left"] == 3
    status, problem = await patient.refused(
        "POST", "/notices/subscriptions", consent | {"template": "nonsense"}
    )
    assert (status, list(problem["fields"])) == (400, ["template"])
    status, _ = await patient.refused("POST", "/notices/subscriptions", consent | {"accepted": -1})
    assert status == 400
    status, _ = await ward.doctor.refused("POST", "/notices/subscriptions", consent)
    assert status == 403


@pytest.mark.rule("N1")
async def test_an_urgent_message_that_fails_costs_no_consent(ward: Ward) -> None:
    patient = await ward.patient(consents=1)
    ward.wechat.trouble.append(web.Response(status=502))
    await ward.end(await ward.accept(patient))
    await eventually(lambda: bool(ward.sms.to(patient.phone, BY_SMS)))
    assert (ward.messages(patient), await ward.left(patient)) == ([], 1)

    await ward.end(await ward.accept(patient))
    await eventually(lambda: bool(ward.messages(patient)))
    assert await ward.left(patient) == 0


@pytest.mark.rule("N1")
async def test_an_answer_that_is_lost_is_set_right_by_the_next_refusal(ward: Ward) -> None:
    patient = await ward.patient(consents=1)
    ward.wechat.losing = True
    await ward.end(await ward.accept(patient))
    await eventually(lambda: len(ward.sms.to(patient.phone, BY_SMS)) == 1)
    assert (len(ward.messages(patient)), await ward.left(patient)) == (1, 1)

    await ward.end(await ward.accept(patient))
    await eventually(lambda: len(ward.sms.to(patient.phone, BY_SMS)) == 2)
    assert (len(ward.messages(patient)), await ward.left(patient)) == (1, 0)


@pytest.mark.rule("N1")
async def test_a_crash_while_wechat_answers_costs_one_consent(tmp_path: Path) -> None:
    async with open_ward(tmp_path / "data") as ward:
        patient = await ward.patient(consents=3)
        ward.wechat.hold = asyncio.Event()
        await ward.accept(patient)
        await eventually(lambda: len(ward.messages(patient)) == 1)
        await ward.server.kill9()
        ward.wechat.hold.set()
        await ward.server.start()
        await ward.advance(11)
        await eventually(lambda: len(ward.messages(patient)) == 2)
        assert await ward.left(patient) == 2


@pytest.mark.rule("N1", "S4")
async def test_a_message_given_up_is_sent_once_when_the_staff_have_it_tried_again(
    ward: Ward,
) -> None:
    patient, template = await ward.patient(), "consultation_closed"
    operator = await enter(ward.server.url, ward.http, OPERATOR)
    admin = await enter(ward.server.url, ward.http, ADMIN)
    ward.wechat.consent(f"openid-{patient.id}", CLOSED)
    await patient.post("/notices/subscriptions", {"template": template, "accepted": 1})
    ward.wechat.trouble += [web.Response(status=502) for _ in range(TRIES)]
    talk = await ward.accept(patient)
    await ward.end(talk)
    for left in range(TRIES - 1, -1, -1):
        await eventually(lambda left=left: len(ward.wechat.trouble) == left)  # type: ignore[misc]
        await ward.advance(10)

    letter, path = f"notice:closed:{talk['id']}:deliver", "/operator/dead-letters"
    await eventually(lambda: given_up(ward.server, letter))
    listed = await operator.get(path)
    (shown,) = [one for one in listed["items"] if one["id"] == letter]
    assert (shown["effects"], shown["error"], shown["failures"]) == (
        ["deliver"], "Unavailable", TRIES,
    )  # fmt: skip
    for personal in (patient.phone, patient.name, patient.id, "炎帝", "小傅"):
        assert personal not in str(listed)
    assert await ward.left(patient, template) == 1

    answers = await asyncio.gather(
        *(who.client.call("POST", f"{path}/{letter}/retry") for who in (operator, admin))
    )
    assert sorted(answer.status for answer in answers) == [204, 403]
    await eventually(lambda: bool(ward.messages(patient, CLOSED)))
    assert letter not in [one["id"] for one in (await operator.get(path))["items"]]
    # a later message: whatever else was to be sent before it has been
    marker = await ward.patient()
    await ward.end(await ward.accept(marker))
    await eventually(lambda: bool(ward.sms.to(marker.phone, BY_SMS)))
    assert len(ward.messages(patient, CLOSED)) == 1
    assert await ward.left(patient, template) == 0
    entries = (await admin.get("/operator/audit?subject=hospital"))["items"]
    retried = [e["actor"] for e in entries if e["details"].get("letter") == letter]
    assert sorted(retried) == sorted([operator.id, admin.id])
    for user in (operator, admin):
        await user.close()


@pytest.mark.rule("A11", "S4")
async def test_what_was_given_up_is_no_business_of_doctors_and_pharmacists(ward: Ward) -> None:
    pharmacist = await enter(ward.server.url, ward.http, "13700000001")
    for user in (ward.doctor, pharmacist, await ward.patient()):
        for method, path in (
            ("GET", "/operator/dead-letters"),
            ("POST", "/operator/dead-letters/any/retry"),
        ):
            status, problem = await user.refused(method, path)
            assert (status, problem["code"]) == (403, "forbidden")
    await pharmacist.close()


@pytest.mark.rule("C5", "N1")
async def test_who_has_the_program_before_him_gets_the_start_by_wechat_too(ward: Ward) -> None:
    patient = await ward.patient(consents=1)
    await patient.client.connect()
    talk = await ward.accept(patient)
    await eventually(lambda: bool(ward.messages(patient)))
    assert ward.sms.to(patient.phone, BY_SMS) == []
    await ward.end(talk)
    await patient.close()


@pytest.mark.rule("N1")
async def test_what_was_read_meanwhile_is_not_sent_and_what_can_wait_goes_by_no_sms(
    ward: Ward,
) -> None:
    reader, absent, marker = [await ward.patient() for _ in range(3)]
    ward.wechat.consent(f"openid-{reader.id}", CLOSED)
    consent = {"template": "consultation_closed", "accepted": 1}
    await reader.post("/notices/subscriptions", consent)
    ward.wechat.trouble.append(web.Response(status=502))
    await ward.end(await ward.accept(reader))
    await eventually(lambda: not ward.wechat.trouble)
    await reader.post("/notices/read-all")
    await ward.end(await ward.accept(absent))
    await ward.advance(10)
    await ward.end(await ward.accept(marker))
    await eventually(lambda: bool(ward.sms.to(marker.phone, BY_SMS)))
    assert ward.messages(reader, CLOSED) == []
    assert ward.sms.to(absent.phone, "SMS-consultation_closed") == []
