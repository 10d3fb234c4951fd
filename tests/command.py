"""The command line, in a process of its own."""

import asyncio
import os
import subprocess
from collections.abc import Mapping

from tests.server import COMMAND

SECONDS = 60


async def wenzhen(*words: str, env: Mapping[str, str] | None = None) -> tuple[int, str, str]:
    """Run a command: its exit code, stdout and stderr."""
    process = await asyncio.create_subprocess_exec(
        COMMAND, *words, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env={**os.environ, **(env or {})},
    )  # fmt: skip
    async with asyncio.timeout(SECONDS):
        out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()
