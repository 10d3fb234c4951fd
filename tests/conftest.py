"""Fixtures of every test: one real mongod a run, one empty database a test."""

import secrets
from collections.abc import AsyncIterator

import pytest

from storage.database import Database
from storage.embedded import EmbeddedMongo


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
