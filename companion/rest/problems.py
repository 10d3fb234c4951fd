"""The one mapper from what went wrong to what the client reads: problem details, RFC 9457."""

import secrets
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import orjson
import structlog
from aiohttp import web

from care.errors import (
    BadRequest,
    CareError,
    Closed,
    Conflict,
    Forbidden,
    Internal,
    RateLimited,
    TooLarge,
    Unauthenticated,
    Unavailable,
)
from storage.database import DATABASE_AWAY

MEDIA_TYPE = "application/problem+json"
REQUEST_ID = web.RequestKey("request_id", str)

STATUS: Mapping[type[CareError], int] = {
    BadRequest: 400,
    Unauthenticated: 401,
    Forbidden: 403,
    Conflict: 409,
    Closed: 409,
    TooLarge: 413,
    RateLimited: 429,
    Internal: 500,
    Unavailable: 503,
}

log = structlog.get_logger(__name__)


@web.middleware
async def answer_problems(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Name the request, and answer whatever goes wrong in it."""
    request[REQUEST_ID] = secrets.token_hex(8)
    with structlog.contextvars.bound_contextvars(request_id=request[REQUEST_ID]):
        try:
            return await handler(request)
        except web.HTTPException as refusal:
            return _from_aiohttp(refusal)
        except CareError as refusal:
            return answer(refusal)
        except web.RequestPayloadError:
            return answer(BadRequest("请求内容无法读取"))
        except DATABASE_AWAY as failure:
            log.warning("database_away", path=request.path, error=type(failure).__name__)
            return answer(Unavailable())
        except Exception as failure:
            if not _client_left(request, failure):
                log.exception("request_failed", method=request.method, path=request.path)
            return answer(Internal())


def _client_left(request: web.Request, failure: Exception) -> bool:
    """Say whether reading the body failed because its sender is gone: nobody's fault."""
    return isinstance(failure, ConnectionResetError) and request.transport is None


def answer(refusal: CareError, *, status: int | None = None) -> web.Response:
    """Write a refusal as a problem document with the headers its kind asks for."""
    status = status or next(STATUS[kind] for kind in type(refusal).__mro__ if kind in STATUS)
    response = web.Response(
        body=orjson.dumps(document(refusal, status)), status=status, content_type=MEDIA_TYPE
    )
    if isinstance(refusal, Unauthenticated):
        response.headers["WWW-Authenticate"] = "Bearer"
    if isinstance(refusal, RateLimited):
        response.headers["Retry-After"] = str(-(-refusal.retry_after_ms // 1000))
    return response


def document(refusal: CareError, status: int) -> dict[str, Any]:
    """Give the members of RFC 9457, then what the socket's error object has too."""
    members = refusal.to_wire()
    return {
        "type": f"urn:wenzhen:problem:{refusal.code}",
        "title": refusal.default,
        "status": status,
        "detail": members.pop("message"),
        **members,
    }


def _from_aiohttp(refusal: web.HTTPException) -> web.StreamResponse:
    """Give the transport's own refusals (no such path, method, size) the same form."""
    if refusal.status < 400:
        return refusal
    if refusal.status == 413:
        return answer(TooLarge())
    response = answer(BadRequest(_TRANSPORT.get(refusal.status)), status=refusal.status)
    if "Allow" in refusal.headers:
        response.headers["Allow"] = refusal.headers["Allow"]
    return response


_TRANSPORT = {404: "没有这个地址", 405: "这个地址不支持此方法"}
