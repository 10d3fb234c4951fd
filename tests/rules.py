"""`make rules`: which tests prove which row of the hospital's rules, read from their markers."""

import contextlib
import io
import re
import sys
from collections import defaultdict

import pytest

SECTIONS = "A P D C R B V T G X E K H N M S".split()
ROW = re.compile(r"([A-Z])(\d+)")


class Collector:
    """Notes the markers of everything pytest collects."""

    def __init__(self) -> None:
        self.tests: dict[str, set[str]] = defaultdict(set)

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        for item in items:
            for marker in item.iter_markers("rule"):
                for row in marker.args:
                    # a parametrized test counts once
                    self.tests[row].add(item.nodeid.partition("[")[0])


def place(row: str) -> tuple[int, int]:
    """Order rows as the rules do. Raises ValueError for an id the rules can't have."""
    match = ROW.fullmatch(row)
    if match is None or match[1] not in SECTIONS:
        raise ValueError(f"{row} is no row of the rules")
    return SECTIONS.index(match[1]), int(match[2])


def main() -> int:
    collector = Collector()
    with contextlib.redirect_stdout(io.StringIO()) as said:
        code = pytest.main(["--collect-only", "-q"], plugins=[collector])
    if code != pytest.ExitCode.OK:
        print(said.getvalue(), file=sys.stderr)
        return int(code)
    for row in sorted(collector.tests, key=place):
        print(row)
        for test in sorted(collector.tests[row]):
            print(f"  {test}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
