"""A server of its own for each measurement, in a temporary folder, with rooms to talk in."""

import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from bench.processes import child_named
from tests.server import ServerProcess

ROOMS_A_REQUEST = 50


@dataclass(frozen=True, slots=True)
class Room:
    """A consultation in progress."""

    room: str
    consultation: str
    patient_token: str
    doctor_token: str


class Hub:
    """A running `wenzhen serve --demo` with the embedded database."""

    def __init__(self, server: ServerProcess) -> None:
        self.server = server
        self.port = server.port

    @property
    def pid(self) -> int:
        return self.server.pid

    @property
    def mongod(self) -> int:
        return child_named(self.server.pid, "mongod")

    async def make_rooms(self, count: int, mode: str = "text") -> list[Room]:
        made: list[Room] = []
        async with aiohttp.ClientSession(self.server.url, raise_for_status=True) as http:
            while len(made) < count:
                part = {"rooms": min(ROOMS_A_REQUEST, count - len(made)), "mode": mode}
                async with http.post("/test/load-data", json=part) as answer:
                    made += [Room(**row) for row in (await answer.json())["items"]]
        return made


@asynccontextmanager
async def running_hub(env: Mapping[str, str] | None = None) -> AsyncIterator[Hub]:
    with tempfile.TemporaryDirectory(prefix="wenzhen-bench-") as folder:
        # a line for each of a thousand connections would bury what matters
        quiet = {"WENZHEN_LOG__LEVEL": "warning"}
        server = ServerProcess(Path(folder) / "data", env={**quiet, **(env or {})})
        try:
            await server.start()
            yield Hub(server)
        finally:
            await server.stop()
