"""WeChat's interface as our client uses it, against a server that checks as WeChat does."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from structlog.testing import capture_logs

from care.errors import BadRequest, CareError, RateLimited, Unavailable
from companion.wechat import WechatClient
from storage.database import Database
from storage.vault import Vault
from storage.wechat_tokens import WechatTokens
from tests.clock import ManualClock
from tests.standins.wechat import APPID, SECRET, TOKEN_SECONDS, Wechat, serve_wechat

PHONE = "13812345678"
TOKEN_PATH = "/cgi-bin/stable_token"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def wechat(clock: ManualClock) -> AsyncIterator[Wechat]:
    async with serve_wechat(lambda: clock.now().timestamp()) as standin:
        yield standin


def build(database: Database, wechat: Wechat, clock: ManualClock) -> WechatClient:
    tokens = WechatTokens(database, Vault({"v1": b"v" * 32}, "v1", b"i" * 32))
    return WechatClient(APPID, SECRET, wechat.url, tokens, clock)


@pytest.fixture
async def client(
    database: Database, wechat: Wechat, clock: ManualClock
) -> AsyncIterator[WechatClient]:
    client = build(database, wechat, clock)
    yield client
    await client.close()


@pytest.fixture
async def other_process(
    database: Database, wechat: Wechat, clock: ManualClock
) -> AsyncIterator[WechatClient]:
    client = build(database, wechat, clock)
    yield client
    await client.close()


async def test_a_phone_code_gives_the_number_once(client: WechatClient, wechat: Wechat) -> None:
    code = wechat.phone_code(PHONE)
    assert await client.phone_number(code) == PHONE
    with pytest.raises(BadRequest) as refused:
        await client.phone_number(code)
    assert list(refused.value.fields) == ["code"]


async def test_a_login_code_gives_the_openid_once(client: WechatClient, wechat: Wechat) -> None:
    code = wechat.login_code("o-somebody")
    assert await client.openid(code) == "o-somebody"
    with pytest.raises(BadRequest) as refused:
        await client.openid(code)
    assert list(refused.value.fields) == ["login_code"]


async def test_two_processes_that_need_the_token_at_once_ask_for_it_once(
    client: WechatClient, other_process: WechatClient, wechat: Wechat
) -> None:
    codes = [wechat.phone_code(PHONE) for _ in range(20)]
    clients = [client, other_process] * 10
    found = await asyncio.gather(
        *(one.phone_number(code) for one, code in zip(clients, codes, strict=True))
    )
    assert found == [PHONE] * 20
    assert wechat.fetches == [False]


async def test_the_token_is_replaced_before_its_end_by_one_process(
    client: WechatClient, other_process: WechatClient, wechat: Wechat, clock: ManualClock
) -> None:
    await client.phone_number(wechat.phone_code(PHONE))
    clock.advance(TOKEN_SECONDS - 59)
    await asyncio.gather(
        *(one.phone_number(wechat.phone_code(PHONE)) for one in (client, other_process))
    )
    assert wechat.fetches == [False, False]


@pytest.mark.parametrize("voided_by_wechat", [True, False])
async def test_a_refused_token_is_replaced_once_and_the_call_tried_again(
    client: WechatClient, wechat: Wechat, *, voided_by_wechat: bool
) -> None:
    await client.phone_number(wechat.phone_code(PHONE))
    code = wechat.phone_code(PHONE)
    if voided_by_wechat:
        wechat.refuse_token()
    else:
        wechat.trouble.append(web.json_response({"errcode": 42001}))
    assert await client.phone_number(code) == PHONE
    # where WeChat still gives the one it refuses, it is made to give another
    assert wechat.fetches == ([False, False] if voided_by_wechat else [False, False, True])


async def test_a_token_refused_for_ever_is_not_asked_for_for_ever(
    client: WechatClient, wechat: Wechat
) -> None:
    await client.phone_number(wechat.phone_code(PHONE))
    refusal = {"errcode": 40001}
    renewed = {"access_token": "x", "expires_in": 7200}
    wechat.trouble = [web.json_response(a) for a in (refusal, renewed, refusal)]
    calls = len(wechat.calls)
    with pytest.raises(Unavailable):
        await client.phone_number(wechat.phone_code(PHONE))
    assert len(wechat.calls) == calls + 3


async def test_a_failed_fetch_leaves_the_next_one_free(
    client: WechatClient, other_process: WechatClient, wechat: Wechat
) -> None:
    wechat.busy()
    with pytest.raises(Unavailable):
        await client.phone_number(wechat.phone_code(PHONE))
    assert await other_process.phone_number(wechat.phone_code(PHONE)) == PHONE


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"watermark": {"appid": "wxsomebodyelse"}}, "another app's"),
        ({"watermark": {"timestamp": 1}}, "old"),
        ({"watermark": {"timestamp": 99_999_999_999}}, "of the future"),
        ({"countryCode": "852", "purePhoneNumber": "51234567"}, "a foreign number"),
        ({"purePhoneNumber": "12345"}, "no mobile"),
    ],
)
async def test_a_number_that_is_not_ours_to_trust_is_refused(
    client: WechatClient, wechat: Wechat, changes: dict[str, object], why: str
) -> None:
    with pytest.raises(BadRequest) as refused:
        await client.phone_number(wechat.phone_code(PHONE, **changes))
    assert list(refused.value.fields) == ["code"], why


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (web.json_response({"errcode": -1}), Unavailable),
        (web.json_response({"errcode": 45009}), Unavailable),
        (web.json_response({"errcode": 45011}), RateLimited),
        (web.json_response({"errcode": 48001}), Unavailable),
        (web.json_response({"phone_info": {}}), Unavailable),
        (web.json_response([]), Unavailable),
        (web.Response(text="<html>"), Unavailable),
        (web.Response(status=502), Unavailable),
        (web.Response(status=302, headers={"Location": "http://127.0.0.1:1/"}), Unavailable),
    ],
)
async def test_what_wechat_may_answer_is_an_error_of_ours(
    client: WechatClient, wechat: Wechat, answer: web.Response, error: type[CareError]
) -> None:
    await client.phone_number(wechat.phone_code(PHONE))
    wechat.trouble.append(answer)
    with pytest.raises(error):
        await client.phone_number(wechat.phone_code(PHONE))


async def test_no_secret_code_or_number_is_logged_when_wechat_is_away(
    database: Database, wechat: Wechat, clock: ManualClock
) -> None:
    away = Wechat(url="http://127.0.0.1:1")
    client = build(database, away, clock)
    with capture_logs() as logs, pytest.raises(Unavailable):
        await client.openid("the-login-code")
    await client.close()
    assert logs[0]["event"] == "wechat_away"
    assert not any(word in str(logs) for word in (SECRET, "the-login-code"))


async def test_the_token_is_unreadable_in_the_database(
    client: WechatClient, wechat: Wechat, database: Database
) -> None:
    await client.phone_number(wechat.phone_code(PHONE))
    assert wechat.token not in str(await database["wechat_tokens"].find_one({}))
