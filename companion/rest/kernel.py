"""Serve a table of routes: one row says everything about a request, this file does it.

Transport ends here. A handler gets a `Call` whose caller is verified and whose body and query have
the types their models state, and answers with plain data or raises from `care.errors`.
"""

import asyncio
import contextlib
import hashlib
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from dataclasses import KW_ONLY, dataclass
from datetime import date, datetime
from types import UnionType
from typing import Any, cast

import orjson
import structlog
from aiohttp import web
from pydantic import BaseModel, ConfigDict, ValidationError

from care.accounts import Caller, Role, require_own_password
from care.errors import BadRequest, Forbidden, Unauthenticated
from care.fields import WHOLE, refuse, refuse_unstorable
from care.ports import Tokens
from care.record import new_id, wire_time
from companion.rest.paging import Query
from companion.rest.problems import REQUEST_ID, answer_problems

PREFIX = "/api/v1"
JSON_MAX = 64 * 1024
KEY_MAX = 128

log = structlog.get_logger(__name__)


class Body(BaseModel):
    """Base of a route's body: strict ("1" is no number), unknown fields are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


@dataclass(frozen=True, slots=True)
class Call:
    """One request, checked. `request` is there for uploads and raw bodies only."""

    request: web.Request
    path: Mapping[str, str]
    body: Any
    query: Any
    known_caller: Caller | None

    @property
    def caller(self) -> Caller:
        """Who asks. Raises Unauthenticated, which only a public route can meet."""
        if self.known_caller is None:
            raise Unauthenticated
        return self.known_caller

    def creation_id(self, now: datetime) -> str:
        """Give the id for what this POST creates.

        With an `Idempotency-Key` the id is a digest of caller, method, path and key, so sending the
        request again gives the same one: a repository inserts with it and answers a duplicate `_id`
        with the record that is already there. Such an id does not sort by time.
        """
        key = self.request.headers.get("Idempotency-Key")
        if key is None:
            return new_id(now)
        if not (0 < len(key) <= KEY_MAX and key.isascii() and key.isprintable()):
            raise BadRequest.field("Idempotency-Key", f"应为 1–{KEY_MAX} 个可见字符")
        parts = (self.caller.user, self.request.method, self.request.path, key)
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:28]


Handler = Callable[[Call], Awaitable[Any]]
Answer = type[BaseModel] | UnionType | Mapping[str, Any]
"""A model, several of them, or a JSON schema."""


@dataclass(frozen=True, slots=True)
class Content:
    """What isn't JSON: its media type, and as a JSON schema its parts where it has any."""

    media_type: str
    schema: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Also:
    """One more way in which a route answers, beside its usual one and the problems."""

    status: int
    says: str
    content: Answer | Content | None = None


@dataclass(frozen=True, slots=True)
class Route:
    """One row of the table.

    `roles`: who may, everyone logged in when none. `public`: needs no token, and a bad one counts
    as none. `upload`, `answer` and `also` are for the reference; `max_body`: bytes.
    `initial_password`: also while the password must be changed first.
    """

    method: str
    path: str
    handler: Handler
    _: KW_ONLY
    body: type[Body] | None = None
    query: type[Query] | None = None
    upload: Content | None = None
    answer: Answer | Content | None = None
    also: tuple[Also, ...] = ()
    roles: frozenset[Role] | None = None
    public: bool = False
    initial_password: bool = False
    status: int = 200
    summary: str = ""
    tag: str = ""
    max_body: int = JSON_MAX


def mount(app: web.Application, routes: Iterable[Route], tokens: Tokens) -> None:
    """Serve the routes below `/api/v1`, with this kernel's answers for everything unknown there."""
    api = web.Application(middlewares=[answer_problems])
    writes = _Writes()
    for route in routes:
        api.router.add_route(route.method, route.path, _endpoint(route, tokens, writes))
    api.on_response_prepare.append(_add_headers)
    api.on_cleanup.append(writes.drain)
    app.add_subapp(PREFIX, api)


