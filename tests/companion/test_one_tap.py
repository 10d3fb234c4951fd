"""One-tap log-in against WeChat's stand-in, and what an initial password keeps its owner from."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp.test_utils import TestClient, TestServer

from care.policy import AccountPolicy
from companion.wechat import WechatClient
from storage.database import Database
from storage.wechat_tokens import WechatTokens
from tests.clock import ManualClock
from tests.companion.conftest import PASSWORD, PHONE, Api, Hospital, Phone
from tests.standins.wechat import APPID, SECRET, Wechat, serve_wechat

LOG_IN = "auth/wechat-login"
INITIAL = "123456"


@pytest.fixture
async def wechat(clock: ManualClock) -> AsyncIterator[Wechat]:
    async with serve_wechat(lambda: clock.now().timestamp()) as standin:
        yield standin


class Process:
    """One process of a hospital whose mini-program is set up."""

    def __init__(self, hospital: Hospital, api: Api) -> None:
        self.hospital = hospital
        self.api = api


@asynccontextmanager
async def serve(
    database: Database, clock: ManualClock, phone: Phone, wechat: Wechat, policy: AccountPolicy
) -> AsyncIterator[Process]:
    vault = Hospital(database, clock, phone).vault
    client = WechatClient(APPID, SECRET, wechat.url, WechatTokens(database, vault), clock)
    hospital = Hospital(database, clock, phone, client, policy)
    await hospital.ensure_indexes()
    try:
        async with TestClient(TestServer(hospital.app())) as http:
            yield Process(hospital, Api(http, phone))
    finally:
        await client.close()


@pytest.fixture
async def clinic(
    database: Database, clock: ManualClock, phone: Phone, wechat: Wechat
) -> AsyncIterator[Process]:
    async with serve(database, clock, phone, wechat, AccountPolicy()) as process:
        yield process


@pytest.fixture
async def second(
    clinic: Process, database: Database, clock: ManualClock, phone: Phone, wechat: Wechat
) -> AsyncIterator[Process]:
    async with serve(database, clock, phone, wechat, AccountPolicy()) as process:
        yield process


@pytest.fixture
async def giving(
    database: Database, clock: ManualClock, phone: Phone, wechat: Wechat
) -> AsyncIterator[Process]:
    """Serve a hospital that gives such accounts an initial password."""
    policy = AccountPolicy(one_tap_default_password=INITIAL)
    async with serve(database, clock, phone, wechat, policy) as process:
        yield process


@pytest.mark.rule("A5")
async def test_the_first_tap_makes_a_patients_account_without_a_password(
    clinic: Process, wechat: Wechat
) -> None:
    answer = await clinic.api.post(LOG_IN, {"code": wechat.phone_code(PHONE)})
    assert answer.status == 200, answer
    user = answer["user"]
    assert (user["role"], user["phone"], user["has_password"], user["must_change_password"]) == (
        "patient", "138****5678", False, False,
    )  # fmt: skip
    assert (await clinic.api.call("GET", "me", token=answer["access_token"])).status == 200
    refused = await clinic.api.log_in(PHONE, "")
    assert refused.status == 400
    assert (await clinic.api.log_in(PHONE, INITIAL)).status == 401


@pytest.mark.rule("A5")
async def test_the_next_tap_finds_the_account_however_it_was_made(
    clinic: Process, wechat: Wechat
) -> None:
    registered = await clinic.api.register()
    answer = await clinic.api.post(LOG_IN, {"code": wechat.phone_code(PHONE)})
    assert answer["user"]["id"] == registered["user"]["id"]
    assert answer["user"]["has_password"]


@pytest.mark.rule("A5")
async def test_a_code_is_good_once(clinic: Process, wechat: Wechat) -> None:
    code = wechat.phone_code(PHONE)
    assert (await clinic.api.post(LOG_IN, {"code": code})).status == 200
    again = await clinic.api.post(LOG_IN, {"code": code})
    assert (again.status, again["code"], list(again["fields"])) == (400, "bad_request", ["code"])


@pytest.mark.rule("A5")
async def test_first_taps_at_once_in_two_processes_make_one_account(
    clinic: Process, second: Process, wechat: Wechat
) -> None:
    answers = await asyncio.gather(
        *(one.api.post(LOG_IN, {"code": wechat.phone_code(PHONE)}) for one in [clinic, second] * 5)
    )
    assert {answer.status for answer in answers} == {200}
    assert len({answer["user"]["id"] for answer in answers}) == 1


@pytest.mark.rule("A5")
async def test_an_account_without_a_password_gets_one_by_sms_code(
    clinic: Process, wechat: Wechat
) -> None:
    await clinic.api.post(LOG_IN, {"code": wechat.phone_code(PHONE)})
    code = await clinic.api.code(PHONE, "password_reset")
    reset = {"phone": PHONE, "code": code, "password": PASSWORD, "password_repeat": PASSWORD}
    assert (await clinic.api.post("auth/password-reset", reset)).status == 204
    assert (await clinic.api.log_in()).status == 200


async def test_the_openid_is_kept_sealed_and_the_newest_counts(
    clinic: Process, wechat: Wechat, database: Database
) -> None:
    for openid in ("o-first", "o-second"):
        codes = {"code": wechat.phone_code(PHONE), "login_code": wechat.login_code(openid)}
        answer = await clinic.api.post(LOG_IN, codes)
        assert answer.status == 200, answer
    account = await clinic.hospital.store.get(answer["user"]["id"])
    assert account is not None
    assert account.openid == "o-second"
    assert "o-second" not in str(await database["accounts"].find_one({}))
    assert "openid" not in answer["user"]


async def test_a_bad_log_in_code_leaves_the_phones_code_unused(
    clinic: Process, wechat: Wechat
) -> None:
    code = wechat.phone_code(PHONE)
    refused = await clinic.api.post(LOG_IN, {"code": code, "login_code": "nobody's"})
    assert (refused.status, list(refused["fields"])) == (400, ["login_code"])
    assert (await clinic.api.post(LOG_IN, {"code": code})).status == 200


async def test_a_busy_wechat_is_unavailable_and_the_code_stays_good(
    clinic: Process, wechat: Wechat
) -> None:
    code = wechat.phone_code(PHONE)
    wechat.busy()
    refused = await clinic.api.post(LOG_IN, {"code": code})
    assert (refused.status, refused["code"], refused["retry"]) == (503, "unavailable", True)
    assert (await clinic.api.post(LOG_IN, {"code": code})).status == 200


@pytest.mark.rule("A5")
async def test_an_initial_password_lets_its_owner_do_nothing_but_change_it(
    giving: Process, wechat: Wechat
) -> None:
    api = giving.api
    await api.post(LOG_IN, {"code": wechat.phone_code(PHONE)})
    grant = await api.log_in(PHONE, INITIAL)
    token = grant["access_token"]
    assert grant["user"]["must_change_password"]

    refused = await api.call("PATCH", "me", {"name": "问诊小白"}, token)
    assert (refused.status, refused["code"], refused["reason"]) == (
        403, "forbidden", "password_change_required",
    )  # fmt: skip
    assert (await api.call("GET", "me", token=token)).status == 200
    renewed = await api.post("auth/refresh", {"refresh_token": grant["refresh_token"]})
    refused = await api.call("PATCH", "me", {"name": "问诊小白"}, renewed["access_token"])
    assert refused["reason"] == "password_change_required"

    change = {"old_password": INITIAL, "new_password": PASSWORD, "confirm_password": PASSWORD}
    assert (await api.post("me/password", change, renewed["access_token"])).status == 204
    renewed = await api.post("auth/refresh", {"refresh_token": renewed["refresh_token"]})
    assert not renewed["user"]["must_change_password"]
    edited = await api.call("PATCH", "me", {"name": "问诊小白"}, renewed["access_token"])
    assert edited["name"] == "问诊小白"


@pytest.mark.rule("A5")
async def test_who_must_change_the_password_may_log_out(giving: Process, wechat: Wechat) -> None:
    grant = await giving.api.post(LOG_IN, {"code": wechat.phone_code(PHONE)})
    assert (await giving.api.post("auth/logout", token=grant["access_token"])).status == 204


async def test_the_same_password_again_is_no_change(giving: Process, wechat: Wechat) -> None:
    registered = await giving.api.register()
    change = {"old_password": PASSWORD, "new_password": PASSWORD, "confirm_password": PASSWORD}
    refused = await giving.api.post("me/password", change, registered["access_token"])
    assert (refused.status, list(refused["fields"])) == (400, ["new_password"])
