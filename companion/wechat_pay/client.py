"""Signed requests to WeChat Pay and the check of its answers."""

from collections.abc import Mapping
from typing import Any

import aiohttp
import orjson
import structlog
from yarl import URL

from care.errors import Unavailable
from companion.wechat_pay.signing import Forged, Signer, Verifier

ANSWER_SECONDS = 8.0
DOWNLOAD_SECONDS = 60.0
BUSY = frozenset({"SYSTEM_ERROR", "FREQUENCY_LIMITED", "BANK_ERROR"})
"""Codes to ask again after, also where the status doesn't say so."""

log = structlog.get_logger(__name__)


class Refused(Exception):
    """WeChat Pay won't do it, however often it is asked."""

    def __init__(self, code: str) -> None:
        self.code = code
        super().__init__(code)


class WechatPayClient:
    def __init__(self, base_url: str, signer: Signer, verifier: Verifier) -> None:
        self._base_url = base_url.rstrip("/")
        self._signer = signer
        self._verifier = verifier
        self._http: aiohttp.ClientSession | None = None

    async def get(self, target: str) -> dict[str, Any]:
        return await self._request("GET", target, "")

    async def post(self, target: str, body: Mapping[str, Any]) -> dict[str, Any]:
        return await self._request("POST", target, orjson.dumps(body).decode())

    async def download(self, url: str) -> bytes:
        """Fetch a file by the address another answer gave. Its bytes carry no signature.

        Raises Unavailable. It goes to WeChat Pay's host whatever the address says: it is signed.
        """
        target = URL(url, encoded=True).raw_path_qs
        headers = {"Authorization": self._signer.authorization("GET", target, "")}
        try:
            async with self._session().get(
                URL(self._base_url + target, encoded=True),
                headers=headers,
                timeout=aiohttp.ClientTimeout(total=DOWNLOAD_SECONDS),
                allow_redirects=False,
            ) as response:
                if response.ok:
                    return await response.read()
        except (aiohttp.ClientError, TimeoutError) as failure:
            log.warning("wechat_pay_away", target="download", error=type(failure).__name__)
            raise Unavailable from None
        log.warning("wechat_pay_refused", target="download", status=response.status)
        raise Unavailable

    async def close(self) -> None:
        if self._http is not None:
            await self._http.close()

    async def _request(self, method: str, target: str, body: str) -> dict[str, Any]:
        """Send and read. Raises Unavailable when it may be tried again, Refused when not.

        An answer with a wrong signature counts as none: it may be anybody's.
        """
        headers = {
            "Authorization": self._signer.authorization(method, target, body),
            "Accept": "application/json",
            "Content-Type": "application/json",
        }
        try:
            # encoded: the address must go out as it was signed
            url = URL(self._base_url + target, encoded=True)
            async with self._session().request(
                method, url, data=body or None, headers=headers, allow_redirects=False
            ) as response:
                content = await response.read()
            # 202 says that it is not done, with a code that says why
            done = response.status in {200, 204}
            if done:
                self._verifier.check(response.headers, content)
            answer = orjson.loads(content or b"{}")
        except (aiohttp.ClientError, TimeoutError, orjson.JSONDecodeError, Forged) as failure:
            log.warning("wechat_pay_away", target=target, error=type(failure).__name__)
            raise Unavailable from None
        if not isinstance(answer, dict):
            raise Unavailable
        if not done:
            _refuse(target, response.status, str(answer.get("code", "")))
        return answer

    def _session(self) -> aiohttp.ClientSession:
        if self._http is None:
            timeout = aiohttp.ClientTimeout(total=ANSWER_SECONDS)
            self._http = aiohttp.ClientSession(timeout=timeout)
        return self._http


def _refuse(target: str, status: int, code: str) -> None:
    log.warning("wechat_pay_refused", target=target, status=status, code=code)
    if status >= 500 or status == 429 or code in BUSY:
        raise Unavailable
    raise Refused(code)
