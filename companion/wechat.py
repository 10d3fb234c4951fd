"""WeChat's server interface for mini-programs: who logs in, and the subscription messages' door.

Addresses carry the app secret or the access token, so no failure of a request is logged whole.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, NoReturn

import aiohttp
import orjson
import structlog
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from care.accounts import check_phone
from care.errors import BadRequest, RateLimited, Unavailable
from care.policy import Section
from care.ports import Clock
from companion.wechat_token import AccessToken
from storage.wechat_tokens import WechatTokens

ANSWER_SECONDS = 5.0
TOKEN_REFUSED = frozenset({40001, 40014, 42001})
"""Not the newest token, not a token, an expired one."""
BUSY = frozenset({-1, 45009})
"""The system is busy; the day's calls are used up."""
TOO_FREQUENT = 45011
TOO_FREQUENT_MS = 60_000
CODE_REFUSED = frozenset({40029, 40163, 40226, 41008})
"""Not a code or an old one, a used one, a blocked user's, none at all."""
PHONE_AGE = timedelta(minutes=10)
"""A phone code lives five minutes; the rest is for clocks that don't agree."""

CODE_OVER = "微信授权已失效，请重新授权"

log = structlog.get_logger(__name__)


class WechatSettings(Section):
    """`templates`: WeChat's template id for each notice of ours that has one."""

    appid: str | None = None
    base_url: str = "https://api.weixin.qq.com"
    templates: Mapping[str, str] = {}
    state: Literal["formal", "trial", "developer"] = "formal"


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True)


class _Token(_Answer):
    access_token: str = Field(min_length=1)
    expires_in: int = Field(gt=0)


class _Session(_Answer):
    openid: str = Field(min_length=1)


class _Watermark(_Answer):
    appid: str
    timestamp: int


class _PhoneInfo(_Answer):
    pure_phone: str = Field(alias="purePhoneNumber")
    country: str = Field(alias="countryCode", coerce_numbers_to_str=True)
    watermark: _Watermark


class _Phone(_Answer):
    phone_info: _PhoneInfo


class WechatClient:
    """Speaks for one mini-program; every process of the hospital has one."""

    def __init__(
        self,
        appid: str,
        secret: str,
        base_url: str,
        tokens: WechatTokens,
        clock: Clock,
    ) -> None:
        self._appid = appid
        self._secret = secret
        self._base_url = base_url.rstrip("/")
        self._clock = clock
        self._token = AccessToken(tokens, appid, self._fetch_token, clock)
        self._http: aiohttp.ClientSession | None = None

    async def phone_number(self, code: str) -> str:
        """Trade a phone code for the number WeChat verified. Raises BadRequest, Unavailable."""
        answer = await self.call("/wxa/business/getuserphonenumber", {"code": code})
        _refuse_code(answer, "code")
        try:
            info = _Phone.model_validate(answer).phone_info
            made_at = datetime.fromtimestamp(info.watermark.timestamp, UTC)
        except (ValidationError, ValueError, OverflowError, OSError):
            _unexpected("phone", answer)
        now = self._clock.now()
        if info.watermark.appid != self._appid or abs(now - made_at) > PHONE_AGE:
            log.warning("wechat_phone_not_ours_or_old")
            raise BadRequest.field("code", CODE_OVER)
        try:
            return check_phone(info.pure_phone if info.country == "86" else "")
        except ValueError:
            raise BadRequest.field("code", "仅支持中国大陆手机号") from None

    async def openid(self, login_code: str) -> str:
        """Trade a log-in code for who it is in this mini-program. Raises BadRequest, Unavailable.

        The session key that comes along is not kept: nothing here decrypts with it.
        """
        query = {
            "appid": self._appid,
            "secret": self._secret,
            "js_code": login_code,
            "grant_type": "authorization_code",
        }
        answer = await self._request("GET", "/sns/jscode2session", query)
        _refuse_code(answer, "login_code")
        try:
            return _Session.model_validate(answer).openid
        except ValidationError:
            _unexpected("session", answer)

    async def call(self, path: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """POST with the access token; one that is refused is replaced once.

        Gives the answer with whatever `errcode` is the caller's to understand. Raises Unavailable,
        RateLimited.
        """
        for _ in range(2):
            token = await self._token.get()
            answer = await self._request("POST", path, {"access_token": token}, body)
            if answer.get("errcode") not in TOKEN_REFUSED:
                return answer
            await self._token.refused(token)
        log.error("wechat_token_refused_twice", path=path)
        raise Unavailable

    async def close(self) -> None:
        if self._http is not None:
            await self._http.close()

    async def _fetch_token(self, void_present: bool) -> tuple[str, int]:
        """Ask for the stable token: asking again while it is good gives the same one."""
        body = {
            "grant_type": "client_credential",
            "appid": self._appid,
            "secret": self._secret,
            "force_refresh": void_present,
        }
        answer = await self._request("POST", "/cgi-bin/stable_token", {}, body)
        try:
            token = _Token.model_validate(answer)
        except ValidationError:
            _unexpected("token", answer)
        return token.access_token, token.expires_in

    async def _request(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        body: Mapping[str, Any] | None = None,
    ) -> Mapping[str, Any]:
        try:
            async with self._session().request(
                method,
                self._base_url + path,
                params=query,
                data=None if body is None else orjson.dumps(body),
                headers={"Content-Type": "application/json"},
                allow_redirects=False,
            ) as response:
                status, content = response.status, await response.read()
            answer = orjson.loads(content)
        except (aiohttp.ClientError, TimeoutError, orjson.JSONDecodeError) as failure:
            # its text holds the address, and that the secret
            log.warning("wechat_away", path=path, error=type(failure).__name__)
            raise Unavailable from None
        if status != 200 or not isinstance(answer, dict):
            log.warning("wechat_away", path=path, status=status)
            raise Unavailable
        return _passable(path, answer)

    def _session(self) -> aiohttp.ClientSession:
        if self._http is None:
            timeout = aiohttp.ClientTimeout(total=ANSWER_SECONDS)
            self._http = aiohttp.ClientSession(timeout=timeout)
        return self._http


def _passable(path: str, answer: dict[str, Any]) -> dict[str, Any]:
    code = answer.get("errcode")
    if code in BUSY:
        log.warning("wechat_busy", path=path, errcode=code)
        raise Unavailable
    if code == TOO_FREQUENT:
        raise RateLimited(TOO_FREQUENT_MS)
    return answer


def _refuse_code(answer: Mapping[str, Any], field: str) -> None:
    if answer.get("errcode") in CODE_REFUSED:
        raise BadRequest.field(field, CODE_OVER)


def _unexpected(what: str, answer: Mapping[str, Any]) -> NoReturn:
    """Note what WeChat refused for a reason the user can't mend: the numbers alone, no values."""
    log.error("wechat_unexpected_answer", of=what, errcode=answer.get("errcode"))
    raise Unavailable from None
