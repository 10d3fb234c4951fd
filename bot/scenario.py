"""The scenario language: what a YAML file may say. `docs/bot.md` explains it to its writers."""

import re
from base64 import b64decode
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)  # fmt: skip

from bot.errors import BadScenario
from bot.matching import unknown_matchers

ACTIONS = (
    "call", "emit", "expect_event", "upload", "disconnect", "connect", "log_in",
    "advance_clock", "advance_clock_to", "start_call", "phone", "set_media", "expect_call",
    "expect_media",
)  # fmt: skip
COMMANDS = frozenset({"emit", "start_call", "phone", "set_media"})
"""The actions whose result is an acknowledgement."""


def _known_matchers(expected: Any) -> Any:
    if unknown := unknown_matchers(expected):
        raise ValueError(f"unknown matcher {', '.join(sorted(unknown))}")
    return expected


Expected = Annotated[Any, AfterValidator(_known_matchers)]


class _Loader(yaml.SafeLoader):
    """YAML with the booleans of its version 1.2: the wire's field `on` is a name, not true."""


_BOOLEAN = "tag:yaml.org,2002:bool"
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != _BOOLEAN]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(_BOOLEAN, re.compile(r"^(?:true|false)$"), list("tf"))


class Part(BaseModel):
    """A piece of a scenario: unknown keys are refused, so that none is silently without effect."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Actor(Part):
    name: str
    phone: str
    password: str
    device: Literal["mini_program", "h5", "desktop", "bot"] = "bot"
    tone: int = Field(default=440, ge=50, le=3_000)
    """What the other side of a call hears, in Hz."""


class Call(Part):
    """A REST request below `/api/v1`; `status` unset means any success."""

    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
    path: str = Field(pattern="^/")
    payload: Any = Field(default=None, alias="json")
    status: int | None = None


class Emit(Part):
    """A socket command; its acknowledgement must be `ok` unless the step expects otherwise."""

    command: str
    data: dict[str, Any] = {}


class ExpectEvent(Part):
    """An event the actor's socket has received since it connected, or does within the seconds."""

    event: str
    match: Expected = {}
    within: float = 5.0


class StartCall(Part):
    room: str
    media: Literal["audio", "video"]


class SetMedia(Part):
    """Mute, or switch the camera off: silence or black is sent, and the other side is told."""

    mic: Literal["on", "off"] = "on"
    camera: Literal["on", "off"] = "on"


class ExpectCall(Part):
    """The actor's call is so, or comes to be within the seconds."""

    match: Expected
    within: float = 10.0


class ExpectMedia(Part):
    """What the actor receives within the seconds; what isn't given is not looked at.

    `frames`: so many more pictures from now on; `tone`: the sound is this, in Hz.
    """

    frames: int | None = None
    moving: bool | None = None
    audio: bool | None = None
    tone: int | None = None
    within: float = 10.0


class Upload(Part):
    """A file for `POST /files`, in base64 so that a scenario stays one file."""

    name: str
    content_type: str
    base64: str

    @property
    def content(self) -> bytes:
        return b64decode(self.base64)

    @model_validator(mode="after")
    def _is_base64(self) -> Self:
        try:
            b64decode(self.base64, validate=True)
        except ValueError:
            raise ValueError("base64 cannot be decoded") from None
        return self


class ForEach(Part):
    """Repeat the step for each element of a saved list that matches; `${item}` is the element."""

    items: str = Field(alias="in")
    where: Expected = {}


class Step(Part):
    """One action of one actor, what its result must be, and what to keep of it."""

    actor: str
    note: str | None = None
    for_each: ForEach | None = None
    call: Call | None = None
    emit: Emit | None = None
    expect_event: ExpectEvent | None = None
    upload: Upload | None = None
    disconnect: Literal[True] | None = None
    connect: Literal[True] | None = None
    log_in: Literal[True] | None = None
    advance_clock: float | None = None
    advance_clock_to: str | None = None
    start_call: StartCall | None = None
    phone: Literal["accept", "decline", "cancel", "hang_up", "resume", "reload"] | None = None
    set_media: SetMedia | None = None
    expect_call: ExpectCall | None = None
    expect_media: ExpectMedia | None = None
    expect: Expected = None
    save: dict[str, str] = {}

    @property
    def action(self) -> str:
        return next(name for name in ACTIONS if getattr(self, name) is not None)

    @property
    def must_be_ok(self) -> bool:
        """Say whether its acknowledgement must be `ok`: unless the step tells what it must be."""
        told = isinstance(self.expect, dict) and "ok" in self.expect
        return self.action in COMMANDS and not told

    @model_validator(mode="after")
    def _does_one_thing(self) -> Self:
        given = [name for name in ACTIONS if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(
                f"a step does one of {', '.join(ACTIONS)}; this has {' and '.join(given) or 'none'}"
            )
        return self


class Scenario(Part):
    name: str
    actors: dict[str, Actor] = Field(min_length=1)
    variables: dict[str, Any] = {}
    steps: list[Step] = Field(min_length=1)

    @model_validator(mode="after")
    def _actors_exist(self) -> Self:
        for number, step in enumerate(self.steps, 1):
            if step.actor not in self.actors:
                raise ValueError(f"step {number}: there is no actor {step.actor!r}")
        return self


def load(path: Path) -> Scenario:
    """Read a scenario. Raises BadScenario naming the file, the step and the field."""
    try:
        text = path.read_text(encoding="utf-8")
        return Scenario.model_validate(yaml.load(text, _Loader))  # noqa: S506  # a SafeLoader
    except OSError as error:
        raise BadScenario(f"{path}: cannot be read: {error.strerror}") from None
    except yaml.YAMLError as error:
        raise BadScenario(f"{path}: is not YAML: {error}") from None
    except ValidationError as error:
        lines = (_place(e["loc"]) + e["msg"].removeprefix("Value error, ") for e in error.errors())
        raise BadScenario("\n".join(f"{path}: {line}" for line in lines)) from None


def _place(loc: tuple[int | str, ...]) -> str:
    """Write where an error is the way a person counts: from one."""
    if loc[:1] == ("steps",) and len(loc) > 1 and isinstance(loc[1], int):
        rest = ".".join(map(str, loc[2:]))
        return f"step {loc[1] + 1}{', ' + rest if rest else ''}: "
    return f"{'.'.join(map(str, loc))}: " if loc else ""
