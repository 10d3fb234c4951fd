"""Write the OpenAPI 3.1 document of a table of routes."""

import re
from collections.abc import Mapping, Sequence
from types import UnionType
from typing import Literal, cast, get_args

import orjson
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from companion.rest.examples import Examples, JsonObject
from companion.rest.kernel import KEY_MAX, PREFIX, Also, Answer, Call, Content, Route
from companion.rest.problems import MEDIA_TYPE, STATUS

Mode = Literal["validation", "serialization"]

REF = "#/components/schemas/{model}"
PROBLEM: JsonObject = {
    "type": "object",
    "required": ["type", "title", "status", "detail", "code", "retry"],
    "properties": {
        "type": {"type": "string", "format": "uri"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "A sentence for the user"},
        "code": {"enum": sorted(kind.code for kind in STATUS)},
        "retry": {"type": "boolean", "description": "Whether trying again makes sense"},
        "fields": {"type": "object", "additionalProperties": {"type": "string"}},
        "retry_after_ms": {"type": "integer"},
        "reason": {"type": "string", "description": "A finer code, where one helps the client"},
    },
}


def with_document(routes: Sequence[Route], version: str) -> list[Route]:
    """Add the row that serves the document of all of them, itself included."""

    async def show(_call: Call) -> JsonObject:
        return written

    row = Route(
        "GET", "/openapi.json", show, public=True, tag="reference", summary="This document",
        answer={"type": "object"},
    )  # fmt: skip
    whole = [*routes, row]
    written = document(whole, version)
    return whole


def document(routes: Sequence[Route], version: str) -> JsonObject:
    """Describe the routes, with their models' schemas, problems and security."""
    models = _Models(routes)
    paths: dict[str, JsonObject] = {}
    for route in routes:
        path = paths.setdefault(PREFIX + route.path, {})
        path[route.method.lower()] = _operation(route, models)
    return _readable({
        "openapi": "3.1.0",
        "info": {"title": "Wenzhen", "version": version},
        "paths": paths,
        "components": {
            "schemas": {"Problem": PROBLEM, **models.schemas},
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}
            },
        },
    })  # fmt: skip


def _readable(document: JsonObject) -> JsonObject:
    """Name two schemas of one name by their files, and leave our folders out of it."""
    text = re.sub(
        r"(?:companion__rest__|care__)([a-z_]+?)__", r"\1.", orjson.dumps(document).decode()
    )
    return cast(JsonObject, orjson.loads(text))


class _Models:
    """The schemas of all models, and the reference to each: two of one name stay apart.

    What is asked is described as it is read, what is answered as it is written: there a field with
    a default is always present.
    """

    def __init__(self, routes: Sequence[Route]) -> None:
        asked: set[type[BaseModel]] = {
            model for route in routes for model in (route.body, route.query) if model
        }
        answered = {
            model
            for route in routes
            for answer in (route.answer, *(also.content for also in route.also))
            for model in _models(answer)
        }
        self._references, definitions = models_json_schema(
            [*_in_order(asked, "validation"), *_in_order(answered, "serialization")],
            ref_template=REF,
        )
        self.schemas: JsonObject = definitions.get("$defs", {})
        self._asked = Examples(self.schemas, asked=True)
        self._answered = Examples(self.schemas, asked=False)

    def body(self, model: type[BaseModel]) -> JsonObject:
        schema = self._references[(model, "validation")]
        return {"schema": schema, "example": self._asked.of(schema)}

    def content(self, answer: Answer | Content) -> JsonObject:
        """Describe what an answer carries, by media type."""
        if isinstance(answer, Content):
            return {answer.media_type: {"schema": dict(answer.schema or {})}}
        if isinstance(answer, Mapping):
            return {"application/json": {"schema": dict(answer)}}
        schemas = [self._references[(model, "serialization")] for model in _models(answer)]
        schema = schemas[0] if len(schemas) == 1 else {"anyOf": schemas}
        return {"application/json": {"schema": schema, "example": self._answered.of(schema)}}

    def fields(self, model: type[BaseModel]) -> JsonObject:
        """Give the object schema of a model that is asked."""
        name = self._references[(model, "validation")]["$ref"].rpartition("/")[2]
        return cast(JsonObject, self.schemas[name])


def _in_order(models: set[type[BaseModel]], mode: Mode) -> list[tuple[type[BaseModel], Mode]]:
    ordered = sorted(models, key=lambda model: (model.__qualname__, model.__module__))
    return [(model, mode) for model in ordered]


def _models(answer: Answer | Content | None) -> tuple[type[BaseModel], ...]:
    if isinstance(answer, UnionType):
        return get_args(answer)
    return (answer,) if isinstance(answer, type) else ()


def _operation(route: Route, models: _Models) -> JsonObject:
    operation: JsonObject = {
        "operationId": _operation_id(route),
        "summary": route.summary,
        "tags": [route.tag] if route.tag else [],
        "parameters": [
            *_path_parameters(route), *_query_parameters(route, models), *_headers(route),
        ],
        "responses": _responses(route, models),
        "security": [] if route.public else [{"bearer": []}],
    }  # fmt: skip
    if route.body:
        content = {"application/json": models.body(route.body)}
        operation["requestBody"] = {"required": True, "content": content}
    if route.upload:
        operation["requestBody"] = {"required": True, "content": models.content(route.upload)}
    if route.roles is not None:
        operation["x-roles"] = sorted(route.roles)
    return operation


def _operation_id(route: Route) -> str:
    words = re.findall(r"[A-Za-z0-9]+", route.path)
    return "_".join([route.method.lower(), *words])


def _path_parameters(route: Route) -> list[JsonObject]:
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in re.findall(r"{(\w+)", route.path)
    ]


def _query_parameters(route: Route, models: _Models) -> list[JsonObject]:
    if route.query is None:
        return []
    schema = models.fields(route.query)
    required = schema.get("required", [])
    return [
        {"name": name, "in": "query", "required": name in required, "schema": _present(field)}
        for name, field in schema.get("properties", {}).items()
    ]


def _present(field: JsonObject) -> JsonObject:
    """Describe a parameter that is there: a query has no null."""
    options = [option for option in field.get("anyOf", ()) if option != {"type": "null"}]
    kept: JsonObject = {
        name: value for name, value in field.items() if name not in ("anyOf", "default")
    }
    default = {"default": field["default"]} if field.get("default") is not None else {}
    match options:
        case []:
            return kept | default
        case [only]:
            return {**kept, **only, **default}
    return kept | {"anyOf": options} | default


def _headers(route: Route) -> list[JsonObject]:
    """Name the header that makes sending a creation again harmless."""
    if route.method != "POST" or route.status != 201 or route.public:
        return []
    schema = {"type": "string", "minLength": 1, "maxLength": KEY_MAX, "pattern": "^[ -~]+$"}
    return [{"name": "Idempotency-Key", "in": "header", "required": False, "schema": schema}]


def _responses(route: Route, models: _Models) -> JsonObject:
    usual = Also(route.status, route.summary or "Done", route.answer)
    described: JsonObject = {"default": _problem()}
    for one in (usual, *route.also):
        content = {"content": models.content(one.content)} if one.content is not None else {}
        described[str(one.status)] = {"description": one.says, **content}
    return described


def _problem() -> JsonObject:
    return {
        "description": "Refused",
        "content": {MEDIA_TYPE: {"schema": {"$ref": REF.format(model="Problem")}}},
    }
