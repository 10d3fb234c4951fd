"""Money through the real wire, with WeChat Pay's place taken by a server that signs as it does."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from tests.scenarios.people import HUATUO, OPERATOR, User, ask, enter, register
from tests.server import ServerProcess
from tests.standins import wechat, wechat_pay
from tests.standins.wechat_pay import WechatPay

SECONDS = 60.0
NOTIFY = "/api/v1/payments/wechat/notify"
Notification = tuple[dict[str, str], bytes]


@dataclass
class Till:
    server: ServerProcess
    standin: WechatPay
    weixin: wechat.Wechat
    http: aiohttp.ClientSession
    doctor: User
    time: "MovedTime"

    async def patient(self) -> User:
        """Make a patient who uses the mini-program."""
        user = await register(self.server.url, self.http)
        codes = {
            "code": self.weixin.phone_code(user.phone),
            "login_code": self.weixin.login_code(f"openid-{user.id}"),
        }
        url = f"{self.server.url}/api/v1/auth/wechat-login"
        async with self.http.post(url, json=codes) as answer:
            assert answer.status == 200, await answer.text()
        return user

    async def begin(self) -> tuple[User, str, str]:
        """Begin a payment; give the patient, the consultation and the order's number."""
        patient = await self.patient()
        asked = await ask(patient, self.doctor)
        before = set(self.standin.orders)
        begun = await patient.post(f"/consultations/{asked['id']}/pay")
        assert begun["payment"]["state"] == "pending"
        (number,) = set(self.standin.orders) - before
        assert self.standin.orders[number]["payer"] == {"openid": f"openid-{patient.id}"}
        return patient, asked["id"], number

    async def notify(self, notification: Notification) -> tuple[int, Any]:
        headers, body = notification
        async with self.http.post(self.server.url + NOTIFY, data=body, headers=headers) as answer:
            text = await answer.text()
            return answer.status, json.loads(text) if text else None

    async def advance(self, seconds: float) -> None:
        url = f"{self.server.url}/test/clock/advance"
        async with self.http.post(url, json={"seconds": seconds}) as answer:
            assert answer.status == 200, await answer.text()
            self.time.ahead += seconds

    async def paid(self) -> tuple[User, str, str]:
        """Begin a payment and let its money arrive."""
        patient, consultation, number = await self.begin()
        self.standin.pay(number)
        assert await self.notify(self.standin.notification(number)) == (204, None)
        return patient, consultation, number

    def refunds(self, number: str) -> list[str]:
        """List the numbers under which the order's money was given back."""
        given = self.standin.refunds.items()
        return [refund for refund, r in given if r["out_trade_no"] == number]


class MovedTime:
    """The time of the hospital and of WeChat, moved together; in Unix seconds."""

    ahead = 0.0

    def now(self) -> float:
        return time.time() + self.ahead


async def state(patient: User, consultation: str) -> str:
    return str((await patient.get(f"/consultations/{consultation}"))["state"])


async def money(patient: User, consultation: str) -> Any:
    return (await patient.get(f"/consultations/{consultation}"))["payment"]


async def until_money_is(patient: User, consultation: str, state: str) -> None:
    """Wait for what the servers do between each other; there is nothing to await, so look."""
    async with asyncio.timeout(SECONDS):
        while (await money(patient, consultation))["state"] != state:  # noqa: ASYNC110 - as below
            await asyncio.sleep(0.05)


async def eventually(fulfilled: Callable[[], bool]) -> None:
    """Wait for what another process does; there is nothing to await, so look."""
    async with asyncio.timeout(SECONDS):
        while not fulfilled():  # noqa: ASYNC110 - another process's doing sets no event here
            await asyncio.sleep(0.05)


