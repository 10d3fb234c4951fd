"""WeChat's mini-program server as the tests hold it: it checks what the real one checks."""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer

APPID = "wx0123456789abcdef"
SECRET = "app-secret-of-the-stand-in"
TOKEN_SECONDS = 7200
SEND = "/cgi-bin/message/subscribe/send"

Handler = Callable[[web.Request, dict[str, Any]], dict[str, Any]]


@dataclass
class Wechat:
    """`now` gives Unix seconds. `trouble` answers in the place of the next calls, in order.

    `hold` keeps the answers to messages back; `losing` cuts the next one's line.
    """

    now: Callable[[], float] = time.time
    url: str = ""
    token: str = ""
    ends: float = 0
    fetches: list[bool] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    phones: dict[str, dict[str, Any]] = field(default_factory=dict)
    openids: dict[str, str] = field(default_factory=dict)
    consents: dict[tuple[str, str], int] = field(default_factory=dict)
    sent: list[dict[str, Any]] = field(default_factory=list)
    trouble: list[web.Response] = field(default_factory=list)
    hold: asyncio.Event | None = None
    losing: bool = False

    def phone_code(self, phone: str, **changes: Any) -> str:
        """Let a user allow his number; give the code the mini-program gets."""
        code = secrets.token_hex(16)
        watermark = {"timestamp": int(self.now()), "appid": APPID} | changes.pop("watermark", {})
        self.phones[code] = {
            "phoneNumber": phone, "purePhoneNumber": phone, "countryCode": "86",
            "watermark": watermark, **changes,
        }  # fmt: skip
        return code

    def login_code(self, openid: str) -> str:
        code = secrets.token_hex(16)
        self.openids[code] = openid
        return code

    def consent(self, openid: str, template: str) -> None:
        """Let a user agree to one message of this template."""
        self.consents[openid, template] = self.consents.get((openid, template), 0) + 1

    def refuse_token(self) -> None:
        """Void the token as a call by somebody else with our secret does."""
        self._renew()

    def busy(self) -> None:
        self.trouble.append(web.json_response({"errcode": -1, "errmsg": "system error"}))

    def app(self) -> web.Application:
        app = web.Application(middlewares=[self._note])
        app.router.add_post("/cgi-bin/stable_token", self._stable_token)
        app.router.add_get("/sns/jscode2session", self._session)
        app.router.add_post("/wxa/business/getuserphonenumber", self._with_token(self._phone))
        app.router.add_post(SEND, self._with_token(self._send))
        return app

    @web.middleware
    async def _note(self, request: web.Request, handler: Any) -> web.StreamResponse:
        self.calls.append(request.path)
        if self.trouble:
            return self.trouble.pop(0)
        answer: web.StreamResponse = await handler(request)
        if request.path == SEND and self.hold is not None:
            await self.hold.wait()
        if request.path == SEND and self.losing and request.transport:
            self.losing = False
            request.transport.abort()
        return answer

    async def _stable_token(self, request: web.Request) -> web.Response:
        body = await request.json()
        if body["grant_type"] != "client_credential" or body["appid"] != APPID:
            return _refuse(40013, "invalid appid")
        if body["secret"] != SECRET:
            return _refuse(40125, "invalid appsecret")
        self.fetches.append(body["force_refresh"])
        if body["force_refresh"] or self.ends - self.now() < 300:
            self._renew()
        seconds = int(self.ends - self.now())
        return web.json_response({"access_token": self.token, "expires_in": seconds})

    def _renew(self) -> None:
        self.token = secrets.token_hex(32)
        self.ends = self.now() + TOKEN_SECONDS

    async def _session(self, request: web.Request) -> web.Response:
        query = request.query
        if (query["appid"], query["secret"]) != (APPID, SECRET):
            return _refuse(40125, "invalid appsecret")
        assert query["grant_type"] == "authorization_code"
        openid = self.openids.pop(query["js_code"], None)
        if openid is None:
            return _refuse(40029, "invalid code")
        # WeChat really says text/plain here
        return web.Response(text=f'{{"openid":"{openid}","session_key":"a2V5"}}')

    def _with_token(self, handler: Handler) -> Any:
        async def checked(request: web.Request) -> web.Response:
            token = request.query.get("access_token", "")
            if token != self.token:
                return _refuse(40001, "invalid credential, access_token is invalid")
            if self.ends <= self.now():
                return _refuse(42001, "access_token expired")
            return web.json_response(handler(request, await request.json()))

        return checked

    def _phone(self, _request: web.Request, body: dict[str, Any]) -> dict[str, Any]:
        info = self.phones.pop(body["code"], None)
        if info is None:
            return {"errcode": 40029, "errmsg": "invalid code"}
        return {"errcode": 0, "errmsg": "ok", "phone_info": info}

    def _send(self, _request: web.Request, body: dict[str, Any]) -> dict[str, Any]:
        assert body["miniprogram_state"] in {"formal", "trial", "developer"}
        if not body["touser"].startswith("o"):
            return {"errcode": 40003, "errmsg": "invalid openid"}
        if not all(entry["value"] for entry in body["data"].values()):
            return {"errcode": 47003, "errmsg": "argument invalid"}
        key = (body["touser"], body["template_id"])
        if not self.consents.get(key):
            return {"errcode": 43101, "errmsg": "user refuse to accept the msg"}
        self.consents[key] -= 1
        self.sent.append(body)
        return {"errcode": 0, "errmsg": "ok", "msgid": len(self.sent)}


def _refuse(code: int, why: str) -> web.Response:
    return web.json_response({"errcode": code, "errmsg": why})


@asynccontextmanager
async def serve_wechat(now: Callable[[], float] = time.time) -> AsyncIterator[Wechat]:
    """Serve the stand-in on a port of its own."""
    wechat = Wechat(now)
    server = TestServer(wechat.app())
    await server.start_server()
    try:
        wechat.url = str(server.make_url("")).rstrip("/")
        yield wechat
    finally:
        await server.close()
