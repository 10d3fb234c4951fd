"""Freeze a process: when os.kill returns, SIGSTOP is asked for; its threads may go on a while."""

import os
import signal
import time
from pathlib import Path

FROZEN_WITHIN = 10.0


def freeze(pid: int) -> None:
    """Stop a process, and wait until none of its threads runs."""
    os.kill(pid, signal.SIGSTOP)
    limit = time.monotonic() + FROZEN_WITHIN
    while not all(_state(task) == "T" for task in Path(f"/proc/{pid}/task").iterdir()):
        assert time.monotonic() < limit, f"{pid} doesn't stop"
        time.sleep(0.001)


def _state(task: Path) -> str:
    # the name before it may hold anything, a bracket too
    return (task / "stat").read_text().rpartition(")")[2].split()[0]
