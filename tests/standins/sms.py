"""Tencent Cloud's SMS server as the tests hold it: it checks what the real one checks."""

import asyncio
import hashlib
import hmac
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer

SECRET_ID = "AKIDstandin0123456789"
SECRET_KEY = "secret-key-of-the-stand-in"
APP_ID = "1400000001"
SIGN_NAME = "互联网医院"
FORM = re.compile(
    r"TC3-HMAC-SHA256 Credential=(?P<id>\w+)/(?P<scope>[\d-]+/sms/tc3_request), "
    r"SignedHeaders=(?P<signed>[a-z0-9;-]+), Signature=(?P<signature>[0-9a-f]{64})"
)


@dataclass
class SmsHouse:
    """`asked` counts the requests, `failing` says which error answers them, `hold` keeps them."""

    url: str = ""
    asked: int = 0
    failing: str | None = None
    hold: asyncio.Event | None = None
    sent: list[dict[str, Any]] = field(default_factory=list)

    def to(self, phone: str, template: str) -> list[list[str]]:
        """List the values of the messages this phone got."""
        return [
            m["TemplateParamSet"]
            for m in self.sent
            if m["PhoneNumberSet"] == [f"+86{phone}"] and m["TemplateId"] == template
        ]

    async def send(self, request: web.Request) -> web.Response:
        self.asked += 1
        payload = await request.read()
        if not _signed(request, payload):
            return _answer({"Error": {"Code": "AuthFailure.SignatureFailure"}})
        if self.failing:
            return _answer({"Error": {"Code": self.failing}})
        body = await request.json()
        if (body["SmsSdkAppId"], body["SignName"]) != (APP_ID, SIGN_NAME):
            return _answer({"Error": {"Code": "UnauthorizedOperation.SmsSdkAppIdVerifyFail"}})
        self.sent.append(body)
        if self.hold is not None:
            await self.hold.wait()
        return _answer({"SendStatusSet": [{"Code": "Ok", "PhoneNumber": body["PhoneNumberSet"]}]})


def _signed(request: web.Request, payload: bytes) -> bool:
    """Compute the signature from what arrived, as the provider's manual says."""
    given = FORM.fullmatch(request.headers.get("Authorization", ""))
    if given is None or given["id"] != SECRET_ID:
        return False
    seconds = int(request.headers["X-TC-Timestamp"])
    day = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d")
    if request.headers["X-TC-Action"] != "SendSms" or not given["scope"].startswith(f"{day}/"):
        return False
    names = given["signed"].split(";")
    headers = "".join(f"{name}:{request.headers[name].strip().lower()}\n" for name in names)
    lines = ["POST", "/", "", headers, given["signed"], hashlib.sha256(payload).hexdigest()]
    digest = hashlib.sha256("\n".join(lines).encode()).hexdigest()
    text = f"TC3-HMAC-SHA256\n{seconds}\n{given['scope']}\n{digest}"
    key = f"TC3{SECRET_KEY}".encode()
    for part in given["scope"].split("/"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    expected = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
    return {"content-type", "host"} <= set(names) and expected == given["signature"]


def _answer(response: dict[str, Any]) -> web.Response:
    return web.json_response({"Response": {"RequestId": "r", **response}})


@asynccontextmanager
async def sms_house() -> AsyncIterator[SmsHouse]:
    house = SmsHouse()
    app = web.Application()
    app.router.add_post("/", house.send)
    async with TestServer(app) as server:
        house.url = str(server.make_url("/"))
        yield house
