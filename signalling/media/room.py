"""A media room: its sides, each given what all others send."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import structlog
from aiortc.sdp import SessionDescription

from care.call_sides import SIDES_MAX
from care.errors import BadRequest, Conflict
from care.media import SideStats
from care.policy import MediaPolicy
from signalling.media import descriptions
from signalling.media.descriptions import Codec
from signalling.media.inbound import Inbound
from signalling.media.measuring import Measuring
from signalling.media.side import Side, Slot
from signalling.media.tap import PacketTap

PAIR = 2
EARLY_MAX = 32
"""Candidates that may wait for their offer, a user."""

logger = structlog.get_logger(__name__)


class Room:
    def __init__(
        self, call: str, policy: MediaPolicy, offered: Callable[[str, str, str], None]
    ) -> None:
        """`offered` is told of offers to be passed on: the call, the user, the SDP."""
        self.call = call
        self._policy, self._offered = policy, offered
        self._sides: dict[str, Side] = {}
        self._measuring: dict[str, Measuring] = {}
        self._taps: list[PacketTap] = []
        self._codec: Codec | None = None
        self._early: dict[str, list[Mapping[str, Any]]] = {}
        self._lock = asyncio.Lock()

    @property
    def users(self) -> tuple[str, ...]:
        return tuple(self._sides)

    async def join(self, user: str, sdp: str) -> str:
        """Take a side's offer, its first or a later one; give the answer.

        Raises BadRequest, also for a fifth side; Conflict while an offer of ours is out.
        """
        offer = descriptions.read(sdp, "offer")
        async with self._lock:
            known = self._sides.get(user)
            if known is not None and known.continues(offer):
                answer = await known.answer(offer, sdp)
            else:
                answer = await self._let_in(user, offer, sdp)
            self._connect()
        return answer

    async def take_answer(self, user: str, sdp: str) -> None:
        await self._side(user).take_answer(sdp)

    async def take_candidate(self, user: str, said: Mapping[str, Any]) -> None:
        """Add a side's candidate; one that overtook its offer waits for it."""
        side = self._sides.get(user)
        if side is not None:
            await side.take_candidate(said)
        elif len(waiting := self._early.setdefault(user, [])) < EARLY_MAX:
            waiting.append(said)

    async def leave(self, user: str) -> None:
        async with self._lock:
            await self._let_out(user)
            self._measuring.pop(user, None)
            self._connect()

    async def close(self) -> None:
        async with self._lock:
            for user in self.users:
                await self._let_out(user)

    def attach(self, tap: PacketTap) -> None:
        self._taps.append(tap)
        for user in self.users:
            self.ask_key_frame(user)

    def detach(self, tap: PacketTap) -> None:
        self._taps.remove(tap)

    def ask_key_frame(self, user: str) -> None:
        if (side := self._sides.get(user)) and (source := side.traffic.sources.get("video")):
            source.ask_key_frame()

    def stats(self) -> list[SideStats]:
        return [
            self._measuring[user].read(side.traffic, side.candidate)
            for user, side in self._sides.items()
        ]

    async def _let_in(self, user: str, offer: SessionDescription, sdp: str) -> str:
        """Begin with a device: the user's first, or one in the place of another."""
        if user not in self._sides and len(self._sides) >= SIDES_MAX:
            raise BadRequest("通话人数已满")
        codec = self._codec or descriptions.video_codec(offer, self._policy.codecs)
        side = Side(
            user, codec, self._policy, self._taps, lambda said: self._offered(self.call, user, said)
        )
        try:
            answer = await side.answer(offer, sdp)
        except BaseException:
            await side.close()
            raise
        await self._let_out(user)
        self._codec = codec
        self._sides[user] = side
        self._measuring.setdefault(user, Measuring(user))
        side.run()
        for said in self._early.pop(user, ()):
            await side.take_candidate(said)
        logger.info("side_joined", call=self.call, user=user, sides=len(self._sides))
        return answer

    async def _let_out(self, user: str) -> None:
        side = self._sides.pop(user, None)
        if side is None:
            return
        for other in self._sides.values():
            for slot in other.slots:
                if slot.user == user:
                    slot.outbound.attach(None)
        await side.close()
        for tap in self._taps:
            tap.on_left(user)

    def _connect(self) -> None:
        """Give each side what every other one sends, over sections that are free or new."""
        for side in self._sides.values():
            changed = False
            for other in self._sides.values():
                if other is side:
                    continue
                for kind, source in other.traffic.sources.items():
                    if kind not in side.traffic.sources or source in _sources(side):
                        continue
                    slot, new = _free_slot(side, kind)
                    slot.outbound.attach(source)
                    # between two it can only be the other one's
                    unnamed = slot.told is None and len(self._sides) == PAIR
                    changed |= new or (slot.told != other.user and not unnamed)
            if _silence(side) or changed:
                side.renegotiate()

    def _side(self, user: str) -> Side:
        side = self._sides.get(user)
        if side is None:
            raise Conflict("尚未加入通话")
        return side


def _sources(side: Side) -> set[Inbound | None]:
    return {slot.outbound.source for slot in side.slots}


def _free_slot(side: Side, kind: str) -> tuple[Slot, bool]:
    """Find a section that carries nobody's stream, or open one; say whether it must be offered."""
    for slot in side.slots:
        if slot.kind == kind and slot.user is None:
            new = slot.transceiver.direction == "inactive"
            if new:
                slot.transceiver.direction = "sendonly"
            return slot, new
    return side.add_slot(kind), True


def _silence(side: Side) -> bool:
    """Close the sections of those who left, so that their picture goes too."""
    idle = [
        slot
        for slot in side.slots
        if not slot.asked and slot.user is None and slot.transceiver.direction == "sendonly"
    ]
    for slot in idle:
        slot.transceiver.direction = "inactive"
    return bool(idle)