@asynccontextmanager
async def open_till(
    folder: Path,
    serve: Callable[
        [Callable[[], float]], AbstractAsyncContextManager[WechatPay]
    ] = wechat_pay.serve_wechat_pay,
    env: Mapping[str, str] | None = None,
) -> AsyncIterator[Till]:
    moved = MovedTime()
    async with (
        wechat.serve_wechat(moved.now) as weixin,
        serve(moved.now) as standin,
        aiohttp.ClientSession() as http,
    ):
        public = folder / "platform.pem"
        public.write_bytes(
            standin.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        )
        private = standin.merchant_key.private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
        )
        server = ServerProcess(
            folder / "data",
            "--virtual-clock",
            env={
                # moving the clock by hours must not end the log-ins
                "WENZHEN_ACCOUNTS__ACCESS_TOKEN_SECONDS": "2592000",
                "WENZHEN_WECHAT__APPID": wechat.APPID,
                "WENZHEN_WECHAT__BASE_URL": weixin.url,
                "WENZHEN_SECRET_WECHAT_SECRET": wechat.SECRET,
                "WENZHEN_PAYMENTS__PROVIDER": "wechat",
                "WENZHEN_PAYMENTS__ASK_SECONDS": "0.5",
                "WENZHEN_RECONCILIATION__POLL_SECONDS": "0.2",
                "WENZHEN_PAYMENTS__WECHAT__MCHID": wechat_pay.MCHID,
                "WENZHEN_PAYMENTS__WECHAT__SERIAL": wechat_pay.MERCHANT_SERIAL,
                "WENZHEN_PAYMENTS__WECHAT__BASE_URL": standin.url,
                "WENZHEN_PAYMENTS__WECHAT__NOTIFY_URL": f"https://hospital.example{NOTIFY}",
                "WENZHEN_PAYMENTS__WECHAT__PUBLIC_KEYS": json.dumps(
                    {wechat_pay.PLATFORM_SERIAL: str(public)}
                ),
                "WENZHEN_SECRET_WECHAT_PAY_KEY": private.decode(),
                "WENZHEN_SECRET_WECHAT_PAY_API_KEY": wechat_pay.API_KEY.decode(),
                **(env or {}),
            },
        )
        try:
            await server.start()
            doctor = await enter(server.url, http, HUATUO)
            yield Till(server, standin, weixin, http, doctor, moved)
            await doctor.close()
        finally:
            await server.close()


@pytest_asyncio.fixture(scope="module")
async def till(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Till]:
    async with open_till(tmp_path_factory.mktemp("payments")) as opened:
        yield opened


@pytest.mark.rule("M1")
async def test_a_notification_told_often_and_at_once_opens_the_consultation_once(
    till: Till,
) -> None:
    patient, consultation, number = await till.begin()
    till.standin.pay(number)
    notification = till.standin.notification(number)

    answers = await asyncio.gather(*(till.notify(notification) for _ in range(5)))

    assert answers == [(204, None)] * 5
    assert await state(patient, consultation) == "awaiting_doctor"
    assert (await till.notify(till.standin.notification(number))) == (204, None)
    assert till.refunds(number) == []


@pytest.mark.rule("M1")
@pytest.mark.parametrize(
    "changes",
    [
        {"amount": {"total": 2, "currency": "CNY"}},
        {"amount": {"total": 1, "currency": "USD"}},
        {"mchid": "1900000002"},
        {"appid": "wxffffffffffffffff"},
        {"out_trade_no": "unknown"},
        {"out_trade_no": None},
    ],
)
async def test_a_notification_of_something_else_fails_and_changes_nothing(
    till: Till, changes: dict[str, Any]
) -> None:
    patient, consultation, number = await till.begin()
    status, answer = await till.notify(
        till.standin.notification(number, **{"trade_state": "SUCCESS", **changes})
    )

    assert 400 <= status < 500
    assert answer["code"] == "FAIL"
    assert await state(patient, consultation) == "awaiting_payment"


@pytest.mark.rule("M1")
async def test_a_forged_or_altered_notification_fails_and_changes_nothing(till: Till) -> None:
    patient, consultation, number = await till.begin()
    headers, body = till.standin.notification(number, trade_state="SUCCESS")
    till.standin.forging = True
    forged = till.standin.notification(number, trade_state="SUCCESS")
    till.standin.forging = False

    for notification in (forged, (headers, body + b" "), ({}, body), (headers, b""), ({}, b"")):
        status, answer = await till.notify(notification)
        assert (status, answer["code"]) == (401, "FAIL")

    assert await state(patient, consultation) == "awaiting_payment"


@pytest.mark.rule("M1")
async def test_a_payment_whose_notification_never_comes_is_asked_for(till: Till) -> None:
    patient, consultation, number = await till.begin()
    till.standin.pay(number)

    await till.advance(61)

    async with asyncio.timeout(SECONDS):
        while await state(patient, consultation) != "awaiting_doctor":  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.1)


@pytest.mark.rule("M2")
async def test_a_cancelled_consultations_money_goes_back_once_though_wechat_stumbles(
    till: Till,
) -> None:
    patient, consultation, number = await till.begin()
    till.standin.pay(number)
    assert (await till.notify(till.standin.notification(number)))[0] == 204
    trouble = till.standin.trouble[number] = [500, -500]

    await patient.post(f"/consultations/{consultation}/cancel")

    async with asyncio.timeout(SECONDS):
        while trouble:
            await till.advance(10)
            await asyncio.sleep(0.1)
    await eventually(lambda: till.refunds(number) == [f"R{number}"])


@pytest.mark.rule("M2")
async def test_money_that_comes_after_the_consultation_closed_goes_back(till: Till) -> None:
    patient, consultation, number = await till.begin()
    await patient.post(f"/consultations/{consultation}/cancel")
    till.standin.pay(number)

    assert (await till.notify(till.standin.notification(number)))[0] == 204

    await eventually(lambda: till.refunds(number) == [f"R{number}"])
    assert await state(patient, consultation) == "cancelled"


