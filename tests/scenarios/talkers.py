"""Senders that wait for no answer, keep every one they get, and come back after a loss."""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

import aiohttp

from tests.scenarios.wire import Lost, Wire

AHEAD = 100
"""How many messages a talker sends beyond the last answer."""


class Talker:
    """One device that talks in one room under client ids of its own."""

    def __init__(
        self, http: aiohttp.ClientSession, url: str, token: str, room: str, name: str
    ) -> None:
        self.room = room
        self.name = name
        self.said: dict[str, None] = {}
        """Every client id, in the order in which they were first sent."""
        self.receipts: dict[str, Any] = {}
        self.refused: list[Any] = []
        self.wire: Wire | None = None
        self._http = http
        self._url = url
        self._token = token

    async def enter(self) -> Wire:
        self.wire = await Wire.enter(self._http, self._url, self._token)
        return self.wire

    async def move_to(self, url: str) -> Wire:
        """Go on at another server."""
        self._url = url
        return await self.enter()

    async def talk(self, count: int, on_answer: Callable[[], None] = lambda: None) -> None:
        """Say so many new things; returns early when the socket is lost."""
        new = [f"{self.name}-{len(self.said) + i}" for i in range(count)]
        await self._pipeline(new, on_answer)

    async def repeat(self) -> None:
        """Say everything again, in the same order, answered before or not."""
        await self._pipeline(list(self.said), lambda: None)

    async def _pipeline(self, client_ids: list[str], on_answer: Callable[[], None]) -> None:
        ahead = asyncio.Semaphore(AHEAD)
        answers = []
        with contextlib.suppress(Lost):
            for client_id in client_ids:
                await ahead.acquire()
                answer = await self._send(client_id)
                answer.add_done_callback(lambda _answer: ahead.release())
                answer.add_done_callback(lambda _answer: on_answer())
                answers.append((client_id, answer))
        for client_id, answer in answers:
            self._take(client_id, await answer)

    async def _send(self, client_id: str) -> "asyncio.Future[Any]":
        assert self.wire is not None
        self.said[client_id] = None
        body = {"text": f"{client_id} {'嗯' * (len(self.said) % 50)}"}
        message = {"room": self.room, "client_id": client_id, "kind": "text", "body": body}
        return await self.wire.send("message:send", message)

    def _take(self, client_id: str, answer: Any) -> None:
        """Keep an answer; one that comes again must be the first one."""
        if answer is None:
            return
        if not answer["ok"]:
            self.refused.append(answer["error"])
            return
        assert self.receipts.setdefault(client_id, answer["message"]) == answer["message"]
