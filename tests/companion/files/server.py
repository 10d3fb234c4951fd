"""The attachments' routes on a real server over a real database."""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import aiohttp
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from care.accounts import Caller, Role
from care.errors import Unauthenticated
from care.policy import FilePolicy
from companion.files import FileService
from companion.probe.inspector import Inspector
from companion.rest import kernel
from companion.rest.files import FileRoutes
from storage.database import Database
from storage.files import Files
from tests.clock import START, ManualClock

URL_KEY = b"the key that signs the urls here"


class Names:
    """Takes a user's name for his token: log-in has tests of its own."""

    async def verify(self, token: str) -> Caller:
        if not token:
            raise Unauthenticated
        return Caller(token, Role.PATIENT, token, "s", START + timedelta(hours=1))


class Rooms:
    """Who may read which room, as the test says."""

    def __init__(self) -> None:
        self.members: dict[str, set[str]] = {}

    async def may_read(self, user: str, room: str) -> bool:
        return user in self.members.get(room, set())


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: Any
    raw: bytes
    json: Any


@dataclass(frozen=True, slots=True)
class FilesServer:
    client: TestClient[web.Request, web.Application]
    service: FileService
    store: Files
    rooms: Rooms
    clock: ManualClock

    async def upload(
        self, data: bytes, *, user: str = "ann", kind: str | None = None, name: str = "x.bin",
        declared: str = "application/octet-stream", headers: dict[str, str] | None = None,
    ) -> Answer:  # fmt: skip
        form = aiohttp.FormData()
        if kind is not None:
            form.add_field("kind", kind)
        form.add_field("file", data, filename=name, content_type=declared)
        return await self.send("POST", "/api/v1/files", user=user, data=form, headers=headers)

    async def send(
        self, method: str, path: str, *, user: str = "", headers: dict[str, str] | None = None,
        **request: Any,
    ) -> Answer:  # fmt: skip
        token = {"Authorization": f"Bearer {user}"} if user else {}
        async with self.client.request(
            method, path, headers=token | (headers or {}), **request
        ) as response:
            raw = await response.read()
            is_json = "json" in response.content_type and method != "HEAD"
            parsed = await response.json(content_type=None) if is_json else None
            return Answer(response.status, response.headers, raw, parsed)

    async def get(self, url: str, **headers: str) -> Answer:
        return await self.send(
            "GET", url, headers={k.replace("_", "-"): v for k, v in headers.items()}
        )


@contextlib.asynccontextmanager
async def serving(
    database: Database, inspector: Inspector, policy: FilePolicy | None = None
) -> AsyncIterator[FilesServer]:
    policy, clock, rooms, store = policy or FilePolicy(), ManualClock(), Rooms(), Files(database)
    await store.ensure_indexes()
    service = FileService(store, inspector, rooms, clock, policy, URL_KEY)
    app = web.Application()
    kernel.mount(app, FileRoutes(service, clock, policy).routes(), Names())
    async with TestClient(TestServer(app)) as client:
        yield FilesServer(client, service, store, rooms, clock)
