"""The shipped scenarios of what follows a talk, on the real server, again and again."""

from pathlib import Path

import pytest

from bot.runner import PASSED
from tests.bot.test_run import _run
from tests.server import ServerProcess

SCENARIOS = Path("bot/scenarios")


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("prescription_to_medicine", marks=pytest.mark.rule("X1", "X2", "X3", "X4")),
        pytest.param("prescription_resubmitted", marks=pytest.mark.rule("X1", "X2", "X3")),
        pytest.param("complaint_answered", marks=pytest.mark.rule("E1", "K1")),
    ],
)
async def test_a_shipped_scenario_holds_again_and_again(server: ServerProcess, name: str) -> None:
    for _ in range(2):
        code, out, err = await _run(SCENARIOS / f"{name}.yaml", server.url)
        assert code == PASSED, out + err
