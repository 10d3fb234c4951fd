"""What the logs show, in processes of their own: logging is configured once a process."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PROGRAM = """
import logging
import structlog
from pydantic import BaseModel
from realtime import logs
from realtime.settings import LogSettings

logs.configure(LogSettings(format={format!r}, level={level!r}))
logger = structlog.get_logger("realtime.example")
class Form(BaseModel):
    age: int
{body}
"""


def logged(body: str, *, format_: str = "json", level: str = "info") -> str:
    program = PROGRAM.format(body=body, format=format_, level=level)
    ended = subprocess.run(  # noqa: S603  our own program
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert ended.stdout == ""
    return ended.stderr


def event(body: str) -> dict[str, Any]:
    (line,) = logged(body).splitlines()
    return dict(json.loads(line))


def test_an_event_is_one_line_with_time_level_and_ids() -> None:
    found = event(
        "structlog.contextvars.bind_contextvars(request='r1', connection='c1')\n"
        "logger.info('room_joined', room='0a')"
    )

    assert found.pop("timestamp").endswith("Z")
    assert found == {
        "event": "room_joined",
        "level": "info",
        "logger": "realtime.example",
        "room": "0a",
        "request": "r1",
        "connection": "c1",
    }


@pytest.mark.parametrize("key", ["phone", "id_card", "password", "token", "text", "body", "code"])
def test_a_personal_value_is_masked_by_its_key(key: str) -> None:
    assert event(f"logger.info('edited', {key}='private')")[key] == "***"


def test_personal_values_are_masked_inside_others() -> None:
    found = event("logger.info('edited', changes=[{'phone': 'private', 'sex': 'f'}])")

    assert found["changes"] == [{"phone": "***", "sex": "f"}]


def test_numbers_of_people_are_masked_wherever_they_stand() -> None:
    found = event("logger.info('failed', reason='13800000001 and 11010119900307421X')")

    assert found["reason"] == "138****0001 and 1101****421X"


def test_a_failures_trace_shows_neither_values_nor_variables() -> None:
    said = logged(
        "secret_variable = 'night-shift-7'\n"
        "try:\n"
        "    Form.model_validate({'age': secret_variable})\n"
        "except ValueError:\n"
        "    logger.exception('failed')"
    )

    assert "ValidationError" in said
    assert "night-shift-7" not in said


def test_a_librarys_log_takes_the_same_way() -> None:
    found = event("logging.getLogger('somelib').warning('lost %s', '13800000001')")

    assert found["event"] == "lost 138****0001"
    assert found["logger"] == "somelib"


def test_a_password_in_an_address_is_masked() -> None:
    found = event("logger.warning('lost', server='mongodb://hub:private@db/')")

    assert found["server"] == "mongodb://***@db/"


def test_debug_shows_the_house_and_never_its_libraries() -> None:
    body = "logging.getLogger('pymongo').debug('command')\nlogger.debug('step')"

    assert [json.loads(line)["event"] for line in logged(body, level="debug").splitlines()] == [
        "step"
    ]


def test_the_console_reads_well_and_masks_the_same() -> None:
    said = logged("logger.info('edited', phone='private', room='0a')", format_="console")

    assert "edited" in said
    assert "room=0a" in said
    assert "private" not in said
