"""Background work ends when told to, and the whole server whenever it is told."""

import asyncio
import contextlib
import random
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from realtime.lifecycle import Background, cancellable, last_steps
from storage.mongod import holder
from tests.server import COMMAND

START_SECONDS = 2.5
MOMENTS = 5
END_SECONDS = 10


class Stubborn:
    """Work whose library swallows the first cancellation."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.swallowed = asyncio.Event()

    async def run(self) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            self.begun.set()
            await asyncio.Event().wait()
        self.swallowed.set()
        await asyncio.Event().wait()


async def test_stop_ends_work_whose_library_swallows_a_cancellation() -> None:
    work = Stubborn()
    background = Background()
    background.start([work.run()])
    await work.begun.wait()
    await asyncio.wait_for(background.stop(), 5)
    assert work.swallowed.is_set()
    assert not background.died.is_set()


async def test_a_start_is_cancelled_though_its_library_swallows_a_cancellation() -> None:
    work = Stubborn()
    start = asyncio.create_task(cancellable(work.run()))
    await work.begun.wait()
    start.cancel()
    async with asyncio.timeout(5):
        await asyncio.wait({start})
    assert start.cancelled()
    assert work.swallowed.is_set()


async def test_the_orderly_end_is_not_cut_short_by_a_cancellation() -> None:
    begun, go, taken = asyncio.Event(), asyncio.Event(), list[str]()

    async def first() -> None:
        begun.set()
        await go.wait()
        taken.append("first")

    async def second() -> None:
        taken.append("second")

    end = asyncio.create_task(last_steps([("first", first), ("second", second)]))
    await begun.wait()
    end.cancel()
    # the cancellation is delivered before the step goes on
    await asyncio.sleep(0)
    go.set()
    await asyncio.wait({end})
    assert taken == ["first", "second"]
    assert end.cancelled()


@contextlib.asynccontextmanager
async def starting(data: Path, log: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """Begin to start a server, wherever it then is."""
    arguments = ("serve", "--demo", "--host", "127.0.0.1", "--port", "0", "--data", str(data))
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            str(COMMAND), *arguments, stdout=output, stderr=output
        )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def hears(pid: int, name: signal.Signals) -> bool:
    """Tell whether the process has a handler for the signal yet: Python itself takes a moment."""
    status = Path(f"/proc/{pid}/status").read_text()
    caught = int(status.partition("SigCgt:")[2].split()[0], 16)
    return bool(caught >> (name - 1) & 1)


@pytest.mark.parametrize("part", range(MOMENTS))
async def test_a_server_told_to_stop_while_it_starts_ends_well_and_leaves_nothing(
    tmp_path: Path, part: int
) -> None:
    data, log = tmp_path / "data", tmp_path / "server.log"
    async with starting(data, log) as process:
        async with asyncio.timeout(END_SECONDS):
            while not hears(process.pid, signal.SIGTERM):  # noqa: ASYNC110 unannounced
                await asyncio.sleep(0.001)
        # any moment of the start must do: these are the same in every run
        moment = random.Random(part).random()  # noqa: S311 no secret
        await asyncio.sleep((part + moment) * START_SECONDS / MOMENTS)
        process.send_signal(signal.SIGTERM)
        code = await asyncio.wait_for(process.wait(), END_SECONDS)
    said = log.read_text()
    assert code == 0, said
    assert "Traceback" not in said
    assert holder(data / "mongodb") is None