@pytest.fixture
def slow_refunds(till: Till) -> Iterator[None]:
    """Let WeChat take its time with refunds."""
    till.standin.refund_status = "PROCESSING"
    yield
    till.standin.refund_status = "SUCCESS"


async def refund_notices(patient: User) -> int:
    """Count them once there is one: they follow the refund."""
    async with asyncio.timeout(SECONDS):
        while True:
            notices = (await patient.get("/notices"))["items"]
            if count := [n["template"] for n in notices].count("refunded"):
                return count
            await asyncio.sleep(0.05)


@pytest.mark.rule("M2")
@pytest.mark.usefixtures("slow_refunds")
async def test_a_refund_under_way_is_shown_and_ends_by_its_notification_once(till: Till) -> None:
    patient, consultation, number = await till.paid()
    await patient.client.connect()
    await patient.post(f"/consultations/{consultation}/cancel")
    await until_money_is(patient, consultation, "refunding")
    refund = f"R{number}"
    early = till.standin.refund_notification(refund)
    assert await till.notify(early) == (204, None)
    assert (await money(patient, consultation))["state"] == "refunding"

    till.standin.end_refund(refund)
    told = till.standin.refund_notification(refund)
    assert await asyncio.gather(*(till.notify(told) for _ in range(4))) == [(204, None)] * 4

    shown = await money(patient, consultation)
    assert (shown["state"], shown["amount"]) == ("refunded", 1)
    assert shown["refunded_at"]
    updated = await patient.client.wait_for_event(
        "consultation:updated", 5, lambda data: data["payment"]["state"] == "refunded"
    )
    assert updated is not None
    # late: what it said before its end changes nothing any more
    assert await till.notify(early) == (204, None)
    assert (await money(patient, consultation))["state"] == "refunded"
    assert await refund_notices(patient) == 1
    assert till.refunds(number) == [refund]


@pytest.mark.rule("M2")
@pytest.mark.usefixtures("slow_refunds")
async def test_a_refund_whose_notification_never_comes_is_asked_for(till: Till) -> None:
    patient, consultation, number = await till.paid()
    await patient.post(f"/consultations/{consultation}/cancel")
    await until_money_is(patient, consultation, "refunding")
    await till.advance(120)
    till.standin.end_refund(f"R{number}")

    await till.advance(24 * 3600)

    await until_money_is(patient, consultation, "refunded")
    assert till.refunds(number) == [f"R{number}"]
    assert await refund_notices(patient) == 1


@pytest.mark.rule("M2")
async def test_a_refund_notified_before_its_own_answer_arrives_is_one_refund(till: Till) -> None:
    patient, consultation, number = await till.paid()
    till.standin.trouble[number] = [-500]
    await patient.post(f"/consultations/{consultation}/cancel")
    await eventually(lambda: till.refunds(number) == [f"R{number}"])

    told = till.standin.refund_notification(f"R{number}")
    assert await till.notify(told) == (204, None)

    assert (await money(patient, consultation))["state"] == "refunded"
    await till.advance(24 * 3600)
    assert till.refunds(number) == [f"R{number}"]
    assert await refund_notices(patient) == 1


@pytest.mark.rule("M2")
@pytest.mark.usefixtures("slow_refunds")
@pytest.mark.parametrize(
    "changes",
    [
        {"amount": {"total": 1, "refund": 2}},
        {"amount": {"total": 1, "refund": 1, "currency": "USD"}},
        {"mchid": "1900000002"},
        {"out_trade_no": "unknown"},
        {"out_refund_no": "R-of-another"},
        {"out_refund_no": None},
    ],
)
async def test_a_refund_notification_of_something_else_fails_and_changes_nothing(
    till: Till, changes: dict[str, Any]
) -> None:
    patient, consultation, number = await till.paid()
    await patient.post(f"/consultations/{consultation}/cancel")
    await until_money_is(patient, consultation, "refunding")

    told = {"refund_status": "SUCCESS", **changes}
    status, answer = await till.notify(till.standin.refund_notification(f"R{number}", **told))

    assert 400 <= status < 500
    assert answer["code"] == "FAIL"
    assert (await money(patient, consultation))["state"] == "refunding"


@pytest.mark.rule("M2")
@pytest.mark.usefixtures("slow_refunds")
async def test_no_refund_is_told_of_money_that_stays(till: Till) -> None:
    patient, consultation, number = await till.paid()
    other, cancelled, theirs = await till.paid()
    await other.post(f"/consultations/{cancelled}/cancel")
    await until_money_is(other, cancelled, "refunding")
    till.standin.end_refund(f"R{theirs}")

    told = till.standin.refund_notification(f"R{theirs}", out_trade_no=number)

    assert (await till.notify(told))[0] == 400
    assert (await money(patient, consultation))["state"] == "paid"


