"""From an event to its command and back to its acknowledgement.

A connection's events come one after another, in the order in which they arrived. The next one
comes when the command was run, or accepted: then its acknowledgement follows on its own.
"""

import asyncio
import re
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from care.errors import BadRequest, Forbidden, Unavailable
from care.fields import refuse_unstorable
from realtime.gateway.codec import ack_frame, decode
from realtime.gateway.connections import Connection
from realtime.gateway.errors import BadFrame, Malformed, parse, to_care
from realtime.gateway.limits import RateLimiter
from realtime.gateway.metrics import Metrics
from realtime.gateway.table import Accepted, Answer, Command

EVENT = re.compile(rb"2(\d{0,16})(?!\d)(.*)", re.DOTALL)
"""An event of namespace `/`: the number to acknowledge it by, if any, then JSON."""

UNKNOWN = "unknown"
"""Names that clients made up count as one, or metrics and limits would grow by them."""


@dataclass(slots=True)
class Call:
    """One event between its arrival and its acknowledgement."""

    connection: Connection
    number: bytes
    """As the client wrote it; empty when it wants no acknowledgement."""
    begun: float
    command: str = UNKNOWN


class Dispatcher:
    """Runs the command table. Nothing else is reachable, whatever an event is named."""

    def __init__(
        self, commands: Iterable[Command[Any]], limiter: RateLimiter, metrics: Metrics
    ) -> None:
        self._commands = {command.name: command for command in commands}
        self._limiter = limiter
        self._errors = metrics.errors
        self._seconds = {n: metrics.commands.labels(n) for n in (*self._commands, UNKNOWN)}
        self._outstanding = 0
        self._settled = asyncio.Event()
        self._draining = False

    async def drain(self) -> None:
        """Refuse new commands, and wait until every other has its acknowledgement."""
        self._draining = True
        while self._outstanding:
            self._settled.clear()
            await self._settled.wait()

    async def handle(self, connection: Connection, packet: bytes) -> None:
        """Run one event's command. Raises BadFrame, once answered, when it isn't an event."""
        match = EVENT.fullmatch(packet)
        if match is None:
            raise BadFrame
        await connection.places.acquire()
        if connection.closed:
            # its session may have ended while this waited
            return
        self._outstanding += 1
        call = Call(connection, match[1], time.perf_counter())
        try:
            answer = await self._run(call, match[2])
        except asyncio.CancelledError as error:
            self._refuse(call, error)
            raise
        except Exception as error:
            self._refuse(call, error)
            if isinstance(error, Malformed):
                raise BadFrame from None
            # refusing may never wait for anything: a flood of it must let others be served
            await asyncio.sleep(0)
            return
        if isinstance(answer, Accepted):
            self._follow(call, answer)
        else:
            self._answer(call, answer)

    async def _run(self, call: Call, body: bytes) -> Answer | Accepted[Any]:
        name, arguments = _read(body)
        command = self._commands.get(name)
        caller = call.connection.caller
        if command is None:
            self._limiter.take(caller.user, UNKNOWN)
            raise BadRequest("不支持的操作")
        call.command = name
        self._limiter.take(caller.user, name)
        if self._draining:
            raise Unavailable
        if command.roles is not None and caller.role not in command.roles:
            raise Forbidden
        return await command.run(call.connection, _payload(command.payload, arguments, body))

    def _follow(self, call: Call, accepted: Accepted[Any]) -> None:
        """Acknowledge when what was accepted is done."""

        def settle(done: "asyncio.Future[Any]") -> None:
            try:
                answer = accepted.answer(done.result())
            except (Exception, asyncio.CancelledError) as error:
                self._refuse(call, error)
            else:
                self._answer(call, answer)

        asyncio.ensure_future(accepted.done).add_done_callback(settle)

    def _answer(self, call: Call, answer: Answer) -> None:
        try:
            frame = ack_frame(call.number, {"ok": True, **answer})
        except TypeError as error:
            self._refuse(call, error)
        else:
            self._acknowledge(call, frame)

    def _refuse(self, call: Call, error: BaseException) -> None:
        known = to_care(error, connection=call.connection.id, command=call.command)
        self._errors.labels(known.code).inc()
        self._acknowledge(call, ack_frame(call.number, {"ok": False, "error": known.to_wire()}))

    def _acknowledge(self, call: Call, frame: bytes) -> None:
        if call.number:
            call.connection.wire.push(frame)
        self._seconds[call.command].observe(time.perf_counter() - call.begun)
        call.connection.places.release()
        self._outstanding -= 1
        if not self._outstanding:
            self._settled.set()


def _read(body: bytes) -> tuple[str, list[Any]]:
    """Give an event's name and arguments. Raises Malformed."""
    try:
        event = decode(body)
    except ValueError:
        raise Malformed("不是有效的 JSON") from None
    match event:
        case [str(name), *arguments]:
            return name, arguments
    raise Malformed("不是有效的事件")


def _payload(model: type[BaseModel], arguments: list[Any], body: bytes) -> BaseModel:
    match arguments:
        case [dict(value)]:
            # JSON allows a NUL only escaped, so most bodies needn't be searched
            if b"\\u0000" in body:
                refuse_unstorable(value)
            return parse(model, value)
    raise BadRequest("参数应为一个 JSON 对象")
