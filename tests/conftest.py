"""Fixtures of every test: one real mongod a run, one empty database a test."""

import secrets
from collections.abc import AsyncIterator

import pytest

from storage.database import Database
from storage.embedded import EmbeddedMongo

LONGEST = (
    "scenarios/test_transfer_races", "scenarios/test_crashes", "scenarios/test_schemathesis",
    "scenarios/test_slot_rush", "scenarios/test_races", "scenarios/test_deadlines_and_processes",
    "clients/test_relayed_calls", "clients/test_calls", "scenarios/test_reviews",
)  # fmt: skip
"""The modules that take the most time."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest: at the end one process would run it, and the other wait."""

    def place(item: pytest.Item) -> int:
        name = f"{item.path.parent.name}/{item.path.stem}"
        return LONGEST.index(name) if name in LONGEST else len(LONGEST)

    items.sort(key=place)


@pytest.fixture(scope="session")
async def mongo_uri(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    mongo = EmbeddedMongo(tmp_path_factory.mktemp("data"))
    await mongo.start()
    yield mongo.uri
    await mongo.stop()


@pytest.fixture
async def database(mongo_uri: str) -> AsyncIterator[Database]:
    database = Database(mongo_uri, f"test_{secrets.token_hex(6)}")
    yield database
    await database.client.drop_database(database.db.name)
    await database.close()
