"""Write the OpenAPI 3.1 document of a table of routes."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, cast

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from companion.rest.kernel import PREFIX, Call, Route
from companion.rest.problems import MEDIA_TYPE, STATUS

REF = "#/components/schemas/{model}"
JsonObject = dict[str, Any]

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
    return {
        "openapi": "3.1.0",
        "info": {"title": "Wenzhen", "version": version},
        "paths": paths,
        "components": {
            "schemas": {"Problem": PROBLEM, **models.schemas},
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}
            },
        },
    }


class _Models:
    """The schemas of all models, and the reference to each: two of one name stay apart."""

    def __init__(self, routes: Sequence[Route]) -> None:
        named = {
            model
            for route in routes
            for model in (route.body, route.query, route.answer)
            if isinstance(model, type)
        }
        self._references, definitions = models_json_schema(
            [(model, "validation") for model in sorted(named, key=lambda m: m.__qualname__)],
            ref_template=REF,
        )
        self.schemas: JsonObject = definitions.get("$defs", {})

    def reference(self, model: type[BaseModel] | Mapping[str, Any]) -> JsonObject:
        if isinstance(model, Mapping):
            return dict(model)
        return self._references[(model, "validation")]

    def fields(self, model: type[BaseModel]) -> JsonObject:
        """Give the object schema of a model itself."""
        name = self.reference(model)["$ref"].rpartition("/")[2]
        return cast(JsonObject, self.schemas[name])


def _operation(route: Route, models: _Models) -> JsonObject:
    operation: JsonObject = {
        "operationId": _operation_id(route),
        "summary": route.summary,
        "tags": [route.tag] if route.tag else [],
        "parameters": [*_path_parameters(route), *_query_parameters(route, models)],
        "responses": {str(route.status): _answer(route, models), "default": _problem()},
        "security": [] if route.public else [{"bearer": []}],
    }
    if route.body:
        operation["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": models.reference(route.body)}},
        }
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
        {"name": name, "in": "query", "required": name in required, "schema": field}
        for name, field in schema.get("properties", {}).items()
    ]


def _answer(route: Route, models: _Models) -> JsonObject:
    answer: JsonObject = {"description": route.summary or "Done"}
    if route.answer is not None:
        answer["content"] = {"application/json": {"schema": models.reference(route.answer)}}
    return answer


def _problem() -> JsonObject:
    return {
        "description": "Refused",
        "content": {MEDIA_TYPE: {"schema": {"$ref": REF.format(model="Problem")}}},
    }
