"""What a scenario expects of a value: a subset, with a few matchers for what isn't known before.

An object matches when each expected field matches; fields not named are free. A list matches
element by element and in length. An object whose keys begin with `$` is a set of matchers.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

MISSING = object()

_ORDER: Mapping[str, Callable[[Any, Any], bool]] = {
    "$gt": lambda got, bound: got > bound,
    "$gte": lambda got, bound: got >= bound,
    "$lt": lambda got, bound: got < bound,
    "$lte": lambda got, bound: got <= bound,
}


def differences(expected: Any, got: Any, at: str = "") -> list[str]:
    """List how `got` is not what is expected, each with its path; nothing when it matches."""
    if isinstance(expected, dict):
        if expected and all(key.startswith("$") for key in expected):
            return [
                line for name, wanted in expected.items() for line in _apply(name, wanted, got, at)
            ]
        return _compare_objects(expected, got, at)
    if isinstance(expected, list):
        return _compare_lists(expected, got, at)
    # True == 1 in Python, not on the wire
    same = expected == got and isinstance(expected, bool) == isinstance(got, bool)
    return [] if same else [_say(at, expected, got)]


def matches(expected: Any, got: Any) -> bool:
    return not differences(expected, got)


def _compare_objects(expected: Mapping[str, Any], got: Any, at: str) -> list[str]:
    if not isinstance(got, dict):
        return [_say(at, "an object", got)]
    return [
        line
        for key, wanted in expected.items()
        for line in differences(wanted, got.get(key, MISSING), f"{at}.{key}" if at else key)
    ]


def _compare_lists(expected: list[Any], got: Any, at: str) -> list[str]:
    if not isinstance(got, list):
        return [_say(at, "a list", got)]
    if len(expected) != len(got):
        return [_say(at, f"a list of {len(expected)}", got)]
    return [
        line
        for index, (wanted, item) in enumerate(zip(expected, got, strict=True))
        for line in differences(wanted, item, f"{at}[{index}]")
    ]


def _apply(name: str, wanted: Any, got: Any, at: str) -> list[str]:
    if name == "$any":
        return [] if (got is not MISSING) == wanted else [_say(at, f"$any: {wanted}", got)]
    if got is MISSING:
        return [_say(at, {name: wanted}, got)]
    if name == "$len":
        return differences(wanted, len(got) if hasattr(got, "__len__") else got, f"{at}.length")
    return [] if _holds(name, wanted, got) else [_say(at, {name: wanted}, got)]


def _holds(name: str, wanted: Any, got: Any) -> bool:
    if name == "$regex":
        return isinstance(got, str) and re.search(wanted, got) is not None
    if name == "$contains":
        return isinstance(got, list) and any(matches(wanted, item) for item in got)
    try:
        return _ORDER[name](got, wanted)
    except TypeError:
        return False


MATCHERS = frozenset({*_ORDER, "$any", "$len", "$regex", "$contains"})


def unknown_matchers(expected: Any) -> set[str]:
    """Find names that look like matchers and are none, so that a typing error can't pass."""
    if isinstance(expected, list):
        return set().union(*map(unknown_matchers, expected))
    if not isinstance(expected, dict):
        return set()
    mine = {key for key in expected if str(key).startswith("$")}
    mixed = mine if len(mine) != len(expected) else mine - MATCHERS
    return mixed.union(*map(unknown_matchers, expected.values()))


def _say(at: str, expected: Any, got: Any) -> str:
    have = "nothing" if got is MISSING else repr(got)
    return f"{at or 'the answer'}: expected {expected!r}, got {have}"
