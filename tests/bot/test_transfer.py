"""The bot plays a transfer, and each other answer to it."""

from pathlib import Path

import pytest

from bot.runner import PASSED, play
from bot.scenario import load
from tests.server import ServerProcess

TRANSFER = Path("bot/scenarios/transfer.yaml")
REFUSED = """
  - actor: patient
    emit: { command: "transfer:refuse", data: { transfer: "${transfer}" } }
    expect: { transfer: { state: refused } }
  - actor: doctor
    expect_event:
      event: consultation:updated
      match: { id: "${consultation}", state: refused_transfer }
"""
DECLINED = """
  - actor: patient
    emit: { command: "transfer:agree", data: { transfer: "${transfer}" } }
  - actor: taker
    emit: { command: "transfer:decline", data: { transfer: "${transfer}" } }
  - actor: patient
    expect_event:
      event: message:new
      match: { body: { text: 皇甫谧医生未接受转诊，由小傅医生继续为您服务 } }
  - actor: doctor
    emit: { command: "consultation:end", data: { consultation: "${consultation}" } }
"""
EXPIRED = """
  - { actor: doctor, advance_clock: 86400 }
  - actor: patient
    log_in: true
  - actor: patient
    call: { method: GET, path: "/transfers/${transfer}" }
    expect: { state: expired }
  - actor: patient
    call: { method: GET, path: "/consultations/${consultation}" }
    expect: { state: in_progress, doctor: { name: 小傅 } }
"""


@pytest.mark.rule("T1", "T2")
async def test_a_transfer_holds(clocked: ServerProcess) -> None:
    assert await play(load(TRANSFER), clocked.url) == PASSED


@pytest.mark.rule("T2", "T3")
@pytest.mark.parametrize("steps", [REFUSED, DECLINED, EXPIRED], ids=["no", "declined", "late"])
async def test_every_other_answer(clocked: ServerProcess, tmp_path: Path, steps: str) -> None:
    assert await play(load(_answered(tmp_path, steps)), clocked.url) == PASSED


def _answered(folder: Path, steps: str) -> Path:
    """Make the scenario that goes on differently once the patient was asked."""
    text = TRANSFER.read_text(encoding="utf-8")
    path = folder / "transfer.yaml"
    path.write_text(text[: text.index("  # the answers\n")] + steps, encoding="utf-8")
    return path
