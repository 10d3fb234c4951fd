"""Logs on stderr: one event a line, with ids of request and connection, without personal data."""

import logging
import re
import sys
from collections.abc import Mapping
from typing import Any

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from realtime.settings import LogSettings

HOUSE = ("care", "storage", "realtime", "signalling", "companion", "bot")
PERSONAL = frozenset(
    {
        "address", "auth", "authorization", "avatar", "birth_date", "body", "code", "cookie",
        "description", "guardian", "id_card", "mobile", "name", "password", "person", "phone",
        "real_name", "refresh_token", "text", "token", "uri",
    }
)  # fmt: skip
MASK = "***"
PHONE = re.compile(r"(?<!\d)1[3-9]\d{9}(?!\d)")
ID_CARD = re.compile(r"(?<!\d)\d{17}[\dXx](?!\d)")
PASSWORD_IN_URL = re.compile(r"(?<=://)[^/\s@]+@")
# pydantic quotes what it refuses
REFUSED_INPUT = re.compile(r"input_value=.*?, input_type=", re.DOTALL)


def configure(settings: LogSettings) -> None:
    """Send the house's logs and its libraries' through one chain."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        mask,
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                renderer(settings),
            ],
        )
    )
    # a library's debug log quotes whole commands and frames, with what patients wrote
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    for package in HOUSE:
        logging.getLogger(package).setLevel(settings.level.upper())


def renderer(settings: LogSettings) -> Processor:
    if settings.format == "json":
        return structlog.processors.JSONRenderer(ensure_ascii=False)
    # the default formatter of exceptions would show every frame's variables
    return structlog.dev.ConsoleRenderer(
        colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
    )


def mask(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:  # noqa: ARG001 structlog's call
    """Blot out what is personal by its key, and numbers of people wherever they stand."""
    return {key: masked(key, value) for key, value in event.items()}


def masked(key: object, value: Any) -> Any:
    if isinstance(key, str) and key.lower() in PERSONAL and value is not None:
        return MASK
    if isinstance(value, Mapping):
        return {inner: masked(inner, content) for inner, content in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [masked(None, content) for content in value]
    return scrubbed(value) if isinstance(value, str) else value


def scrubbed(text: str) -> str:
    text = PHONE.sub(lambda phone: f"{phone[0][:3]}****{phone[0][-4:]}", text)
    text = ID_CARD.sub(lambda card: f"{card[0][:4]}****{card[0][-4:]}", text)
    text = PASSWORD_IN_URL.sub(f"{MASK}@", text)
    return REFUSED_INPUT.sub(f"input_value={MASK}, input_type=", text)
