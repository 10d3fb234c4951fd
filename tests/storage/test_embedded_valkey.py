import asyncio
import os
import shutil
import signal
import stat
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.exceptions import RedisError

from storage.embedded_process import EmbeddedError
from storage.embedded_valkey import EmbeddedValkey, find_valkey

ROOT = Path(__file__).parents[2]
OWNER = """
import asyncio
from storage.embedded_valkey import EmbeddedValkey

async def main():
    valkey = EmbeddedValkey()
    await valkey.start()
    print(valkey.url, flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


@pytest.fixture
async def valkey() -> AsyncIterator[EmbeddedValkey]:
    valkey = EmbeddedValkey()
    await valkey.start()
    yield valkey
    await valkey.stop()


def mode(folder: Path) -> int | None:
    return stat.S_IMODE(folder.stat().st_mode) if folder.exists() else None


async def process_id(client: Redis) -> int | None:
    try:
        return int((await client.info("server"))["process_id"])
    except RedisError:
        return None


async def test_two_clients_meet_in_a_channel(valkey: EmbeddedValkey) -> None:
    async with Redis.from_url(valkey.url) as sender, Redis.from_url(valkey.url) as receiver:
        channel: Any = receiver.pubsub()  # redis types it in part
        await channel.subscribe("room")
        await channel.get_message(timeout=5)

        await sender.publish("room", b"hello")

        heard = await channel.get_message(timeout=5)
        assert heard is not None
        assert heard["data"] == b"hello"
        await channel.aclose()


async def test_stop_leaves_nothing_behind() -> None:
    valkey = EmbeddedValkey()
    await valkey.start()
    socket = Path(valkey.url.removeprefix("unix://"))
    assert mode(socket.parent) == 0o700

    await valkey.stop()

    assert mode(socket.parent) is None


async def test_a_killed_valkey_comes_back_at_the_same_address(valkey: EmbeddedValkey) -> None:
    async with Redis.from_url(valkey.url) as client:
        first = (await client.info("server"))["process_id"]
        os.kill(first, signal.SIGKILL)

        async with asyncio.timeout(30):
            while await process_id(client) in {first, None}:  # noqa: ASYNC110 comes back unannounced
                await asyncio.sleep(0.02)


async def test_a_killed_owner_takes_its_valkey_with_it() -> None:
    owner = await asyncio.create_subprocess_exec(
        sys.executable, "-c", OWNER, cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    assert owner.stdout
    async with asyncio.timeout(30):
        path = (await owner.stdout.readline()).decode().strip().removeprefix("unix://")
        reader, writer = await asyncio.open_unix_connection(path)

        owner.kill()
        await owner.wait()

        assert await reader.read() == b""
    writer.close()
    shutil.rmtree(Path(path).parent)


def test_a_machine_without_valkey_is_told_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(EmbeddedError, match=r"or set redis\.url to a server\.$"):
        find_valkey(search="", wheel=tmp_path / "missing")


async def test_a_valkey_that_does_not_run_is_one_sentence(tmp_path: Path) -> None:
    program = tmp_path / "valkey-server"
    program.write_text("#!/bin/sh\necho no such option\nexit 1\n")
    program.chmod(0o755)

    with pytest.raises(EmbeddedError, match=r"ended while starting \(no such option\)"):
        await EmbeddedValkey(program).start()