@pytest.mark.rule("M2")
async def test_a_refund_wechat_refuses_is_asked_for_again_under_its_number(till: Till) -> None:
    patient, consultation, number = await till.paid()
    till.standin.trouble[number], till.standin.code = [403], "NOT_ENOUGH"
    await patient.post(f"/consultations/{consultation}/cancel")
    await until_money_is(patient, consultation, "refunding")
    till.standin.code = "SYSTEM_ERROR"
    assert till.refunds(number) == []

    await till.advance(3600)

    await until_money_is(patient, consultation, "refunded")
    assert till.refunds(number) == [f"R{number}"]


@pytest.mark.rule("M2", "S4")
async def test_staff_see_a_refused_refund_and_ask_for_it_again_under_its_number(
    till: Till,
) -> None:
    patient, consultation, number = await till.paid()
    operator = await enter(till.server.url, till.http, OPERATOR)
    till.standin.trouble[number], till.standin.code = [403], "NOT_ENOUGH"
    await patient.post(f"/consultations/{consultation}/cancel")
    await until_money_is(patient, consultation, "refunding")
    till.standin.code = "SYSTEM_ERROR"

    refused = next(
        one
        for one in (await operator.get("/operator/payments?state=refunding"))["items"]
        if one["out_trade_no"] == number
    )
    assert (refused["problem"], refused["out_refund_no"]) == ("NOT_ENOUGH", f"R{number}")
    path = f"/operator/payments/{refused['id']}/refund"
    again = await operator.post(path, {"reason": "商户余额已补足"})

    assert (again["state"], again["problem"]) == ("refunded", None)
    assert till.refunds(number) == [f"R{number}"]
    assert await refund_notices(patient) == 1
    assert (await operator.refused("POST", path, {"reason": "再退一次"}))[0] == 409
    await operator.close()


@pytest.mark.rule("M2")
async def test_patient_and_staff_see_the_money_and_the_doctor_does_not(till: Till) -> None:
    patient, consultation, _ = await till.paid()
    operator = await enter(till.server.url, till.http, OPERATOR)

    shown = await money(patient, consultation)

    assert (shown["state"], shown["amount"], shown["provider"]) == ("paid", 1, "wechat")
    assert await money(operator, consultation) == shown
    assert await money(till.doctor, consultation) is None
    listed = (await patient.get("/consultations"))["items"]
    assert [one["payment"] for one in listed] == [shown]
    await operator.close()


@pytest.mark.rule("M1", "C3")
async def test_an_order_that_closed_unpaid_is_closed_at_wechat_too(till: Till) -> None:
    patient, cancelled, first = await till.begin()
    await patient.post(f"/consultations/{cancelled}/cancel")
    await eventually(lambda: till.standin.orders[first]["trade_state"] == "CLOSED")

    patient, late, second = await till.begin()
    await till.advance(15 * 60)
    await eventually(lambda: till.standin.orders[second]["trade_state"] == "CLOSED")
    assert await state(patient, late) == "cancelled"


@pytest.mark.rule("M2")
async def test_money_nobody_told_of_is_found_when_its_order_is_to_be_closed(till: Till) -> None:
    patient, consultation, number = await till.begin()
    till.standin.pay(number)

    await patient.post(f"/consultations/{consultation}/cancel")

    await until_money_is(patient, consultation, "refunded")
    assert till.refunds(number) == [f"R{number}"]


@pytest.mark.rule("M2")
async def test_money_goes_back_the_way_it_came_after_the_provider_was_changed(
    tmp_path: Path,
) -> None:
    async with open_till(tmp_path) as till:
        patient, consultation, number = await till.paid()
        await till.server.restart(WENZHEN_PAYMENTS__PROVIDER="sandbox")

        await patient.post(f"/consultations/{consultation}/cancel")
        await until_money_is(patient, consultation, "refunded")

        assert till.refunds(number) == [f"R{number}"]
        later = await ask(patient, till.doctor)
        begun = await patient.post(f"/consultations/{later['id']}/pay")
        assert begun["payment"]["provider"] == "sandbox"


@pytest.mark.rule("M2")
async def test_a_provider_that_hangs_holds_up_no_closing(till: Till) -> None:
    patient, consultation, number = await till.paid()
    till.standin.hold("refunds", number, booked=True)
    try:
        # WeChat's own limit here is 8 s, and a closing waits for none of it
        async with asyncio.timeout(6):
            await patient.post(f"/consultations/{consultation}/cancel")
        assert (await money(patient, consultation))["state"] == "refunding"
    finally:
        till.standin.let_go()
    await until_money_is(patient, consultation, "refunded")
    assert till.refunds(number) == [f"R{number}"]
