"""What Linux says of a running process: its CPU time, memory and children."""

import contextlib
import os
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")


def cpu_seconds(pid: int) -> float:
    """Give the CPU time it used so far, in user and kernel mode, over all its threads."""
    # the name, in parentheses, may hold spaces
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def resident_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE


def child_named(pid: int, name: str) -> int:
    """Find the process's child that runs the program `name`."""
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in children.read_text().split():
            if Path(f"/proc/{child}/comm").read_text().strip() == name:
                return int(child)
    raise LookupError(f"process {pid} runs no {name}")


def children_running(pid: int, word: str) -> list[int]:
    """List the process's children that have a word among their arguments, by their numbers."""
    found = []
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in children.read_text().split():
            # it may have ended meanwhile
            with contextlib.suppress(OSError):
                if word.encode() in Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0"):
                    found.append(int(child))
    return sorted(found)
