"""Every query of every repository is answered by an index: MongoDB's own plans say so.

All public methods whose arguments can be made are called, also those of repositories that come
later; what each sends is explained on a database with its indexes and nothing in it.
"""

import contextlib
import copy
import inspect
import itertools
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from datetime import date, datetime
from enum import Enum
from functools import partial
from types import NoneType, SimpleNamespace, UnionType
from typing import Any, get_args, get_origin, get_type_hints

import pymongo
import pytest
from pymongo.monitoring import (
    CommandFailedEvent,
    CommandListener,
    CommandStartedEvent,
    CommandSucceededEvent,
)

from care import consultation, directory
from care.accounts import Caller, Role
from care.policy import Policy
from care.reconciliation import Span
from realtime.secrets import MAKERS, parse
from realtime.stores import Stores
from storage.database import Database
from tests.clock import START, ManualClock

ID = "0" * 28
QUERIES = {"find", "aggregate", "count", "distinct", "update", "delete", "findAndModify"}
MOST = 80
"""Calls of one method: arguments that are left out or given, in their combinations."""


class Heard(CommandListener):
    """Keeps the queries that were sent."""

    def __init__(self) -> None:
        self.commands: list[Mapping[str, Any]] = []

    def started(self, event: CommandStartedEvent) -> None:
        if event.command_name in QUERIES:
            self.commands.append(copy.deepcopy(event.command))

    def succeeded(self, event: CommandSucceededEvent) -> None: ...

    def failed(self, event: CommandFailedEvent) -> None: ...


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
async def stores(
    database: Database, mongo_uri: str, heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Stores]:
    listening = partial(pymongo.AsyncMongoClient, event_listeners=[heard])
    monkeypatch.setattr("storage.database.AsyncMongoClient", listening)
    secrets = parse({name: make() for name, make in MAKERS.items()}, optional={})
    watched = Database(mongo_uri, database.db.name)
    stores = Stores(watched, secrets, ManualClock(), Policy(), "node")
    await stores.ensure_indexes()
    yield stores
    await watched.close()


def caller(role: Role) -> Caller:
    return Caller(user=ID, role=role, name="", session=ID, expires_at=START)


VALUES: Mapping[Any, list[Any]] = {
    tuple[str, str]: [("consultation", ID), ("drug_order", ID)],
    str: [ID], int: [20], float: [26.08], bool: [False, True], bytes: [b"x"],
    datetime: [START], date: [START.date()], NoneType: [None],
    Caller: [caller(role) for role in Role],
    Span: [Span(begins=START, ends=START)],
    directory.Rank: [directory.Rank(score=1, count=1, id=ID)],
    directory.Search: [
        directory.Search(text=text, department=department, online=online, order=order)
        for text in (None, "牙", "牙疼") for department in (None, "外科")
        for online in (None, True, False) for order in directory.Order
    ] + [directory.Search(recommended=True)],
    consultation.Search: [
        consultation.Search(),
        consultation.Search(state=consultation.State.ENDED),
        consultation.Search(doctor=ID),
        consultation.Search(patient=ID, begins=START, ends=START),
        consultation.Search(order_no=ID),
        consultation.Search(begins=START, ends=START),
    ],
}  # fmt: skip


def values(kind: Any) -> list[Any]:
    """Give arguments of a type. Raises KeyError where none can be made."""
    if kind in VALUES:
        return VALUES[kind]
    if isinstance(kind, UnionType):
        return [value for option in reversed(get_args(kind)) for value in values(option)]
    if isinstance(kind, type) and issubclass(kind, Enum):
        return list(kind)
    if get_origin(kind) is tuple:
        return [tuple(values(option)[0] for option in get_args(kind))]
    if get_origin(kind) and issubclass(get_origin(kind), Mapping):
        key, value = get_args(kind)
        return [{values(key)[0]: values(value)[0]}]
    if get_origin(kind) and issubclass(get_origin(kind), Iterable):
        return [values(get_args(kind)[0])[:1]]
    raise KeyError(kind)


def calls(method: Callable[..., Any]) -> Iterator[dict[str, Any]]:
    """Give a method's arguments, combined. Raises KeyError where some can't be made."""
    hints = get_type_hints(method)
    named = {name: values(hints[name]) for name in inspect.signature(method).parameters}
    combined = itertools.product(*named.values())
    return (dict(zip(named, one, strict=True)) for one in itertools.islice(combined, MOST))


def methods(stores: Stores) -> Iterator[tuple[str, Callable[..., Any]]]:
    """Give every public method of every repository, by name."""
    for part, store in vars(stores).items():
        for name, method in inspect.getmembers(store, inspect.iscoroutinefunction):
            if not name.startswith("_") and name != "ensure_indexes" and part != "database":
                yield f"{part}.{name}", method


async def call_everything(stores: Stores) -> set[str]:
    """Call what can be called; give what was."""
    called = set()
    for name, method in methods(stores):
        with contextlib.suppress(KeyError):
            for arguments in calls(method):
                # what isn't there is refused, after it was looked for
                with contextlib.suppress(Exception):
                    await method(**arguments)
                called.add(name)
    return called


def stages(plan: Any) -> Iterator[str]:
    """Name every stage of a plan, wherever in the explanation it stands."""
    if isinstance(plan, Mapping):
        for key, value in plan.items():
            if key == "stage":
                yield str(value)
            if key != "rejectedPlans":
                yield from stages(value)
    elif isinstance(plan, list):
        for one in plan:
            yield from stages(one)


async def explained(database: Database, command: Mapping[str, Any]) -> set[str]:
    plain = {
        name: value for name, value in command.items()
        if not name.startswith("$") and name not in {
            "lsid", "txnNumber", "startTransaction", "autocommit", "writeConcern", "readConcern",
            "maxTimeMS",
        }
    }  # fmt: skip
    plan = await database.db.command("explain", plain, verbosity="queryPlanner")
    return set(stages(plan))


async def test_no_query_reads_a_whole_collection(
    database: Database, stores: Stores, heard: Heard
) -> None:
    called = await call_everything(stores)
    assert len(called) > 150
    # what takes whole records writes them by their ids; these two only read
    one: Any = SimpleNamespace(
        id=ID, ancestors=(ID,), doctor=SimpleNamespace(id=ID), waiting_since=START
    )
    await stores.comments.is_shown(one)
    await stores.consultations.ahead(one)
    scanned = [
        command for command in heard.commands if "COLLSCAN" in await explained(database, command)
    ]
    assert not scanned
