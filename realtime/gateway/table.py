"""A socket command is one row: name, payload model, use case, and who may call it.

`run` is called in the order in which the connection sent its commands, one after another. One that
returns an `Accepted` lets the next command be read at once; its acknowledgement follows when the
future resolves. So `message:send` takes its place in the log without waiting for the disk:

>>> async def send(connection: Connection, payload: Send) -> Accepted[Message]:
...     stored = await rooms.accept(connection.caller, payload)  # must not wait for the write
...     return Accepted(stored, lambda message: {"message": message.to_wire()})
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict

from care.accounts import Role
from realtime.gateway.connections import Connection

T = TypeVar("T")
P = TypeVar("P", bound=BaseModel)

Answer = Mapping[str, Any]
"""What the acknowledgement says beside `ok`."""


class Payload(BaseModel):
    """A command's one argument: strict as JSON is, and a mistyped field is named, not ignored."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, hide_input_in_errors=True)


@dataclass(frozen=True, slots=True)
class Accepted(Generic[T]):
    """The command has its place; `done` resolves once it is durable, and `answer` tells of it."""

    done: Awaitable[T]
    answer: Callable[[T], Answer]


@dataclass(frozen=True, slots=True)
class Command(Generic[P]):
    name: str
    payload: type[P]
    run: Callable[[Connection, P], Awaitable[Answer | Accepted[Any]]]
    roles: frozenset[Role] | None = None
    """Who may call it; None is everyone who has logged in."""
    summary: str = ""


@dataclass(frozen=True, slots=True)
class ServerEvent:
    """An event the server pushes: for the reference, since clients needn't acknowledge any."""

    name: str
    summary: str = ""
    payload: type[BaseModel] | None = None
