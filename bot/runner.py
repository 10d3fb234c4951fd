"""Play a scenario against a server through the public wire, and say whether it held."""

import asyncio
import sys
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp

from bot.client import TIMEOUT, Client
from bot.errors import BotError, Broken
from bot.matching import differences, matches
from bot.scenario import Call, Emit, ExpectEvent, Scenario, Step, Upload, load
from bot.transcript import Transcript
from bot.values import pick, resolve

PASSED, BROKEN, UNUSABLE = 0, 1, 2


def main(scenario: Path, url: str) -> int:
    """Run a scenario file; 0 when it held, 1 when it broke, 2 when it could not be run."""
    try:
        return asyncio.run(play(load(scenario), url))
    except BotError as error:
        print(error, file=sys.stderr)
        return UNUSABLE


async def play(scenario: Scenario, url: str) -> int:
    """Play a scenario to its end or to the first expectation that breaks."""
    transcript = Transcript(asyncio.get_running_loop().time)
    transcript.heading(f"{scenario.name} · {url}")
    async with AsyncExitStack() as stack:
        clients = {}
        for key, actor in scenario.actors.items():
            # a session each, as the actors' devices would have
            http = await stack.enter_async_context(aiohttp.ClientSession(timeout=TIMEOUT))
            clients[key] = Client(url, actor, http)
            stack.push_async_callback(clients[key].close)
        return await Run(scenario, clients, transcript).to_the_end()


class Run:
    """One playing of a scenario: its clients, and the names saved so far."""

    def __init__(
        self, scenario: Scenario, clients: dict[str, Client], transcript: Transcript
    ) -> None:
        self._scenario = scenario
        self._clients = clients
        self._transcript = transcript
        self._names: dict[str, Any] = dict(scenario.variables)

    async def to_the_end(self) -> int:
        number = 0
        try:
            for key, client in self._clients.items():
                self._transcript.sent(self._scenario.actors[key].name, "POST /auth/login")
                await client.log_in()
            for number, step in enumerate(self._scenario.steps, 1):  # noqa: B007  # used on failure
                await self._take(step)
        except Broken as broken:
            self._transcript.failed(number, broken.differences)
            return BROKEN
        self._transcript.passed(f"{len(self._scenario.steps)} steps held")
        return PASSED

    async def _take(self, step: Step) -> None:
        if step.note:
            self._transcript.heading(step.note)
        if step.for_each is None:
            await self._do(step)
            return
        where = resolve(step.for_each.where, self._names)
        for item in resolve(f"${{{step.for_each.items}}}", self._names):
            if matches(where, item):
                self._names["item"] = item
                await self._do(step)

    async def _do(self, step: Step) -> None:
        """Do the step's one action, then hold its result against what the step expects."""
        result = await self._act(step)
        if step.expect is not None:
            _hold(resolve(step.expect, self._names), result)
            self._transcript.passed("as expected")
        for name, path in step.save.items():
            self._names[name] = pick(result, resolve(path, self._names))

    async def _act(self, step: Step) -> Any:
        client, name = self._clients[step.actor], self._scenario.actors[step.actor].name
        if step.call:
            return await self._call(client, name, step.call)
        if step.emit:
            return await self._emit(client, name, step.emit, free=_expects_ok(step))
        if step.upload:
            return await self._upload(client, name, step.upload)
        if step.expect_event:
            return await self._expect_event(client, name, step.expect_event)
        if step.advance_clock is not None:
            return await self._advance_clock(client, step.advance_clock)
        self._transcript.sent(name, step.action)
        await (client.connect() if step.connect else client.lose_socket())
        return None

    async def _call(self, client: Client, name: str, call: Call) -> Any:
        path, payload = resolve(call.path, self._names), resolve(call.payload, self._names)
        self._transcript.sent(name, f"{call.method} {path}", payload)
        answer = await client.call(call.method, path, payload)
        self._transcript.received(name, str(answer.status), answer.body)
        _hold(call.status or {"$gte": 200, "$lt": 300}, answer.status, "status")
        return answer.body

    async def _upload(self, client: Client, name: str, upload: Upload) -> Any:
        self._transcript.sent(name, f"POST /files {upload.name} ({len(upload.content)} bytes)")
        answer = await client.upload(upload)
        self._transcript.received(name, str(answer.status), answer.body)
        _hold({"$gte": 200, "$lt": 300}, answer.status, "status")
        return answer.body

    async def _emit(self, client: Client, name: str, emit: Emit, *, free: bool) -> Any:
        data = resolve(emit.data, self._names)
        self._transcript.sent(name, emit.command, data)
        answer = await client.emit(emit.command, data)
        self._transcript.received(name, emit.command, answer)
        if not free:
            _hold({"ok": True}, answer)
        return answer

    async def _expect_event(self, client: Client, name: str, wanted: ExpectEvent) -> Any:
        match = resolve(wanted.match, self._names)
        event = await client.wait_for_event(
            wanted.event, wanted.within, lambda data: matches(match, data)
        )
        if event is None:
            raise Broken(*_near_misses(client, wanted, match))
        self._transcript.received(name, event.name, event.data)
        self._transcript.passed("as expected")
        return event.data

    async def _advance_clock(self, client: Client, seconds: float) -> Any:
        self._transcript.sent("clock", f"advance {seconds:g} s")
        answer = await client.advance_clock(seconds)
        _hold({"$gte": 200, "$lt": 300}, answer.status, "status")
        return answer.body


def _expects_ok(step: Step) -> bool:
    """Say whether the step itself tells what `ok` must be."""
    return isinstance(step.expect, dict) and "ok" in step.expect


def _hold(expected: Any, got: Any, at: str = "") -> None:
    if found := differences(expected, got, at):
        raise Broken(*found)


def _near_misses(client: Client, wanted: ExpectEvent, match: Any) -> list[str]:
    """Tell why no event was the wanted one: each of its name, and where it differs."""
    lines = [f"no {wanted.event} as expected within {wanted.within:g} s"]
    same = [e for e in client.events if e.name == wanted.event]
    for event in same:
        lines += [f"one came, but {line}" for line in differences(match, event.data)]
    if not same:
        others = sorted({event.name for event in client.events})
        lines.append(f"waiting there: {', '.join(others) or 'nothing'}")
    return lines
