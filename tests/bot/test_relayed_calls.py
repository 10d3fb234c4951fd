"""Two bots call each other through the server's media worker."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from bot.runner import PASSED, play
from bot.scenario import load
from tests.bot.test_calls import HANG_UP, RELOADED, SCENARIOS, SOCKET_LOST, TALK, _after_booking
from tests.server import ServerProcess

RELAYED = "match: { state: connected, generation: 1, mode: relay, polite: true }"


@pytest_asyncio.fixture(scope="module")
async def relaying(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ServerProcess]:
    process = ServerProcess(
        tmp_path_factory.mktemp("relaying") / "data", "--virtual-clock",
        env={"WENZHEN_CALLS__RELAY": "always"},
    )  # fmt: skip
    try:
        await process.start()
        yield process
    finally:
        await process.close()


@pytest.mark.rule("V3", "V6", "V7")
@pytest.mark.parametrize("mode", ["voice", "video"])
async def test_a_relayed_consultation_holds(relaying: ServerProcess, mode: str) -> None:
    assert await play(load(SCENARIOS / f"{mode}_consultation.yaml"), relaying.url) == PASSED


@pytest.mark.rule("V3", "V5")
@pytest.mark.parametrize(
    "steps",
    [SOCKET_LOST, *(RELOADED.replace("SIDE", side) for side in ("doctor", "patient"))],
    ids=["socket lost", "doctor reloads", "patient reloads"],
)
async def test_a_side_comes_back_and_the_other_one_goes_on(
    relaying: ServerProcess, tmp_path: Path, steps: str
) -> None:
    talk = TALK.replace("match: { state: connected, generation: 1 }", RELAYED)
    assert talk != TALK
    steps = steps.replace("generation: 2", "generation: 1")
    assert (
        await play(load(_after_booking(tmp_path, talk + steps + HANG_UP)), relaying.url) == PASSED
    )
