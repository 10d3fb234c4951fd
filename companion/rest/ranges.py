"""Read `Range` and `If-None-Match` (RFC 9110): one range of bytes is served, others ignored."""

import re
from dataclasses import dataclass

_ONE_RANGE = re.compile(r"bytes\s*=\s*(\d{0,18})-(\d{0,18})", re.ASCII | re.IGNORECASE)


class NotSatisfiable(Exception):
    """The range lies behind the end."""


@dataclass(frozen=True, slots=True)
class Span:
    """Bytes from `start` up to, and without, `stop`."""

    start: int
    stop: int

    def content_range(self, size: int) -> str:
        return f"bytes {self.start}-{self.stop - 1}/{size}"


def read_range(header: str | None, size: int) -> Span | None:
    """Give the span asked for, or None to send everything. Raises NotSatisfiable.

    A header that is malformed, in other units or with several ranges counts as absent, as the
    section allows.
    """
    matched = _ONE_RANGE.fullmatch(header.strip()) if header else None
    if matched is None:
        return None
    first, last = matched.groups()
    if first:
        return _from_first(int(first), int(last) if last else size - 1, size)
    if not last:
        return None
    if int(last) == 0 or size == 0:
        raise NotSatisfiable
    return Span(max(size - int(last), 0), size)


def _from_first(first: int, last: int, size: int) -> Span | None:
    if first >= size:
        raise NotSatisfiable
    if last < first:
        return None
    return Span(first, min(last + 1, size))


def matches(header: str | None, etag: str) -> bool:
    """Say whether an `If-None-Match` list holds this tag (weak comparison)."""
    if header is None:
        return False
    tags = [tag.strip().removeprefix("W/") for tag in header.split(",")]
    return "*" in tags or etag in tags