def _endpoint(
    route: Route, tokens: Tokens, writes: "_Writes"
) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def endpoint(request: web.Request) -> web.StreamResponse:
        request = request.clone(client_max_size=route.max_body)
        call = Call(
            request=request,
            path=dict(request.match_info),
            known_caller=await _authenticate(request, route, tokens),
            query=_read_query(request, route.query) if route.query else None,
            body=await _read_body(request, route.body) if route.body else None,
        )
        work = _run(route, call)
        return await (work if route.method == "GET" else writes.finish(work))

    return endpoint


async def _run(route: Route, call: Call) -> web.StreamResponse:
    result = await route.handler(call)
    if isinstance(result, web.StreamResponse):
        return result
    if result is None:
        return web.Response(status=204)
    return web.Response(
        body=to_json(result), status=route.status, content_type="application/json", charset="utf-8"
    )


class _Writes:
    """Finish what a client began, also when it goes away meanwhile."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[Any]] = set()

    async def finish(self, work: Coroutine[Any, Any, web.StreamResponse]) -> web.StreamResponse:
        task = asyncio.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            task.add_done_callback(_log_unheard)
            raise

    async def drain(self, _app: web.Application) -> None:
        """Wait for the writes whose clients have gone."""
        with contextlib.suppress(Exception):
            await asyncio.gather(*self._running, return_exceptions=True)


def _log_unheard(task: asyncio.Task[Any]) -> None:
    """Log the failure of a write that nobody waits for any more."""
    if not task.cancelled() and (failure := task.exception()):
        log.error("abandoned_request_failed", exc_info=failure)


async def _authenticate(request: web.Request, route: Route, tokens: Tokens) -> Caller | None:
    """Verify the bearer token and the caller's role. Raises Unauthenticated or Forbidden."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    try:
        if scheme.lower() != "bearer" or not token:
            raise Unauthenticated
        caller = await tokens.verify(token.strip())
    except Unauthenticated:
        # a client that logs in or refreshes may well send its expired token along
        if route.public:
            return None
        raise
    if not (route.public or route.initial_password):
        require_own_password(caller)
    if route.roles is not None and caller.role not in route.roles:
        raise Forbidden
    return caller


def _read_query(request: web.Request, model: type[Query]) -> Query:
    for name in request.query:
        if len(request.query.getall(name)) > 1:
            raise BadRequest.field(name, "不能重复")
    values = dict(request.query)
    refuse_unstorable(values)
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise refuse(error) from None


async def _read_body(request: web.Request, model: type[Body]) -> Body:
    """Read a JSON object; an empty body counts as `{}`, so that its missing fields are named."""
    raw = await request.read()
    if raw and request.content_type != "application/json":
        raise BadRequest.field("Content-Type", "应为 application/json")
    value = _parse_object(raw or b"{}")
    refuse_unstorable(value)
    try:
        # strict validation takes enums and dates as text only from JSON
        return model.model_validate_json(orjson.dumps(value))
    except ValidationError as error:
        raise refuse(error) from None
    except orjson.JSONEncodeError:
        raise BadRequest.field(WHOLE, "嵌套过深") from None


def _parse_object(raw: bytes) -> dict[str, Any]:
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError:
        raise BadRequest.field(WHOLE, "不是有效的 JSON") from None
    if not isinstance(value, dict):
        raise BadRequest.field(WHOLE, "应为 JSON 对象")
    return cast(dict[str, Any], value)


OPTIONS = orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_NON_STR_KEYS
"""Times go through `_plain`; keys may be members of a StrEnum."""


def to_json(value: Any) -> bytes:
    """Write an answer: records as objects, times as the wire has them."""
    return orjson.dumps(value, default=_plain, option=OPTIONS)


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump()
    if isinstance(value, datetime):
        return wire_time(value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"an answer holds a {type(value).__name__}")


async def _add_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Name the request, and keep answers out of caches and out of guesses about their type."""
    response.headers["X-Request-Id"] = request[REQUEST_ID]
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers.setdefault("Cache-Control", "no-store")
