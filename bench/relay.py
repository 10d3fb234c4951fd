"""What a relayed call costs: our media worker beside aiortc's MediaRelay and Janus."""

import asyncio
import os
import sys
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass

from bench.packet_bots import FPS, Clip, Kind, PacketBot
from bench.processes import cpu_seconds
from bench.relays import RELAYS, Relay, janus_missing
from bench.report import Figure

SECONDS, QUICK_SECONDS = 15.0, 4.0
WARM_SECONDS = 3.0
BEGIN_SECONDS = 20.0
LOSS = 0.03
SMOOTH = 0.9
POLL_SECONDS = 0.1


class WrongError(Exception):
    """A call's media didn't flow as they should."""


@dataclass(frozen=True)
class Case:
    parties: int
    kinds: tuple[Kind, ...]
    loss: float = 0.0
    recorded: bool = False

    @property
    def name(self) -> str:
        what = "video" if "video" in self.kinds else "audio"
        more = (", 3 % loss" if self.loss else "") + (", recorded" if self.recorded else "")
        return f"{self.parties} parties, {what}{more}"

    def calls(self, relay: str) -> int:
        """So many at once that a core's hundredth is seen, and a core is enough."""
        if relay == "MediaRelay":
            return 2 if self.kinds == ("audio",) and self.parties == 2 else 1
        return {2: 4, 4: 2}[self.parties]


CASES = [
    Case(parties, kinds, loss)
    for kinds in (("audio",), ("audio", "video"))
    for parties in (2, 4)
    for loss in (0.0, LOSS)
] + [Case(2, kinds, recorded=True) for kinds in (("audio",), ("audio", "video"))]


@dataclass(frozen=True)
class Cost:
    """Of one call: the part of a core, and what came of its media."""

    cpu: float
    lost: float
    """The part of the packets that never arrived, after repetitions."""
    pictures: float
    """A second, of each who is received."""

    @property
    def note(self) -> str:
        seen = f", {self.pictures:.0f} pictures/s" if self.pictures else ""
        return f"{self.lost:.2%} lost{seen}"


async def measure(quick: bool) -> list[Figure]:
    relays = list(RELAYS)
    if (reason := janus_missing()) is not None:
        print(reason)
        relays.remove("Janus")
    clip, seconds = Clip.encode(), QUICK_SECONDS if quick else SECONDS
    costs: dict[tuple[Case, str], Cost] = {}
    for case in CASES:
        for name in relays:
            async with RELAYS[name]() as relay:
                cost = await _cost(relay, case, case.calls(name), clip, seconds)
            costs[case, name] = cost
            print(f"  {case.name}, {name}: {cost.cpu:.2%}, {cost.note}", file=sys.stderr)
    print(table(costs, relays))
    return [
        Figure(f"{case.name}, {name}", cost.cpu * 100, "% of a core", cost.note)
        for (case, name), cost in costs.items()
    ] + [Figure("load average", os.getloadavg()[0], "")]


def table(costs: dict[tuple[Case, str], Cost], relays: Sequence[str]) -> str:
    """Write the figures as Markdown: % of a core a call, and how ours compares."""
    first, *others = relays
    head = ["a call", *relays, *(f"{other} ÷ {first}" for other in others)]
    rows = [head, ["---"] * len(head)]
    for case in CASES:
        ours = costs[case, first].cpu
        cells = [_cell(costs[case, name]) for name in relays]
        ratios = [f"{costs[case, name].cpu / ours:.2f}" for name in others]
        rows.append([case.name, *cells, *ratios])
    return "\n" + "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _cell(cost: Cost) -> str:
    """Say with the cost when pictures came too seldom: a relay that can't keep up costs less."""
    slow = 0 < cost.pictures < SMOOTH * FPS
    return f"{cost.cpu * 100:.2f} %" + (f" ({cost.pictures:.0f} pictures/s)" if slow else "")


async def _cost(relay: Relay, case: Case, calls: int, clip: Clip, seconds: float) -> Cost:
    bots: list[PacketBot] = []
    async with AsyncExitStack() as stack:
        for number in range(calls):
            name = f"call-{number}"
            joined = await relay.call(
                name, case.parties, case.kinds, clip, case.loss, recorded=case.recorded
            )
            stack.push_async_callback(relay.end, name)
            for bot in joined:
                stack.push_async_callback(bot.close)
            bots += joined
        await begun(bots, case)
        await asyncio.sleep(WARM_SECONDS)
        pictures, cpu, since = _pictures(bots), cpu_seconds(relay.pid), time.perf_counter()
        await asyncio.sleep(seconds)
        passed = time.perf_counter() - since
        used = cpu_seconds(relay.pid) - cpu
        pictures = _pictures(bots) - pictures
        received, lost = sum(bot.received for bot in bots), sum(bot.lost for bot in bots)
    streams = calls * case.parties * (case.parties - 1)
    return Cost(used / passed / calls, lost / (received + lost), pictures / passed / streams)


def _pictures(bots: Sequence[PacketBot]) -> int:
    return sum(tally.frames for bot in bots for tally in bot.tallies("video"))


async def begun(bots: Sequence[PacketBot], case: Case) -> None:
    """Wait until everybody receives all others. Raises WrongError."""
    expected = (case.parties - 1) * len(case.kinds)
    receiving = [bot for bot in bots if bot.tallies()]
    try:
        async with asyncio.timeout(BEGIN_SECONDS):
            # packets tell nobody that they came: poll, bounded by the timeout
            while not all(  # noqa: ASYNC110
                sum(one.received > 0 for one in bot.tallies()) >= expected for bot in receiving
            ):
                await asyncio.sleep(POLL_SECONDS)
    except TimeoutError:
        raise WrongError(f"{case.name}: not everybody is heard and seen") from None
