"""The servers for the tests of this folder: one in real time, one on a virtual clock."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.server import ServerProcess, server

__all__ = ["server"]


@pytest_asyncio.fixture(scope="session")
async def clocked(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ServerProcess]:
    process = ServerProcess(tmp_path_factory.mktemp("clocked") / "data", "--virtual-clock")
    try:
        await process.start()
        yield process
    finally:
        await process.close()
