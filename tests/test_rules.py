"""Every test names rows of the rules that exist."""

import subprocess
import sys
from pathlib import Path

from tests.rules import IDS, report

ROOT = Path(__file__).parents[1]


def test_every_marked_row_exists() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.rules"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "\nC2 " in done.stdout


def test_rows_come_in_the_rules_order_with_all_their_tests() -> None:
    lines = report({"R2": ["tests/a.py::b", "tests/c.py::d"], "A1": ["tests/e.py::f"]}).splitlines()
    rows = [line.split()[0] for line in lines if line[:1].isalpha()]
    assert rows == IDS
    at = lines.index("R2   tests/a.py::b")
    assert lines[at + 1] == "     tests/c.py::d"
    assert lines[-1] == f"2 of {len(IDS)} rows have a test."
