"""The database stops answering: clients are told to try again, and nothing accepted is lost."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import aiohttp
import pytest

from tests.freezing import freeze
from tests.scenarios.people import PASSWORD, XIAOFU, begin, enter, register, say
from tests.server import ServerProcess


@contextmanager
def frozen(data: Path) -> Iterator[None]:
    """Stop the embedded mongod of this folder as a hung disk would, then let it go on."""
    wanted = str(data).encode()
    (mongod,) = [
        int(file.parent.name)
        for file in Path("/proc").glob("[0-9]*/cmdline")
        if wanted in (line := file.read_bytes()) and b"mongod" in line.split(b"\0")[0]
    ]
    freeze(mongod)
    try:
        yield
    finally:
        os.kill(mongod, signal.SIGCONT)


@pytest.mark.rule("R2")
async def test_a_hung_database_answers_unavailable_and_loses_nothing(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path / "data")
    await server.start()
    try:
        async with aiohttp.ClientSession() as http:
            patient = await register(server.url, http)
            doctor = await enter(server.url, http, XIAOFU)
            talk = await begin(patient, doctor)
            login = {"phone": XIAOFU, "password": PASSWORD}
            with frozen(server.data):
                async with http.post(f"{server.url}/api/v1/auth/login", json=login) as answer:
                    problem = await answer.json()
            assert (answer.status, problem["code"], problem["retry"]) == (503, "unavailable", True)
            receipt = await say(patient, talk["room"], "还在", "after")
            assert receipt["seq"] == 4
            for user in (patient, doctor):
                await user.close()
    finally:
        await server.close()
