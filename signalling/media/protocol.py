"""What a hub and its media workers say to each other: JSON behind its length, over a local socket.

A hub asks `{"id", "do", …}` and is answered `{"id", "done"}` or `{"id", "refused"}`; a worker
begins with `{"hello"}`, and tells `{"event", …}` when it happens.
"""

import asyncio
from collections.abc import Mapping
from typing import Any

import orjson

from care.errors import BadRequest, CareError, Conflict, Unavailable

LENGTH = 4
FRAME_MAX = 1 << 20

REFUSALS: Mapping[str, type[CareError]] = {
    error.code: error for error in (BadRequest, Conflict, Unavailable)
}


class Broken(Exception):
    """The other end said what is no frame."""


def frame(said: Mapping[str, Any]) -> bytes:
    data = orjson.dumps(said)
    return len(data).to_bytes(LENGTH, "big") + data


async def read(reader: asyncio.StreamReader) -> dict[str, Any] | None:
    """Read the next frame; None at the end. Raises Broken."""
    try:
        length = int.from_bytes(await reader.readexactly(LENGTH), "big")
        if length > FRAME_MAX:
            raise Broken(f"a frame of {length} bytes")
        said = orjson.loads(await reader.readexactly(length))
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    except orjson.JSONDecodeError as error:
        raise Broken(str(error)) from None
    if not isinstance(said, dict):
        raise Broken("no object")
    return said


def refusal(error: CareError) -> dict[str, Any]:
    fields = error.fields if isinstance(error, BadRequest) else None
    return {"code": error.code, "message": error.message, "fields": fields}


def raised(said: Mapping[str, Any]) -> CareError:
    """Make the error again that a worker refused with."""
    kind = REFUSALS.get(said["code"], Unavailable)
    if kind is BadRequest and said["fields"]:
        return BadRequest(said["message"], fields=said["fields"])
    return kind(said["message"])
