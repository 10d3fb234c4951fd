"""Two bots call each other through the real server, with real media between them."""

from pathlib import Path

import pytest

from bot.runner import BROKEN, PASSED, play
from bot.scenario import load
from tests.server import ServerProcess

SCENARIOS = Path("bot/scenarios")
RING = """
  - actor: doctor
    start_call: { room: "${room}", media: video }
  - actor: patient
    expect_call: { match: { state: ringing } }
"""
TALK = (
    RING
    + """
  - { actor: patient, phone: accept }
  - actor: patient
    expect_call: { match: { state: connected, generation: 1 } }
  - actor: doctor
    expect_media: { frames: 5, moving: true, audio: true, tone: 660 }
"""
)
DECLINED = """
  - { actor: patient, phone: decline }
  - actor: doctor
    expect_call: { match: { state: ended, end_reason: declined, duration_s: 0 } }
  - actor: patient
    expect_event: { event: message:new, match: { body: { text: 患者拒绝了视频通话 } } }
"""
MISSED = """
  - { actor: doctor, advance_clock: 45 }
  - actor: doctor
    expect_call: { match: { state: ended, end_reason: missed } }
  - actor: patient
    expect_event: { event: message:new, match: { body: { text: 视频通话无人接听 } } }
"""
CANCELLED = """
  - { actor: doctor, phone: cancel }
  - actor: patient
    expect_call: { match: { state: ended, end_reason: cancelled } }
  - { actor: patient, phone: accept, expect: { ok: false, error: { code: conflict } } }
"""
HANG_UP = """
  - { actor: patient, phone: hang_up }
  - actor: doctor
    expect_call: { match: { state: ended, end_reason: hung_up } }
"""
SOCKET_LOST = """
  - { actor: patient, disconnect: true }
  - actor: doctor
    expect_call: { match: { parties: { $contains: { role: patient, present: false } } } }
  - actor: doctor
    expect_media: { frames: 5, moving: true, audio: true }
  - { actor: patient, connect: true }
  - actor: patient
    phone: resume
    expect: { call: { state: connected, generation: 1 } }
  - actor: doctor
    expect_call: { match: { parties: { $contains: { role: patient, present: true } } } }
  - actor: doctor
    expect_media: { frames: 5, moving: true, audio: true }
"""
RELOADED = """
  - { actor: SIDE, phone: reload }
  - actor: patient
    expect_call: { match: { state: connected, generation: 2 } }
  - actor: patient
    expect_media: { frames: 5, moving: true, audio: true, tone: 440 }
  - actor: doctor
    expect_media: { frames: 5, moving: true, audio: true, tone: 660 }
"""
WRONG_TONE = """
  - actor: doctor
    expect_media: { frames: 1, audio: true, tone: 880, within: 0.5 }
"""


def _after_booking(folder: Path, steps: str) -> Path:
    """Make the scenario that does something else when the booked time has come."""
    text = (SCENARIOS / "video_consultation.yaml").read_text(encoding="utf-8")
    path = folder / "call.yaml"
    path.write_text(text[: text.index("  # the call\n")] + steps, encoding="utf-8")
    return path


@pytest.mark.rule("B3")
@pytest.mark.rule("V1")
@pytest.mark.rule("V2")
@pytest.mark.rule("V3")
@pytest.mark.rule("V6")
@pytest.mark.rule("V7")
@pytest.mark.rule("V10")
@pytest.mark.parametrize("mode", ["voice", "video"])
async def test_a_booked_consultation_holds(clocked: ServerProcess, mode: str) -> None:
    scenario = load(SCENARIOS / f"{mode}_consultation.yaml")

    assert await play(scenario, clocked.url) == PASSED


@pytest.mark.rule("V1")
@pytest.mark.rule("V6")
@pytest.mark.parametrize(
    "steps",
    [RING + DECLINED, RING + MISSED, RING + CANCELLED],
    ids=["declined", "missed", "cancelled"],
)
async def test_a_call_that_never_connects(
    clocked: ServerProcess, tmp_path: Path, steps: str
) -> None:
    assert await play(load(_after_booking(tmp_path, steps)), clocked.url) == PASSED


@pytest.mark.rule("V5")
@pytest.mark.parametrize(
    "steps",
    [SOCKET_LOST, RELOADED.replace("SIDE", "doctor"), RELOADED.replace("SIDE", "patient")],
    ids=["socket lost", "doctor reloads", "patient reloads"],
)
async def test_a_side_comes_back_to_the_call(
    clocked: ServerProcess, tmp_path: Path, steps: str
) -> None:
    scenario = load(_after_booking(tmp_path, TALK + steps + HANG_UP))

    assert await play(scenario, clocked.url) == PASSED


@pytest.mark.rule("V6")
async def test_the_doctor_calls_again_at_once(clocked: ServerProcess, tmp_path: Path) -> None:
    scenario = load(_after_booking(tmp_path, (TALK + HANG_UP) * 2))

    assert await play(scenario, clocked.url) == PASSED


async def test_a_tone_that_is_not_there_breaks_the_run_but_not_the_next(
    clocked: ServerProcess, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scenario = load(_after_booking(tmp_path, TALK + WRONG_TONE))

    assert await play(scenario, clocked.url) == BROKEN
    assert "tone: expected True, got False" in capsys.readouterr().out
    # the broken one's call was left alive
    assert await play(load(_after_booking(tmp_path, TALK)), clocked.url) == PASSED
