"""Bad input made from the reference: for each field of a schema, what the field does not take.

The schemas are those the running server publishes, so a new field or a new command is tried as soon
as it is in the reference, without a line here.
"""

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

JsonObject = dict[str, Any]

TEXT = "字"
SAMPLES: Mapping[str, Any] = {
    "string": TEXT,
    "integer": 7,
    "number": 1.5,
    "boolean": True,
    "null": None,
    "array": [],
    "object": {},
}
"""A value of each JSON type, to be tried where another type is wanted."""

TAKES_ALSO = {"number": {"integer"}}
PATTERNS = {r"^(([01][0-9]|2[0-3]):[0-5][05]|24:00)$": "09:00", "^[0-9]{6}$": "123456"}
FORMATS = {"date": "2000-01-31"}


class Fault(StrEnum):
    MISSING = "missing"
    TYPE = "type"
    SIZE = "size"
    CHOICE = "choice"
    UNKNOWN = "unknown"
    NUL = "nul"


@dataclass(frozen=True)
class Spoiled:
    """An input with one fault. `field` is how the refusal should name it."""

    fault: Fault
    field: str
    why: str
    value: Any


class Schemas:
    """The schemas of a reference document, with references followed."""

    def __init__(self, document: JsonObject) -> None:
        self._named: JsonObject = document["components"]["schemas"]

    def follow(self, schema: JsonObject) -> JsonObject:
        if "$ref" in schema:
            return self.follow(self._named[schema["$ref"].rpartition("/")[2]])
        return schema

    def options(self, schema: JsonObject) -> list[JsonObject]:
        """List what a field may be: usually one schema, or one and null."""
        followed = self.follow(schema)
        return [self.follow(option) for option in followed.get("anyOf", [followed])]

    def sample(self, schema: JsonObject, text: str = TEXT) -> Any:
        """Make a value the schema takes, with all fields of its objects and `text` where it may."""
        option = self.options(schema)[0]
        if "enum" in option:
            return option["enum"][0]
        match option["type"]:
            case "object":
                fields = option.get("properties", {})
                return {name: self.sample(field, text) for name, field in fields.items()}
            case "array":
                return [self.sample(option["items"], text)] * option.get("minItems", 1)
            case "string":
                return _text(option, text)
            case "integer" | "number":
                return option.get("minimum", 1)
        return SAMPLES[option["type"]]

    def spoil(self, schema: JsonObject, good: JsonObject) -> Iterator[Spoiled]:
        """Give copies of a good input, each with one fault."""
        yield from self._spoil_object(self.follow(schema), good, ())

    def _spoil_object(
        self, schema: JsonObject, good: JsonObject, path: tuple[str, ...]
    ) -> Iterator[Spoiled]:
        extra = (*path, "surprise")
        yield _spoiled(Fault.UNKNOWN, good, extra, "a field nobody knows", 1)
        for name, field in schema.get("properties", {}).items():
            at = (*path, name)
            if name in schema.get("required", ()):
                yield Spoiled(Fault.MISSING, ".".join(at), "left out", _without(good, at))
            options = self.options(field)
            for fault, why, value in _wrong_values(options):
                yield _spoiled(fault, good, at, why, value)
            for option in options:
                if option.get("type") == "object":
                    whole = _with(good, at, _at(good, at) or self.sample(option))
                    yield from self._spoil_object(option, whole, at)


def _wrong_values(options: list[JsonObject]) -> Iterator[tuple[Fault, str, Any]]:
    """Give what none of a field's options takes."""
    taken = {option.get("type", "string") for option in options}
    taken |= {other for name in taken for other in TAKES_ALSO.get(name, ())}
    for name, sample in SAMPLES.items():
        if name not in taken:
            yield Fault.TYPE, f"{name} given", sample
    for option in options:
        yield from _out_of_bounds(option)


def _out_of_bounds(option: JsonObject) -> Iterator[tuple[Fault, str, Any]]:
    match option.get("type"):
        case "string" if "enum" in option:
            yield Fault.CHOICE, "not one of the choices", "no-such-choice"
            yield Fault.NUL, "a choice with a NUL", f"{option['enum'][0]}\0"
        case "string":
            yield Fault.NUL, "a NUL inside", f"{_text(option)}\0"
            if "maxLength" in option:
                yield Fault.SIZE, "too long", "长" * (option["maxLength"] + 1)
            if option.get("minLength"):
                yield Fault.SIZE, "too short", "长" * (option["minLength"] - 1)
            if "pattern" in option or "format" in option:
                yield Fault.CHOICE, "of another form", "另一种写法"
        case "integer" | "number":
            # what no database integer holds, also where the reference states no bound
            yield Fault.SIZE, "beyond 64 bits", 10**30
            yield Fault.SIZE, "beyond 63 bits", option.get("maximum", 2**63 - 1) + 1
            if "minimum" in option:
                yield Fault.SIZE, "too small", option["minimum"] - 1
        case "array" if "maxItems" in option:
            yield Fault.SIZE, "too many", ["x"] * (option["maxItems"] + 1)


def _text(option: JsonObject, text: str = TEXT) -> str:
    known = PATTERNS.get(option.get("pattern", "")) or FORMATS.get(option.get("format", ""))
    return known or (text * option.get("minLength", 1))[: option.get("maxLength")]


def _spoiled(fault: Fault, good: JsonObject, path: tuple[str, ...], why: str, bad: Any) -> Spoiled:
    return Spoiled(fault, ".".join(path), why, _with(good, path, bad))


def _with(good: JsonObject, path: tuple[str, ...], value: Any) -> JsonObject:
    changed = copy.deepcopy(good)
    _at(changed, path[:-1])[path[-1]] = value
    return changed


def _without(good: JsonObject, path: tuple[str, ...]) -> JsonObject:
    changed = copy.deepcopy(good)
    _at(changed, path[:-1]).pop(path[-1], None)
    return changed


def _at(value: JsonObject, path: tuple[str, ...]) -> Any:
    for name in path:
        value = value.get(name) or {}
    return value
