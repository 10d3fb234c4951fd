"""The socket's reference, generated from the command table: an AsyncAPI 3.0 document."""

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from care.errors import CareError
from realtime.gateway.server import Auth
from realtime.gateway.table import Command, ServerEvent

SCHEMAS = "#/components/schemas/{model}"
CHANNEL = "#/channels/socket"
DESCRIPTION = """Socket.IO (protocol 5, Engine.IO 4), WebSocket only, namespace `/`.
CONNECT carries `Auth`. A command is an event with one object; its acknowledgement is `Answer`.
"""

ERROR: Mapping[str, Any] = {
    "type": "object",
    "required": ["code", "message", "retry"],
    "properties": {
        "code": {"enum": sorted({kind.code for kind in CareError.__subclasses__()})},
        "message": {"type": "string", "description": "A sentence the user may read"},
        "retry": {"type": "boolean", "description": "Whether trying again makes sense"},
        "fields": {"type": "object", "additionalProperties": {"type": "string"}},
        "retry_after_ms": {"type": "integer"},
    },
}
ANSWER: Mapping[str, Any] = {
    "oneOf": [
        {"type": "object", "required": ["ok"], "properties": {"ok": {"const": True}}},
        {
            "type": "object",
            "required": ["ok", "error"],
            "properties": {
                "ok": {"const": False},
                "error": {"$ref": SCHEMAS.format(model="Error")},
            },
        },
    ]
}


def document(
    commands: Iterable[Command[Any]], events: Iterable[ServerEvent], version: str
) -> dict[str, Any]:
    """Describe every command a client may send and every event it may get."""
    commands, events = list(commands), list(events)
    models = [c.payload for c in commands] + [e.payload for e in events if e.payload] + [Auth]
    references, schemas = _schemas(models)
    messages = {_key(c.name): _message(c.name, references[c.payload], c.summary) for c in commands}
    messages |= {
        _pushed(e.name): _message(e.name, references.get(e.payload, {"type": "object"}), e.summary)
        for e in events
    }
    messages["answer"] = _message("answer", {"$ref": SCHEMAS.format(model="Answer")}, "")
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "Wenzhen", "version": version, "description": DESCRIPTION},
        "defaultContentType": "application/json",
        "channels": {"socket": {"address": "/socket.io/", "messages": messages}},
        "operations": {_key(c.name): _command(c) for c in commands}
        | {_pushed(e.name): _operation("send", _pushed(e.name), e.summary) for e in events},
        "components": {"schemas": {**schemas, "Error": ERROR, "Answer": ANSWER}},
    }


def _schemas(
    models: Iterable[type[BaseModel]],
) -> tuple[dict[type[BaseModel] | None, Mapping[str, Any]], Mapping[str, Any]]:
    """Give each model's reference, and the definitions they point to."""
    unique = dict.fromkeys(models)
    references, definitions = models_json_schema(
        [(model, "validation") for model in unique], ref_template=SCHEMAS
    )
    return {model: references[model, "validation"] for model in unique}, definitions["$defs"]


def _message(name: str, payload: Mapping[str, Any], summary: str) -> dict[str, Any]:
    return {"name": name, "summary": summary, "payload": payload}


def _command(command: Command[Any]) -> dict[str, Any]:
    operation = _operation("receive", _key(command.name), command.summary)
    operation["reply"] = {
        "channel": {"$ref": CHANNEL},
        "messages": [{"$ref": f"{CHANNEL}/messages/answer"}],
    }
    if command.roles is not None:
        operation["x-roles"] = sorted(command.roles)
    return operation


def _operation(action: str, message: str, summary: str) -> dict[str, Any]:
    """Describe one direction, seen from the server: it receives commands and sends events."""
    return {
        "action": action,
        "channel": {"$ref": CHANNEL},
        "summary": summary,
        "messages": [{"$ref": f"{CHANNEL}/messages/{message}"}],
    }


def _key(name: str) -> str:
    """Make an id: the standard allows no colon in one."""
    return name.replace(":", "_")


def _pushed(event: str) -> str:
    """Make an event's id: a command may have the same name."""
    return f"on_{_key(event)}"
