"""Subscription messages through WeChat; implements `care.notices.SubscriptionMessages`."""

from collections.abc import Mapping

import structlog

from care.errors import Internal
from care.notices import InvalidUser, QuotaUsed
from companion.wechat import WechatClient

PATH = "/cgi-bin/message/subscribe/send"
NO_CONSENT = 43101
INVALID_OPENID = 40003

log = structlog.get_logger(__name__)


class WechatMessages:
    """`state` is the version of the mini-program that a message opens."""

    def __init__(self, client: WechatClient, state: str) -> None:
        self._client = client
        self._state = state

    async def send(self, openid: str, template_id: str, page: str, data: Mapping[str, str]) -> None:
        """Send one. Raises Internal for a template or values that WeChat will never take."""
        message = {
            "touser": openid,
            "template_id": template_id,
            "page": page,
            "miniprogram_state": self._state,
            "lang": "zh_CN",
            "data": {name: {"value": value} for name, value in data.items()},
        }
        code = (await self._client.call(PATH, message)).get("errcode", 0)
        if code == NO_CONSENT:
            raise QuotaUsed
        if code == INVALID_OPENID:
            raise InvalidUser
        if code != 0:
            # 47003 names the field in its text, together with its value: the number must do
            log.error("subscription_message_refused", template=template_id, errcode=code)
            raise Internal
