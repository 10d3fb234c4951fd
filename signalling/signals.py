"""Offers, answers and candidates, from one side's device to the other's (V3).

Each side's signals arrive on its one connection, in order, and leave in that order. A candidate
that comes before its description is kept until the description is on its way; those that come
after it, a dozen in a moment, go its way without asking the database again.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from care import call_sides as sides
from care.calls import Call, Party
from care.errors import BadRequest, Forbidden, RateLimited, Unavailable
from care.ports import Channel
from signalling.changes import ATTEMPTS
from signalling.negotiation import check_candidate, check_sdp

EARLY_MAX = 64
"""How many candidates may wait for their description."""
EARLY_CALLS_MAX = 10_000
WAIT_MS = 1_000
WAY_SECONDS = 1.0
"""How long a way is used without a look at the call: another process may have changed it."""


@dataclass(frozen=True, slots=True)
class Way:
    """Where a side's candidates go, until the event loop's time says to look again."""

    peer: Party
    until: float


class CallStore(Protocol):
    async def get(self, call_id: str) -> Call | None: ...

    async def replace(self, before: Call, after: Call, outgoing: None) -> bool: ...


class Relay(Protocol):
    """Speaks with the sides whose media go through the server."""

    async def offer(self, call: Call, user: str, at: str, sdp: str) -> tuple[Call, str]: ...

    async def answer(self, call: Call, user: str, sdp: str) -> None: ...

    async def candidate(self, call: Call, user: str, candidate: Mapping[str, Any]) -> None: ...


class SignalService:
    def __init__(self, store: CallStore, channel: Channel, relay: Relay) -> None:
        self._store = store
        self._channel = channel
        self._relay = relay
        # both by call and connection
        self._early: dict[tuple[str, str], deque[Mapping[str, Any]]] = {}
        self._ways: dict[tuple[str, str], Way] = {}

    async def offer(self, user: str, at: str, call_id: str, to: str | None, sdp: str) -> str | None:
        """Pass an offer on; the relay's answer is given at once."""
        call = await self._find(call_id, user, at)
        check_sdp(sdp, call.media, relayed=call.relayed)
        if not call.relayed:
            await self._describe("call:offer", sides.offer, call, user, at, to, sdp)
            return None
        call, answer = await self._relay.offer(call, user, at, sdp)
        for candidate in self._early.pop((call_id, at), ()):
            await self._relay.candidate(call, user, candidate["candidate"])
        return answer

    async def answer(self, user: str, at: str, call_id: str, to: str | None, sdp: str) -> None:
        call = await self._find(call_id, user, at)
        check_sdp(sdp, call.media, relayed=call.relayed)
        if call.relayed:
            await self._relay.answer(call, user, sdp)
        else:
            await self._describe("call:answer", sides.answer, call, user, at, to, sdp)

    async def _describe(
        self,
        event: str,
        step: Callable[[Call, str], Call],
        call: Call,
        user: str,
        at: str,
        to: str | None,
        sdp: str,
    ) -> None:
        """Pass a description on, then the candidates that came before it."""
        for _ in range(ATTEMPTS):
            after = step(call, user)
            if await self._store.replace(call, after, None):
                break
            call = await self._find(call.id, user, at)
        else:
            raise Unavailable
        peer = _peer(after, user, to)
        self._pass(peer, event, {"call": call.id, "from": user, "sdp": sdp})
        self._remember((call.id, at), peer)
        for candidate in self._early.pop((call.id, at), ()):
            self._pass(peer, "call:candidate", candidate)

    async def candidate(
        self, user: str, at: str, call_id: str, to: str | None, candidate: Mapping[str, Any]
    ) -> None:
        """Pass a candidate on, or keep it until its description comes."""
        check_candidate(candidate["candidate"])
        key, data = (call_id, at), {"call": call_id, "from": user, "candidate": candidate}
        way = self._ways.get(key)
        if way and way.until > _loop_time() and to in {None, way.peer.user}:
            self._pass(way.peer, "call:candidate", data)
            return
        call = await self._find(call_id, user, at)
        peer = _peer(call, user, to)
        if not call.party(user).described:
            self._keep(key, data)
        elif call.relayed:
            await self._relay.candidate(call, user, candidate)
        else:
            self._remember(key, peer)
            self._pass(peer, "call:candidate", data)

    def changed(self, call: Call) -> None:
        """Look at the call again before the next candidate of either side goes out."""
        for party in call.parties:
            self._ways.pop((call.id, party.connection or ""), None)

    def forget(self, at: str) -> None:
        """Drop what a closed connection left waiting."""
        for kept in (self._early, self._ways):
            for key in [key for key in kept if key[1] == at]:
                del kept[key]

    def _remember(self, key: tuple[str, str], peer: Party) -> None:
        self._ways[key] = Way(peer, _loop_time() + WAY_SECONDS)

    def _keep(self, key: tuple[str, str], data: Mapping[str, Any]) -> None:
        if key not in self._early and len(self._early) >= EARLY_CALLS_MAX:
            raise Unavailable
        waiting = self._early.setdefault(key, deque())
        if len(waiting) >= EARLY_MAX:
            raise RateLimited(WAIT_MS)
        waiting.append(data)

    async def _find(self, call_id: str, user: str, at: str) -> Call:
        """Give the call to a device that is in it. Raises Forbidden, Conflict."""
        call = await self._store.get(call_id)
        if call is None:
            raise Forbidden
        sides.speaks_for(call, user, at)
        return call

    def _pass(self, peer: Party, event: str, data: Mapping[str, Any]) -> None:
        self._channel.push([peer.user], event, data, only=peer.connection)


def _loop_time() -> float:
    return asyncio.get_running_loop().time()


def _peer(call: Call, user: str, to: str | None) -> Party:
    """Find who is meant. Raises BadRequest for anyone outside the call."""
    for other in call.others(user):
        if to in {None, other.user}:
            return other
    raise BadRequest.field("to", "对方不在通话中")
