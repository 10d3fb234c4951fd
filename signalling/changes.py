"""How a call changes: one conditional write, told to its sides, its effects carried out."""

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import Protocol

import structlog

from care import call_recording
from care.calls import Call
from care.effects import Outgoing
from care.errors import Forbidden, Unavailable
from care.ports import Channel, Clock

ATTEMPTS = 10
"""How often a change is tried again after losing to another; each loss means the other one won."""

logger = structlog.get_logger(__name__)

Causes = Callable[[Call], Outgoing | None]


class CallStore(Protocol):
    """Keeps calls. A user is in one live call at most; `replace` says whether it was stored."""

    async def create(self, call: Call, outgoing: Outgoing) -> None: ...

    async def replace(self, before: Call, after: Call, outgoing: Outgoing | None) -> bool: ...

    async def postpone(self, call: Call, check_at: datetime) -> None: ...

    async def get(self, call_id: str) -> Call | None: ...

    async def live_of(self, user: str) -> Call | None: ...

    async def live_in(self, room: str) -> Call | None: ...

    async def claim_due(self, now: datetime, until: datetime) -> Call | None: ...

    async def next_check(self) -> datetime | None: ...


class Carrier(Protocol):
    """Carries a stored change's effects out, now if possible."""

    async def carry_out(self, outgoing_id: str) -> None: ...


class CallChanges:
    def __init__(
        self,
        store: CallStore,
        carrier: Carrier,
        channel: Channel,
        clock: Clock,
        changed: Callable[[Call, Call], None],
    ) -> None:
        """`changed` is told of each change at once, in this process: what was, and what is."""
        self._store = store
        self._carrier = carrier
        self._channel = channel
        self._clock = clock
        self._changed = changed
        self._carried: set[asyncio.Task[None]] = set()

    async def change(
        self,
        call_id: str,
        step: Callable[[Call], Call],
        causes: Causes = lambda _call: None,
        *,
        tell: bool = True,
    ) -> Call:
        """Change a call as it is now, and have what it `causes` carried out.

        Raises Unavailable when others always came first.
        """
        for _ in range(ATTEMPTS):
            before = await self._store.get(call_id)
            if before is None:
                raise Forbidden
            after = step(before)
            if after is before:
                return before
            if changed := await self.apply(before, after, causes, tell=tell):
                return changed
        raise Unavailable

    async def apply(
        self, before: Call, after: Call, causes: Causes, *, tell: bool = True
    ) -> Call | None:
        """Store a change; give the call as it is then, None where somebody else came first."""
        after = call_recording.settled(after, self._clock.now())
        outgoing = causes(after)
        if not await self._store.replace(before, after, outgoing):
            return None
        self._changed(before, after)
        if tell or _differ(before, after):
            self._tell(before, after)
        if outgoing:
            self.carry(outgoing)
        return after

    def carry(self, outgoing: Outgoing) -> None:
        """Have the effects carried out, for which nobody in a call waits."""
        task = asyncio.create_task(self._carrier.carry_out(outgoing.id))
        self._carried.add(task)
        task.add_done_callback(self._carried.discard)

    async def settle(self) -> None:
        """Wait for what calls have just caused; what is left is the outbox's."""
        await asyncio.gather(*self._carried)

    def _tell(self, before: Call, after: Call) -> None:
        if after.state is not before.state:
            logger.info(
                "call_moved", call=after.id, old=before.state.value, new=after.state.value,
                reason=after.end_reason and after.end_reason.value,
            )  # fmt: skip
        for user in after.users:
            self._channel.push([user], "call:updated", {"call": after.to_wire(user)})


def _differ(before: Call, after: Call) -> bool:
    """Tell whether every side must learn of the change, whatever caused it."""
    return after.state is not before.state or after.generation != before.generation
