"""Subscription messages as our adapter sends them, against a server that checks as WeChat does."""

from collections.abc import AsyncIterator

import pytest

from care.errors import Internal, Unavailable
from care.notices import InvalidUser, QuotaUsed
from companion.wechat import WechatClient
from companion.wechat_messages import WechatMessages
from storage.database import Database
from storage.vault import Vault
from storage.wechat_tokens import WechatTokens
from tests.clock import ManualClock
from tests.standins.wechat import APPID, SECRET, Wechat, serve_wechat

USER, TEMPLATE, PAGE = "o-somebody", "tmpl-1", "pages/room/room?id=r"
DATA = {"thing1": "医生接诊", "name2": "小傅"}


@pytest.fixture
async def wechat(clock: ManualClock) -> AsyncIterator[Wechat]:
    async with serve_wechat(lambda: clock.now().timestamp()) as standin:
        yield standin


@pytest.fixture
async def messages(
    database: Database, wechat: Wechat, clock: ManualClock
) -> AsyncIterator[WechatMessages]:
    tokens = WechatTokens(database, Vault({"v1": b"v" * 32}, "v1", b"i" * 32))
    client = WechatClient(APPID, SECRET, wechat.url, tokens, clock)
    yield WechatMessages(client, "trial")
    await client.close()


async def test_a_message_goes_out_as_wechat_wants_it(
    messages: WechatMessages, wechat: Wechat
) -> None:
    wechat.consent(USER, TEMPLATE)
    await messages.send(USER, TEMPLATE, PAGE, DATA)
    assert wechat.sent == [
        {
            "touser": USER,
            "template_id": TEMPLATE,
            "page": PAGE,
            "miniprogram_state": "trial",
            "lang": "zh_CN",
            "data": {"thing1": {"value": "医生接诊"}, "name2": {"value": "小傅"}},
        }
    ]


async def test_one_consent_is_one_message(messages: WechatMessages, wechat: Wechat) -> None:
    wechat.consent(USER, TEMPLATE)
    await messages.send(USER, TEMPLATE, PAGE, DATA)
    with pytest.raises(QuotaUsed):
        await messages.send(USER, TEMPLATE, PAGE, DATA)


async def test_an_openid_nobody_has_is_told(messages: WechatMessages) -> None:
    with pytest.raises(InvalidUser):
        await messages.send("nobody", TEMPLATE, PAGE, DATA)


async def test_values_wechat_never_takes_are_not_to_be_tried_again(
    messages: WechatMessages, wechat: Wechat
) -> None:
    wechat.consent(USER, TEMPLATE)
    with pytest.raises(Internal):
        await messages.send(USER, TEMPLATE, PAGE, {"thing1": ""})
    assert wechat.sent == []


async def test_a_busy_wechat_may_be_tried_again(messages: WechatMessages, wechat: Wechat) -> None:
    wechat.consent(USER, TEMPLATE)
    wechat.busy()
    with pytest.raises(Unavailable):
        await messages.send(USER, TEMPLATE, PAGE, DATA)
    await messages.send(USER, TEMPLATE, PAGE, DATA)
    assert len(wechat.sent) == 1
