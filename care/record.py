"""What every stored record has in common: frozen, strict about its fields, copied to change."""

import functools
import secrets
from datetime import UTC, datetime
from typing import Any, Self

from pydantic import BaseModel, ConfigDict

MINUTE = 60
HOUR = 3600
DAY = 86400


class Record(BaseModel):
    """A frozen record; `changed` returns a copy."""

    # a failed validation must not carry a patient's data into a log
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    def changed(self, **fields: Any) -> Self:
        """Return a copy with these fields replaced, validated again."""
        return type(self).model_validate({**dict(self), **fields})


def new_id(now: datetime) -> str:
    """Make an id that sorts by time: 12 hex digits of milliseconds, then 64 random bits."""
    return f"{int(now.timestamp() * 1000):012x}{secrets.token_hex(8)}"


# the messages of one write share their time, and each is written out several times
@functools.lru_cache(maxsize=1024)
def wire_time(at: datetime) -> str:
    """Write a time as the wire has it: UTC, milliseconds, `Z`."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def read_time(text: str) -> datetime:
    """Read what `wire_time` wrote."""
    return datetime.fromisoformat(text)


def to_millisecond(at: datetime) -> datetime:
    """Cut to what MongoDB keeps, so that a record reads back equal to what was written."""
    return at.replace(microsecond=at.microsecond // 1000 * 1000)
