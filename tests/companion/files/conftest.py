"""Fixtures of the attachments' tests."""

from collections.abc import AsyncIterator

import pytest

from care.policy import FilePolicy
from companion.probe.inspector import Inspector
from storage.database import Database
from tests.companion.files.server import FilesServer, serving


@pytest.fixture(scope="session")
async def inspector() -> AsyncIterator[Inspector]:
    inspector = Inspector(FilePolicy())
    yield inspector
    await inspector.close()


@pytest.fixture
async def files(database: Database, inspector: Inspector) -> AsyncIterator[FilesServer]:
    async with serving(database, inspector) as server:
        yield server
