"""Play a scenario against a server through the public wire, and say whether it held."""

import asyncio
import sys
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp

from bot.calls import Phone
from bot.client import TIMEOUT, Client
from bot.errors import BotError, Broken
from bot.matching import matches
from bot.player import Player, hold
from bot.scenario import Scenario, Step, load
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
        players = {}
        for key, actor in scenario.actors.items():
            # a session each, as the actors' devices would have
            http = await stack.enter_async_context(aiohttp.ClientSession(timeout=TIMEOUT))
            client = Client(url, actor, http)
            stack.push_async_callback(client.close)
            phone = Phone(client, actor.tone)
            stack.push_async_callback(phone.close)
            players[key] = Player(actor.name, client, phone, transcript)
        return await Run(scenario, players, transcript).to_the_end()


class Run:
    """One playing of a scenario: its players, and the names saved so far."""

    def __init__(
        self, scenario: Scenario, players: dict[str, Player], transcript: Transcript
    ) -> None:
        self._scenario = scenario
        self._players = players
        self._transcript = transcript
        self._names: dict[str, Any] = dict(scenario.variables)

    async def to_the_end(self) -> int:
        number = 0
        try:
            for player in self._players.values():
                await player.log_in()
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
        result = await self._players[step.actor].act(step, self._names)
        if step.must_be_ok:
            hold({"ok": True}, result)
        if step.expect is not None:
            hold(resolve(step.expect, self._names), result)
            self._transcript.passed("as expected")
        for name, path in step.save.items():
            self._names[name] = pick(result, resolve(path, self._names))
