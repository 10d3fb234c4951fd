"""The bot on the real server, as QA runs it: the command, its transcript, its exit code."""

import asyncio
import subprocess
from pathlib import Path

import pytest

from bot.runner import BROKEN, PASSED, UNUSABLE
from tests.server import COMMAND, ServerProcess

TEXT = Path("bot/scenarios/text_consultation.yaml")
NOBODY = "http://127.0.0.1:9"
GREETING = """
name: test
actors:
  patient: { name: 问诊小黑, phone: "13800000002", password: wenzhen-2026, device: h5 }
steps:
  - { actor: patient, connect: true }
  - actor: patient
    emit: { command: "room:list" }
    expect: EXPECTED
"""


async def _run(scenario: Path, url: str) -> tuple[int | None, str, str]:
    """Run the command; give its exit code and what it printed."""
    process = await asyncio.create_subprocess_exec(
        str(COMMAND), "bot", "run", str(scenario), "--url", url,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()


def _interrupted(folder: Path) -> Path:
    """Make the scenario that stops in the middle of the talk."""
    text = TEXT.read_text(encoding="utf-8")
    path = folder / "interrupted.yaml"
    path.write_text(text[: text.index("  # a lost socket")], encoding="utf-8")
    return path


@pytest.mark.rule("C1")
@pytest.mark.rule("C3")
@pytest.mark.rule("C5")
@pytest.mark.rule("C8")
@pytest.mark.rule("C10")
@pytest.mark.rule("C13")
@pytest.mark.rule("R3")
@pytest.mark.rule("R4")
@pytest.mark.rule("R5")
async def test_the_text_consultation_holds_again_and_again(server: ServerProcess) -> None:
    for _ in range(2):
        code, out, err = await _run(TEXT, server.url)
        assert code == PASSED, out + err
        assert "steps held" in out
        assert "wenzhen-2026" not in out
        assert "eyJ" not in out


async def test_it_closes_what_an_interrupted_run_left_open(
    server: ServerProcess, tmp_path: Path
) -> None:
    assert (await _run(_interrupted(tmp_path), server.url))[0] == PASSED
    code, out, err = await _run(TEXT, server.url)

    assert code == PASSED, out + err


async def test_a_broken_expectation_ends_the_run_with_what_differs(
    server: ServerProcess, tmp_path: Path
) -> None:
    scenario = tmp_path / "broken.yaml"
    scenario.write_text(GREETING.replace("EXPECTED", "{ rooms: none }"), encoding="utf-8")

    code, out, _ = await _run(scenario, server.url)

    assert code == BROKEN
    assert "✗ step 2" in out
    assert "rooms: expected 'none', got [" in out


async def test_a_server_that_is_not_there_is_one_sentence() -> None:
    code, _, err = await _run(TEXT, NOBODY)

    assert code == UNUSABLE
    assert err.strip().startswith(f"No Wenzhen server answers at {NOBODY}")
    assert len(err.strip().splitlines()) == 1


async def test_a_malformed_scenario_is_told_before_anything_is_sent(tmp_path: Path) -> None:
    scenario = tmp_path / "malformed.yaml"
    scenario.write_text(GREETING.replace("EXPECTED", "{ rooms: { $size: 1 } }"), encoding="utf-8")

    code, out, err = await _run(scenario, NOBODY)

    assert (code, out) == (UNUSABLE, "")
    assert "step 2, expect: unknown matcher $size" in err
