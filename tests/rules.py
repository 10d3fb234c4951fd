"""Print which tests prove each row of the hospital's rules: `make rules`.

A test says so itself: `@pytest.mark.rule("C4")`, with one id or more.
"""

import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

import pytest

ROWS: Mapping[str, int] = {
    "A": 11, "P": 4, "D": 6, "C": 14, "R": 8, "B": 8, "V": 10, "T": 3, "G": 4, "X": 4, "E": 2,
    "K": 1, "H": 3, "N": 2, "M": 3, "S": 5,
}  # fmt: skip
"""How many rows each chapter has, in the chapters' order."""

IDS = [f"{chapter}{row}" for chapter, rows in ROWS.items() for row in range(1, rows + 1)]


class Collector:
    """A pytest plugin that keeps what was collected and what could not be."""

    def __init__(self) -> None:
        self.items: list[pytest.Item] = []
        self.failures: list[str] = []

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self.failures.append(str(report.longrepr))

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self.items = session.items


def proofs(items: Iterable[pytest.Item]) -> dict[str, list[str]]:
    """Give the tests of each id, each once however many parameters it has."""
    found: dict[str, dict[str, None]] = defaultdict(dict)
    for item in items:
        for mark in item.iter_markers("rule"):
            for row in mark.args:
                found[row][item.nodeid.partition("[")[0]] = None
    return {row: list(tests) for row, tests in found.items()}


def report(found: Mapping[str, Sequence[str]]) -> str:
    """Lay out every row with its tests, and count the rows that have any."""
    lines = []
    for row in IDS:
        tests = found.get(row, ())
        lines.append(f"{row:4} {tests[0] if tests else '-'}")
        lines += [f"     {test}" for test in tests[1:]]
    proven = sum(row in found for row in IDS)
    return "\n".join([*lines, "", f"{proven} of {len(IDS)} rows have a test."])


def main() -> int:
    """Collect without running; fail where a test names a row there is not, or can't be read."""
    collector = Collector()
    # without pytest's own report, and so without the options that shape it
    quiet = ["-p", "no:terminal", "-o", "addopts=--strict-markers"]
    code = pytest.main(["--collect-only", *quiet, "tests"], plugins=[collector])
    if code != pytest.ExitCode.OK:
        print(*collector.failures, sep="\n\n", file=sys.stderr)
        return 1
    found = proofs(collector.items)
    print(report(found))
    unknown = {row: found[row] for row in found.keys() - set(IDS)}
    for row, tests in sorted(unknown.items()):
        print(f"There is no row {row}: {', '.join(tests)}", file=sys.stderr)
    return 1 if unknown else 0


if __name__ == "__main__":
    sys.exit(main())
