import json
import re
from typing import Any

from care.accounts import Role
from realtime.gateway.asyncapi import document
from realtime.gateway.table import ServerEvent
from tests.realtime.gateway.conftest import Book, Text


def described() -> dict[str, Any]:
    events = [ServerEvent("message:new", "a message", Text), ServerEvent("echo")]
    return document(Book().table(), events, "1.2.3")


def test_every_command_and_event_is_described() -> None:
    written = described()
    assert written["asyncapi"] == "3.0.0"
    assert written["info"]["version"] == "1.2.3"
    operations = written["operations"]
    assert {name for name, o in operations.items() if o["action"] == "receive"} == {
        command.name for command in Book().table()
    }
    assert {name for name, o in operations.items() if o["action"] == "send"} == {
        "on_message_new",
        "on_echo",
    }
    assert operations["doctors"]["x-roles"] == [Role.DOCTOR]
    assert all("reply" in o for o in operations.values() if o["action"] == "receive")


def test_every_reference_leads_somewhere_and_ids_are_allowed() -> None:
    written = described()
    for reference in re.findall(r'"\$ref": "#/([^"]+)"', json.dumps(written)):
        node = written
        for part in reference.split("/"):
            node = node[part]
    names = [*written["operations"], *written["channels"]["socket"]["messages"]]
    assert all(re.fullmatch(r"[A-Za-z0-9_\-]+", name) for name in names)


def test_payloads_say_what_they_refuse() -> None:
    text = described()["components"]["schemas"]["Text"]
    assert text["properties"]["text"]["maxLength"] == 20
    assert text["additionalProperties"] is False
