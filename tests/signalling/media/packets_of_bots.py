"""A room of packet bots: who is given how many packets of whom, exactly."""

import asyncio
from functools import cache

from bench.packet_bots import Clip, Kind, PacketBot
from care.policy import MediaPolicy
from signalling.media.room import Room
from signalling.media.side import Side
from tests.signalling.media.guests import until
from tests.signalling.media.hop import Hop

VIDEO_BPS = 300_000
BOTH: tuple[Kind, ...] = ("audio", "video")
SOUND: tuple[Kind, ...] = ("audio",)
"""So little that the sockets' buffers bridge seconds of a machine that has no time for us."""


@cache
def clip() -> Clip:
    # little, so that it flows on a busy machine too
    return Clip.encode(VIDEO_BPS)


class Talk:
    """A call of bots in this process. Close it."""

    def __init__(self, call: str = "talk", policy: MediaPolicy | None = None) -> None:
        self.room = Room(call, policy or MediaPolicy(), self._offered)
        self.bots: dict[str, PacketBot] = {}
        self.offered: list[tuple[str, str]] = []
        self.hops: list[Hop] = []

    async def join(
        self,
        user: str,
        others: int = 1,
        *,
        kinds: tuple[Kind, ...] = BOTH,
        loss: float | None = None,
    ) -> PacketBot:
        """Let a bot in, over a hop if there is to be a loss, be it none."""
        bot = self.bots[user] = PacketBot(user, clip())
        offer = await bot.offer(kinds, others)
        if loss is None:
            await bot.take_answer(await self.room.join(user, offer))
            return bot
        hop = Hop(loss, seed=len(self.hops))
        self.hops.append(hop)
        await hop.open()
        await bot.take_answer(hop.answer(await self.room.join(user, hop.offer(offer))))
        return bot

    async def flows(self, *users: str) -> None:
        """Wait until these, or all, are given more than they were."""
        bots = [self.bots[user] for user in users or self.bots]
        had = {id(bot): bot.received for bot in bots}
        await until(
            lambda: all(bot.received > had[id(bot)] + 25 for bot in bots),
            "everybody is given packets",
        )

    def side(self, user: str) -> Side:
        """Look into the room."""
        return self.room._sides[user]

    async def close(self) -> None:
        await self.room.close()
        await asyncio.gather(*(bot.close() for bot in self.bots.values()))
        for hop in self.hops:
            hop.close()

    def _offered(self, _call: str, user: str, sdp: str) -> None:
        self.offered.append((user, sdp))
