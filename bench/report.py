"""What a measurement gives, on the screen and as JSON."""

import json
import os
import platform
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeAlias

FOLDER = Path("build/bench")


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured value. `note` says what qualifies it."""

    what: str
    value: float
    unit: str
    note: str = ""


Measurement: TypeAlias = Callable[[bool], Coroutine[Any, Any, list[Figure]]]
"""Measures; True asks for a quick, rough run."""


def show(name: str, figures: Sequence[Figure]) -> None:
    print(f"\n{name}")
    width = max(len(f.what) for f in figures)
    for f in figures:
        print(
            f"  {f.what:{width}}  {f.value:>12,.{_digits(f.value)}f} {f.unit:12} {f.note}".rstrip()
        )


def save(name: str, figures: Sequence[Figure], quick: bool) -> Path:
    """Write the figures with what is needed to compare them later."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    path = FOLDER / f"{name}.json"
    content = {
        "bench": name,
        "quick": quick,
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "python": platform.python_version(),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "figures": [asdict(f) for f in figures],
    }
    path.write_text(json.dumps(content, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    return path


def percentile(values: Sequence[float], share: float) -> float:
    return sorted(values)[int((len(values) - 1) * share)]


def _digits(value: float) -> int:
    return 0 if value >= 100 else 1 if value >= 10 else 2
