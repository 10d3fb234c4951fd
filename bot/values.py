"""Names and paths of the language: `${room}` puts a saved value in, a path gets one out."""

import re
from collections.abc import Mapping
from typing import Any

from bot.errors import Broken

_NAME = re.compile(r"\$\{([^}]*)\}")
_PART = re.compile(
    r"""\.?(?:
        (?P<key>[^.\[\]]+)
      | \[(?P<index>-?\d+)\]
      | \[(?P<field>[^\]=]+)=(?P<wanted>[^\]]*)\]
    )""",
    re.VERBOSE,
)


def resolve(value: Any, names: Mapping[str, Any]) -> Any:
    """Put the named values into a value; a string that is one `${name}` takes the value's type."""
    if isinstance(value, dict):
        return {key: resolve(item, names) for key, item in value.items()}
    if isinstance(value, list):
        return [resolve(item, names) for item in value]
    if not isinstance(value, str):
        return value
    if whole := _NAME.fullmatch(value):
        return pick(names, whole[1])
    return _NAME.sub(lambda found: str(pick(names, found[1])), value)


def pick(value: Any, path: str) -> Any:
    """Follow a path such as `items[name=炎帝].id` or `messages[-1].seq`. Raises Broken."""
    at = 0
    while at < len(path):
        part = _PART.match(path, at)
        if part is None:
            raise Broken(f"the path {path!r} cannot be read at {path[at:]!r}")
        try:
            value = _step(value, part)
        except (KeyError, IndexError, TypeError, StopIteration):
            raise Broken(f"{path!r}: there is no {part[0].lstrip('.')!r}") from None
        at = part.end()
    return value


def _step(value: Any, part: re.Match[str]) -> Any:
    if part["key"] is not None:
        return value[part["key"]]
    if part["index"] is not None:
        return value[int(part["index"])]
    return next(item for item in value if str(item[part["field"]]) == part["wanted"])
