"""Send what is kept, whole or one range of it, to whoever came with a signed URL (RFC 9110)."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import structlog
from aiohttp import web

from care.errors import BadRequest
from companion.rest.paging import Query
from companion.rest.problems import answer
from companion.rest.ranges import NotSatisfiable, Span, matches, read_range

log = structlog.get_logger(__name__)


class SignedQuery(Query):
    """Lenient on purpose: whatever is wrong with it, the answer is that of a bad signature."""

    exp: str = ""
    u: str = ""
    t: str = ""
    sig: str = ""


@dataclass(frozen=True)
class Kept:
    """Something to be sent: `read` gives its bytes from a first up to and without a last one."""

    id: str
    name: str
    mime: str
    size: int
    tag: str
    """Another one for every other content."""
    seconds: int
    """How long a client may keep it."""
    read: Callable[[int, int], AsyncIterator[bytes]]

    def headers(self) -> dict[str, str]:
        return {
            "Content-Type": self.mime,
            "Content-Disposition": f'inline; filename="{self.name}"',
            "ETag": f'"{self.tag}"',
            "Accept-Ranges": "bytes",
            "Cache-Control": f"private, max-age={self.seconds}",
            # should a browser ever take it for a page, it can do nothing
            "Content-Security-Policy": "default-src 'none'; sandbox",
            "X-Content-Type-Options": "nosniff",
        }


async def send(request: web.Request, kept: Kept) -> web.StreamResponse:
    """Answer a GET or HEAD: all, one range, nothing new, or nothing there."""
    headers = kept.headers()
    if matches(request.headers.get("If-None-Match"), headers["ETag"]):
        return web.Response(status=304, headers=headers)
    try:
        span = _asked_span(request, headers["ETag"], kept.size)
    except NotSatisfiable:
        refused = answer(BadRequest("请求的范围超出文件大小"), status=416)
        refused.headers["Content-Range"] = f"bytes */{kept.size}"
        return refused
    response = web.StreamResponse(status=206 if span else 200, headers=headers)
    if span:
        response.headers["Content-Range"] = span.content_range(kept.size)
    span = span or Span(0, kept.size)
    response.content_length = span.stop - span.start
    await response.prepare(request)
    if request.method != "HEAD":
        await _write(request, response, kept, span)
    return response


async def _write(
    request: web.Request, response: web.StreamResponse, kept: Kept, span: Span
) -> None:
    try:
        async for chunk in kept.read(span.start, span.stop):
            await response.write(chunk)
    except ConnectionError:
        log.debug("download_left")
    except Exception:
        # the headers are out: only a broken connection can tell that the rest is missing
        log.exception("download_failed", file=kept.id)
        if request.transport is not None:
            request.transport.abort()


def _asked_span(request: web.Request, etag: str, size: int) -> Span | None:
    """Give the span of a GET whose `If-Range`, if it has one, still holds."""
    if request.method != "GET" or request.headers.get("If-Range", etag) != etag:
        return None
    return read_range(request.headers.get("Range"), size)
