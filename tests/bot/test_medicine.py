"""The shipped scenarios of prescriptions, on the real server, again and again (X1–X4)."""

from pathlib import Path

import pytest

from bot.runner import PASSED
from tests.bot.test_run import _run
from tests.server import ServerProcess

SCENARIOS = Path("bot/scenarios")


@pytest.mark.rule("X1", "X2", "X3", "X4")
@pytest.mark.parametrize("name", ["prescription_to_medicine", "prescription_resubmitted"])
async def test_a_prescriptions_scenario_holds_again_and_again(
    server: ServerProcess, name: str
) -> None:
    for _ in range(2):
        code, out, err = await _run(SCENARIOS / f"{name}.yaml", server.url)
        assert code == PASSED, out + err
