from pathlib import Path

import pytest

from storage.embedded import LOOPBACK, free_port, until_listening
from storage.embedded_process import spawn, stop
from storage.mongod import find_mongod
from storage.server_check import ServerCheckError, check_server


async def test_a_replica_set_fits(mongo_uri: str) -> None:
    version = await check_server(mongo_uri)

    assert int(version.partition(".")[0]) >= 6


async def test_an_older_server_is_named_with_its_version(mongo_uri: str) -> None:
    with pytest.raises(ServerCheckError, match=r"is version \d+\.\S+: 99\.0 or newer is needed"):
        await check_server(mongo_uri, minimum=(99, 0))


async def test_a_standalone_server_is_told_to_become_a_replica_set(tmp_path: Path) -> None:
    port = free_port()
    mongod = await spawn(
        *(str(find_mongod()), "--dbpath", str(tmp_path), "--nounixsocket"),
        *("--bind_ip", LOOPBACK, "--port", str(port)),
        log=tmp_path / "mongod.log",
    )
    try:
        await until_listening(port)

        with pytest.raises(ServerCheckError, match="is a standalone server"):
            await check_server(f"mongodb://{LOOPBACK}:{port}")
    finally:
        await stop(mongod, patience=30)


async def test_a_server_that_is_away_is_named_without_its_password() -> None:
    # a name that never resolves: PyMongo leaks the socket of a connect that `close` interrupts
    with pytest.raises(ServerCheckError) as refusal:
        await check_server("mongodb://hub:s3cret@nobody.invalid:27017", seconds=0.1)

    assert "MongoDB at nobody.invalid:27017 can't be used" in str(refusal.value)
    assert "s3cret" not in str(refusal.value)


async def test_an_address_of_something_else_is_refused() -> None:
    with pytest.raises(ServerCheckError, match=r"mongodb\.uri isn't a MongoDB address"):
        await check_server("redis://localhost")
