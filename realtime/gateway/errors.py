"""The one mapper from what went wrong to what the client may know of it."""

import asyncio
from typing import TypeVar

import orjson
import structlog
from pydantic import BaseModel, ValidationError

from care.errors import BadRequest, CareError, Internal, Unavailable
from care.fields import refuse
from storage.database import DATABASE_AWAY

P = TypeVar("P", bound=BaseModel)

logger = structlog.get_logger(__name__)


class BadFrame(Exception):
    """What was received is not the protocol: counted, and too many cut the connection."""


class Malformed(BadRequest):
    """An event that isn't one: answered like any refusal, and a bad frame too."""


def to_care(error: BaseException, *, connection: str, command: str) -> CareError:
    """Let expected errors through; log an unknown one whole and answer it bare."""
    if isinstance(error, CareError):
        return error
    if isinstance(error, asyncio.CancelledError):
        # what it waited for was given up
        return Unavailable()
    if isinstance(error, DATABASE_AWAY):
        logger.warning("database_away", command=command, error=type(error).__name__)
        return Unavailable()
    logger.error("command_failed", connection=connection, command=command, exc_info=error)
    return Internal()


def parse(model: type[P], value: object) -> P:
    """Validate a client's object once, strictly. Raises BadRequest that names the fields."""
    try:
        # strict validation takes enums and dates as text only from JSON
        return model.model_validate_json(orjson.dumps(value))
    except ValidationError as error:
        raise refuse(error) from None
    except orjson.JSONEncodeError:
        raise BadRequest("嵌套过深") from None
