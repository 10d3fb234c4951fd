"""Say in the user's language what is wrong with which field of an input."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from care.errors import BadRequest

WHOLE = "body"
"""What the input itself is called when no single field of it is to blame."""

REASONS: Mapping[str, str] = {
    "missing": "必填",
    "extra_forbidden": "不认识的字段",
    "string_type": "应为文字",
    "int_type": "应为整数",
    "int_parsing": "应为整数",
    "int_from_float": "应为整数",
    "float_type": "应为数字",
    "float_parsing": "应为数字",
    "finite_number": "应为数字",
    "bool_type": "应为 true 或 false",
    "bool_parsing": "应为 true 或 false",
    "list_type": "应为列表",
    "tuple_type": "应为列表",
    "dict_type": "应为对象",
    "model_type": "应为对象",
    "string_too_short": "至少 {min_length} 个字符",
    "string_too_long": "最多 {max_length} 个字符",
    "too_short": "至少 {min_length} 项",
    "too_long": "最多 {max_length} 项",
    "greater_than": "应大于 {gt}",
    "greater_than_equal": "不能小于 {ge}",
    "less_than": "应小于 {lt}",
    "less_than_equal": "不能大于 {le}",
    "enum": "应为 {expected} 之一",
    "literal_error": "应为 {expected} 之一",
    "value_error": "{error}",
}


def refuse(error: ValidationError) -> BadRequest:
    """Turn what pydantic found into the refusal the client reads."""
    fields = {_path(e["loc"]): _reason(e) for e in error.errors(include_url=False)}
    name, why = next(iter(fields.items()))
    return BadRequest(f"{name}：{why}", fields=fields)


def refuse_unstorable(value: Any) -> None:
    """Refuse text with a NUL or half a surrogate pair in it, wherever it stands. Raises BadRequest.

    Neither survives the way to a database key, a log line and another client's parser.
    """
    for path, text in _texts(value):
        if "\0" in text or not _encodable(text):
            raise BadRequest.field(_path(path), "含有不允许的字符")


def _texts(value: Any) -> Iterator[tuple[tuple[int | str, ...], str]]:
    """Walk every text of a parsed JSON value, keys included, without recursion."""
    waiting: list[tuple[tuple[int | str, ...], Any]] = [((), value)]
    while waiting:
        path, node = waiting.pop()
        if isinstance(node, str):
            yield path, node
        elif isinstance(node, Mapping):
            yield from ((path, key) for key in node)
            waiting.extend(((*path, key), child) for key, child in node.items())
        elif isinstance(node, Sequence):
            waiting.extend(((*path, i), child) for i, child in enumerate(node))


def _encodable(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _path(location: tuple[int | str, ...]) -> str:
    return ".".join(str(part) for part in location) or WHOLE


def _reason(error: ErrorDetails) -> str:
    template = REASONS.get(error["type"], "格式不正确")
    return template.format(**error.get("ctx", {}))
