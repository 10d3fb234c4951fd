"""A file may cost its worker process, never the hub."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from care.errors import BadRequest, Unavailable
from care.policy import FilePolicy
from companion.probe import UPLOAD, inspector
from companion.probe.inspector import Inspector
from tests.media.pictures import halves, picture
from tests.media.recordings import voice

pytestmark = pytest.mark.rule("R6")


@pytest.fixture
async def one_worker() -> AsyncIterator[Inspector]:
    inspector = Inspector(FilePolicy(inspection_workers=1, inspection_seconds=20))
    yield inspector
    await inspector.close()


def folder_with(tmp_path: Path, data: bytes) -> Path:
    (tmp_path / UPLOAD).write_bytes(data)
    return tmp_path


def environment(pid: int) -> bytes:
    return Path(f"/proc/{pid}/environ").read_bytes()


def the_worker(inspector: Inspector) -> asyncio.subprocess.Process:
    return inspector._idle[0]._process


async def until(true: Callable[[], bool]) -> None:
    """Let the others run until it is so."""
    async with asyncio.timeout(5):
        while not true():  # noqa: ASYNC110 - the inspector has no event for this, nor a use for one
            await asyncio.sleep(0)


async def test_a_worker_serves_many_files(one_worker: Inspector, tmp_path: Path) -> None:
    folder = folder_with(tmp_path, picture("PNG"))
    await one_worker.inspect(folder)
    first = the_worker(one_worker).pid
    await one_worker.inspect(folder)
    assert the_worker(one_worker).pid == first


async def test_a_worker_that_crashes_refuses_the_file_and_is_replaced(
    one_worker: Inspector, tmp_path: Path
) -> None:
    folder = folder_with(tmp_path, picture("PNG"))
    await one_worker.inspect(folder)
    worker = the_worker(one_worker)
    os.kill(worker.pid, signal.SIGSTOP)
    inspection = asyncio.create_task(one_worker.inspect(folder))
    await until(lambda: not one_worker._idle)
    os.kill(worker.pid, signal.SIGKILL)
    with pytest.raises(BadRequest):
        await inspection
    assert (await one_worker.inspect(folder)).mime == "image/png"
    assert the_worker(one_worker).pid != worker.pid


async def test_a_worker_that_died_idle_costs_nobody_a_file(
    one_worker: Inspector, tmp_path: Path
) -> None:
    folder = folder_with(tmp_path, voice("amr", 1))
    await one_worker.inspect(folder)
    worker = the_worker(one_worker)
    worker.kill()
    await worker.wait()
    assert (await one_worker.inspect(folder)).mime == "audio/amr"


async def test_a_file_that_takes_too_long_is_refused_and_its_worker_ended(tmp_path: Path) -> None:
    hasty = Inspector(FilePolicy(inspection_seconds=1, inspection_workers=1))
    folder = folder_with(tmp_path, picture("PNG"))
    await hasty.inspect(folder)
    worker = the_worker(hasty)
    os.kill(worker.pid, signal.SIGSTOP)
    with pytest.raises(BadRequest):
        await hasty.inspect(folder)
    assert worker.returncode == -signal.SIGKILL
    assert (await hasty.inspect(folder)).mime == "image/png"
    await hasty.close()


async def test_an_abandoned_inspection_ends_its_worker(
    one_worker: Inspector, tmp_path: Path
) -> None:
    folder = folder_with(tmp_path, picture("PNG"))
    await one_worker.inspect(folder)
    worker = the_worker(one_worker)
    os.kill(worker.pid, signal.SIGSTOP)
    inspection = asyncio.create_task(one_worker.inspect(folder))
    await until(lambda: not one_worker._idle)
    inspection.cancel()
    with pytest.raises(asyncio.CancelledError):
        await inspection
    assert worker.returncode == -signal.SIGKILL


async def test_too_many_waiting_are_sent_away(
    one_worker: Inspector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inspector, "WAITING_MAX", 2)
    folder = folder_with(tmp_path, picture("PNG", halves(2000, 2000)))
    both = [asyncio.create_task(one_worker.inspect(folder)) for _ in range(2)]
    await until(lambda: one_worker._waiting == 2)
    with pytest.raises(Unavailable):
        await one_worker.inspect(folder)
    await asyncio.gather(*both)


async def test_a_worker_that_does_not_start_is_no_fault_of_the_file(
    one_worker: Inspector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "missing"))
    with pytest.raises(Unavailable):
        await one_worker.inspect(folder_with(tmp_path, picture("PNG")))


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
async def test_a_worker_knows_no_secret_of_the_hub(
    one_worker: Inspector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WENZHEN_TOKEN_KEY", "secret")
    await one_worker.inspect(folder_with(tmp_path, picture("PNG")))
    assert b"secret" not in environment(the_worker(one_worker).pid)
