"""The stock JavaScript socket.io-client on the real server: what any client may rely on."""

import asyncio
import shutil
from pathlib import Path

import pytest

from tests.clients.node import HERE, install, need, run_driver
from tests.server import ServerProcess

CACHE = Path("build/clients").resolve()


@pytest.mark.rule("R2")
async def test_the_stock_client_talks_loses_its_engine_comes_back_and_resumes(
    server: ServerProcess,
) -> None:
    need("node")
    folder = await asyncio.to_thread(install, CACHE)
    # a module finds its packages from where it lies
    driver = Path(shutil.copy(HERE / "stock_client.mjs", folder))

    lines = await run_driver(driver, server.url)

    assert {line["what"]: line["detail"] for line in lines} == {
        "refused": {"message": lines[0]["detail"]["message"], "code": "unauthenticated"},
        "made": "awaiting_doctor",
        "accepted": "in_progress",
        "joined": {"ok": True, "open": True, "first": "card"},
        "sent": {"ok": True, "next": True},
        "heard": {"same": True},
        "again": {"same": True},
        "unknown": "bad_request",
        "closed_engine": "websocket",
        "away": "forced close",
        "resumed": {"seqs": [1, 2], "texts": ["请描述", "有无发热"]},
        "ended": "ended",
        "after": "closed",
    }
