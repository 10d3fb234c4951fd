"""Whatever is asked, nothing breaks, and every answer is one that the reference describes.

schemathesis makes the requests from `/api/v1/openapi.json` of the running server: what the schemas
allow and what they forbid, with ids that are real where something of the kind is there.
"""

import asyncio
import re
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio

from tests.scenarios.walking import enter_all, walk
from tests.scenarios.wire import log_in
from tests.server import ServerProcess

COMMAND = Path(sys.executable).with_name("st")
CHECKS = (
    "not_a_server_error", "status_code_conformance", "content_type_conformance",
    "response_schema_conformance",
)  # fmt: skip
SECONDS = 300


@dataclass(frozen=True)
class Hospital:
    """A server of this file alone, who asks, and what is there by the path that names it."""

    url: str
    phones: dict[str, str]
    known: dict[str, str]


@pytest_asyncio.fixture(scope="module")
async def hospital(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Hospital]:
    server = ServerProcess(tmp_path_factory.mktemp("fuzzed") / "data")
    await server.start()
    async with aiohttp.ClientSession() as http:
        people = await enter_all(server.url, http)
        known = await walk(people)
        yield Hospital(server.url, {r: user.phone for r, user in people.by_role().items()}, known)
        for user in people.all():
            await user.close()
    await server.close()


async def authorised(hospital: Hospital, phone: str) -> list[str]:
    async with aiohttp.ClientSession() as http:
        token = (await log_in(http, hospital.url, phone))["access_token"]
    return ["-H", f"Authorization: Bearer {token}"]


def settings(known: dict[str, str]) -> str:
    """Write schemathesis's settings: which id stands for what."""
    lines = []
    for path, identifier in known.items():
        name = path.rpartition("{")[2].rstrip("}")
        pattern = "^/api/v1" + path.replace("{", r"\\{").replace("}", r"\\}") + "(/|$)"
        lines += [
            "[[operations]]",
            f'include-path-regex = "{pattern}"',
            f'parameters = {{ "path.{name}" = "{identifier}" }}',
        ]
    return "\n".join(lines)


@pytest.mark.parametrize("role", ["patient", "doctor", "pharmacist", "operator", "nobody"])
async def test_every_answer_is_described_and_none_is_a_failure(
    hospital: Hospital, role: str, tmp_path: Path
) -> None:
    config = tmp_path / "schemathesis.toml"
    config.write_text(settings(hospital.known))
    who = [] if role == "nobody" else await authorised(hospital, hospital.phones[role])
    tried = await asyncio.create_subprocess_exec(
        COMMAND, "--config-file", config, "run", f"{hospital.url}/api/v1/openapi.json", *who,
        "--checks", ",".join(CHECKS), "--phases", "coverage,fuzzing", "--max-examples", "2",
        "--seed", "1", "--no-shrink", "--generation-database", "none", "--continue-on-failure",
        "--suppress-health-check", "all", "--warnings", "off", "--no-color",
        # it would end the session of everybody after it
        "--exclude-path", "/api/v1/auth/logout",
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, cwd=tmp_path,
    )  # fmt: skip
    try:
        output, _ = await asyncio.wait_for(tried.communicate(), SECONDS)
    finally:
        if tried.returncode is None:
            tried.kill()
    text = output.decode(errors="replace")
    assert tried.returncode == 0, text
    passed = re.search(r"(\d+) generated, (\d+) passed", text)
    assert passed, text
    assert int(passed[1]) == int(passed[2]) > 1000
