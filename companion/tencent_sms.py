"""Text messages by Tencent Cloud (腾讯云短信), API 2021-01-11, signed with TC3-HMAC-SHA256.

The provider's own SDK blocks its thread for each request; this is its one documented call.
"""

import hashlib
import hmac
from collections.abc import Mapping
from datetime import UTC, datetime

import aiohttp
import orjson
import structlog
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from yarl import URL

from care.errors import Unavailable
from care.ports import Clock
from companion.sms import SmsSettings

ANSWER_SECONDS = 3.0
SERVICE = "sms"
ACTION = "SendSms"
VERSION = "2021-01-11"
CONTENT_TYPE = "application/json; charset=utf-8"
SENT = "Ok"

log = structlog.get_logger(__name__)


class _Status(BaseModel):
    model_config = ConfigDict(frozen=True)

    code: str = Field(alias="Code")


class _Failure(BaseModel):
    model_config = ConfigDict(frozen=True)

    code: str = Field(alias="Code")


class _Response(BaseModel):
    model_config = ConfigDict(frozen=True)

    statuses: list[_Status] = Field(default=[], alias="SendStatusSet")
    failure: _Failure | None = Field(default=None, alias="Error")


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True)

    response: _Response = Field(alias="Response")


class TencentSms:
    """Implements `care.ports.Sms`."""

    def __init__(
        self, settings: SmsSettings, secret_id: str, secret_key: str, clock: Clock
    ) -> None:
        self._settings = settings
        self._url = URL(settings.base_url)
        self._secret_id = secret_id
        self._secret_key = secret_key
        self._clock = clock
        self._http: aiohttp.ClientSession | None = None

    async def send(self, phone: str, template: str, values: Mapping[str, str]) -> None:
        """Send one message. Raises Unavailable unless the provider took it."""
        template_id = self._settings.templates.get(template)
        if template_id is None:
            log.error("sms_template_missing", template=template)
            raise Unavailable
        body = {
            "PhoneNumberSet": [f"+86{phone}"],
            "SmsSdkAppId": self._settings.app_id,
            "SignName": self._settings.sign_name,
            "TemplateId": template_id,
            "TemplateParamSet": list(values.values()),
        }
        refused = await self._call(orjson.dumps(body))
        if refused is not None:
            log.warning("sms_refused", template=template, code=refused)
            raise Unavailable

    async def _call(self, payload: bytes) -> str | None:
        """Send the signed request; give the provider's code unless the message was taken."""
        try:
            async with self._session().post(
                self._url, data=payload, headers=self._headers(payload), allow_redirects=False
            ) as answer:
                response = _Answer.model_validate_json(await answer.read()).response
        except (aiohttp.ClientError, TimeoutError, ValidationError) as failure:
            # what the answer holds may name the phone
            return type(failure).__name__
        if response.failure is not None:
            return response.failure.code
        codes = [status.code for status in response.statuses]
        return None if codes == [SENT] else ",".join(codes) or "empty"

    def _headers(self, payload: bytes) -> dict[str, str]:
        at = self._clock.now()
        host = self._url.authority
        return {
            "Host": host,
            "Content-Type": CONTENT_TYPE,
            "X-TC-Action": ACTION,
            "X-TC-Version": VERSION,
            "X-TC-Region": self._settings.region,
            "X-TC-Timestamp": str(int(at.timestamp())),
            "Authorization": authorization(self._secret_id, self._secret_key, host, at, payload),
        }

    def _session(self) -> aiohttp.ClientSession:
        if self._http is None:
            timeout = aiohttp.ClientTimeout(total=ANSWER_SECONDS)
            self._http = aiohttp.ClientSession(timeout=timeout)
        return self._http

    async def close(self) -> None:
        if self._http is not None:
            await self._http.close()


def authorization(secret_id: str, secret_key: str, host: str, at: datetime, payload: bytes) -> str:
    """Sign a request as TC3-HMAC-SHA256 says."""
    headers = f"content-type:{CONTENT_TYPE}\nhost:{host}\nx-tc-action:{ACTION.lower()}\n"
    signed = "content-type;host;x-tc-action"
    request = f"POST\n/\n\n{headers}\n{signed}\n{hashlib.sha256(payload).hexdigest()}"
    day = at.astimezone(UTC).date().isoformat()
    scope = f"{day}/{SERVICE}/tc3_request"
    digest = hashlib.sha256(request.encode()).hexdigest()
    text = f"TC3-HMAC-SHA256\n{int(at.timestamp())}\n{scope}\n{digest}"
    key = f"TC3{secret_key}".encode()
    for part in (day, SERVICE, "tc3_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    signature = hmac.new(key, text.encode(), "sha256").hexdigest()
    return (
        f"TC3-HMAC-SHA256 Credential={secret_id}/{scope}, "
        f"SignedHeaders={signed}, Signature={signature}"
    )
