"""The bot plays a group consultation, and each other way it may go."""

from pathlib import Path

import pytest

from bot.runner import PASSED, play
from bot.scenario import load
from tests.server import ServerProcess

GROUP = Path("bot/scenarios/group_consultation.yaml")
PATIENTS_STEPS = (("with the patient", "the answers"), ("what the patient reads", "the end"))
END = """
  - actor: doctor
    emit: { command: "consultation:end", data: { consultation: "${consultation}" } }
"""
DECLINED = """
  - actor: surgeon
    emit: { command: "group:decline", data: { group: "${group}" } }
  - actor: internist
    emit: { command: "group:decline", data: { group: "${group}" } }
    expect: { group: { state: cancelled } }
  - actor: doctor
    expect_event: { event: group:updated, match: { id: "${group}", state: cancelled } }
"""
LAPSED = """
  - { actor: doctor, advance_clock: 86400 }
  - actor: doctor
    log_in: true
  - actor: doctor
    call: { method: GET, path: "/groups/${group}" }
    expect: { state: cancelled, doctors: { $contains: { state: lapsed } } }
"""
LEFT = """
  - actor: surgeon
    emit: { command: "group:accept", data: { group: "${group}" } }
  - actor: surgeon
    emit: { command: "group:leave", data: { group: "${group}" } }
    expect: { group: { my_state: left, state: active } }
  - actor: surgeon
    emit: { command: "room:join", data: { room: "${group_room}" } }
    expect: { ok: false, error: { code: forbidden } }
  - actor: surgeon
    emit: { command: "group:join", data: { group: "${group}" } }
    expect: { group: { my_state: accepted } }
  - actor: doctor
    emit: { command: "group:close", data: { group: "${group}", conclusion: 继续观察 } }
"""


@pytest.mark.rule("G1", "G2", "G3")
async def test_a_group_consultation_holds(clocked: ServerProcess) -> None:
    assert await play(load(GROUP), clocked.url) == PASSED


@pytest.mark.rule("G1")
@pytest.mark.parametrize(
    "steps", [DECLINED + END, LEFT + END, LAPSED], ids=["declined", "left", "lapsed"]
)
async def test_every_other_way(clocked: ServerProcess, tmp_path: Path, steps: str) -> None:
    assert await play(load(_from_the_answers(tmp_path, steps)), clocked.url) == PASSED


@pytest.mark.rule("G1", "G3")
async def test_among_doctors_alone(clocked: ServerProcess, tmp_path: Path) -> None:
    assert await play(load(_without_the_patient(tmp_path)), clocked.url) == PASSED


def _without_the_patient(folder: Path) -> Path:
    text = GROUP.read_text(encoding="utf-8").replace("mode: with_patient", "mode: doctors_only")
    for begin, end in PATIENTS_STEPS:
        first, last = text.index(f"  # {begin}\n"), text.index(f"  # {end}\n")
        text = text[:first] + text[last:]
    return _kept(folder, text)


def _from_the_answers(folder: Path, steps: str) -> Path:
    """Make the scenario that goes on differently once they were invited."""
    text = GROUP.read_text(encoding="utf-8")
    return _kept(folder, text[: text.index("  # the answers\n")] + steps)


def _kept(folder: Path, text: str) -> Path:
    path = folder / "group.yaml"
    path.write_text(text, encoding="utf-8")
    return path
