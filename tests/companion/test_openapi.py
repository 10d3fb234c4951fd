"""The REST reference: complete, and its examples fit what it describes."""

from collections.abc import Iterator
from typing import Any

import jsonschema_rs
import pytest

from care.policy import Policy
from companion.rest import openapi
from companion.rest.kernel import Route
from realtime import app
from realtime.secrets import MAKERS, parse
from realtime.settings import Settings

JsonObject = dict[str, Any]


@pytest.fixture(scope="module")
async def routes() -> list[Route]:
    secrets = parse({name: make() for name, make in MAKERS.items()}, optional={})
    settings = Settings(demo=True, **dict(Policy()))
    parts = app.Hub(app.Runtime(settings, secrets, "mongodb://unused.invalid"))
    rows = parts.routes()
    await parts.stop()
    return rows


@pytest.fixture(scope="module")
def document(routes: list[Route]) -> JsonObject:
    return openapi.document(routes, "1.2.3")


def operations(document: JsonObject) -> Iterator[tuple[str, JsonObject]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield f"{method.upper()} {path}", operation


def test_every_route_says_what_it_is_for_and_what_it_answers(document: JsonObject) -> None:
    silent = []
    for name, operation in operations(document):
        assert operation["summary"], name
        assert operation["tags"], name
        good = {s: r for s, r in operation["responses"].items() if s.startswith("2")}
        bodiless = name.startswith("HEAD") or set(good) == {"204"}
        if not bodiless and not all("content" in answer for answer in good.values()):
            silent.append(name)
    assert not silent


def test_operations_have_names_of_their_own(document: JsonObject) -> None:
    names = [operation["operationId"] for _, operation in operations(document)]
    assert len(names) == len(set(names))


def test_every_json_body_has_an_example_that_fits(document: JsonObject) -> None:
    wrong, tried = [], 0
    for name, operation in operations(document):
        bodies = [operation.get("requestBody", {}), *operation["responses"].values()]
        for body in bodies:
            described = body.get("content", {}).get("application/json")
            if described is None or described["schema"] == {"type": "object"}:
                continue
            tried += 1
            whole = {**described["schema"], "components": document["components"]}
            checker = jsonschema_rs.Draft202012Validator(whole, validate_formats=True)
            problems = [e.message for e in checker.iter_errors(described["example"])]
            wrong += [(name, problems)] if problems else []
    assert not wrong
    assert tried > 150


def test_examples_hold_no_real_number(document: JsonObject) -> None:
    text = str(document)
    assert "11010119850312101X" in text
    assert "13800000001" not in text
