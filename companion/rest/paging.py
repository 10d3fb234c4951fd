"""Lists in pages: `{"items": […], "cursor": …}`, and the cursors that lead from one to the next."""

import base64
import binascii
from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from care.errors import BadRequest

CURSOR_MAX = 512


class Query(BaseModel):
    """Base of a route's query: text becomes numbers and flags, unknown names are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class PageQuery(Query):
    """Base of a list's query."""

    cursor: str | None = Field(default=None, max_length=CURSOR_MAX)
    limit: int = Field(default=20, ge=1, le=100)


class HiddenQuery(PageQuery):
    """Of the staff, who hides what is wrong."""

    hidden: bool = False
    """Lists what is hidden instead of what is seen."""


Item = TypeVar("Item")


class Listed(BaseModel, Generic[Item]):
    """The answer of a list, for the reference."""

    items: list[Item]
    cursor: str | None


class Position(BaseModel):
    """Base of what a cursor holds. Strict: a client can forge one, so its types are checked."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


Name = TypeVar("Name", bound=StrEnum)
Found = TypeVar("Found")
PositionT = TypeVar("PositionT", bound=Position)


def write_cursor(position: Position) -> str:
    """Write where the next page starts as an opaque text."""
    return base64.urlsafe_b64encode(position.model_dump_json().encode()).decode().rstrip("=")


def read_cursor(model: type[PositionT], cursor: str | None) -> PositionT | None:
    """Read a cursor back; none for the first page. Raises BadRequest for one we never wrote."""
    if cursor is None:
        return None
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        return model.model_validate_json(raw)
    except (binascii.Error, ValueError):
        raise BadRequest.field("cursor", "无效的翻页位置") from None


class OlderThan(Position):
    """Where a list sorted by marks goes on."""

    before: str


def marked(query: PageQuery) -> str | None:
    """Read the mark where a page starts; none for the first. Raises BadRequest."""
    at = read_cursor(OlderThan, query.cursor)
    return at.before if at else None


def marked_page(
    found: Sequence[Found], limit: int, mark: Callable[[Found], str], show: Callable[[Found], Any]
) -> dict[str, Any]:
    """Give a page of what was asked for with one more, which says whether another page follows."""
    shown = found[:limit]
    following = OlderThan(before=mark(shown[-1])) if len(found) > limit else None
    return page([show(one) for one in shown], following)


def several(names: str | None, kind: type[Name]) -> list[Name] | None:
    """Read a filter's one name, or several with commas; None is any. Raises BadRequest."""
    if names is None:
        return None
    try:
        return [kind(name) for name in names.split(",")]
    except ValueError:
        raise BadRequest.field("state", f"应为 {', '.join(kind)} 之一") from None


def page(items: Sequence[Any], following: Position | None = None) -> dict[str, Any]:
    """Give one page of a list; `following` is where the next starts, none at the end."""
    return {"items": list(items), "cursor": write_cursor(following) if following else None}
