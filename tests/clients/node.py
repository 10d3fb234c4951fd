"""Node for the tests of JavaScript clients, and npm packages in an untracked cache."""

import asyncio
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
DRIVER_SECONDS = 60.0


def need(program: str) -> str:
    """Find a program, or skip the test saying which one this machine lacks."""
    found = shutil.which(program)
    if found is None:
        pytest.skip(f"{program} is not on PATH: the JavaScript client was NOT tested")
    return found


async def run_driver(driver: Path, *args: str, flags: tuple[str, ...] = ()) -> list[dict[str, Any]]:
    """Run a driver to its end and give the JSON lines it printed. Fails with its stderr."""
    process = await asyncio.create_subprocess_exec(
        need("node"), *flags, str(driver), *args,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        async with asyncio.timeout(DRIVER_SECONDS):
            out, err = await process.communicate()
    except TimeoutError:
        process.kill()
        out, err = await process.communicate()
        pytest.fail(f"{driver.name} hung:\n{out.decode()}\n{err.decode()}")
    assert process.returncode == 0, f"{driver.name} failed:\n{out.decode()}\n{err.decode()}"
    return [json.loads(line) for line in out.decode().splitlines()]


def install(cache: Path) -> Path:
    """Install the exact versions of package-lock.json with npm, once; give the folder they are in.

    Raises AssertionError with what npm said.
    """
    npm = need("npm")
    cache.mkdir(parents=True, exist_ok=True)
    lock = (HERE / "package-lock.json").read_bytes()
    installed = cache / "installed-lock.json"
    if installed.exists() and installed.read_bytes() == lock:
        return cache
    for name in ("package.json", "package-lock.json"):
        shutil.copy(HERE / name, cache)
    done = subprocess.run(  # noqa: S603  # our own command, no shell
        [npm, "ci", "--no-audit", "--no-fund", "--ignore-scripts"],
        cwd=cache,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"npm ci failed:\n{done.stderr}"
    installed.write_bytes(lock)
    return cache
