"""Delivery: what the log stored reaches every member's sockets, a room's messages in order (I5).

Messages come from this node's log and, as hints, from other nodes. A room's next message goes out
at once; an older one is a repeat; a later one shows a gap, which is read from the log first. How
far a room was delivered means something only while one of its members stays connected here: what
was stored before the first of them came is no gap to anyone.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import structlog

from care.ports import Channel, Clock, LogReader
from care.rooms import Head, Kind, Message
from realtime.rooms.views import MessageViews

ROOMS_MAX = 50_000
PAGE = 200
READS_MAX = 8
"""Rooms read at a time when all are looked at again: clients need the database then, too."""

logger = structlog.get_logger(__name__)


class Relay(Protocol):
    """Hands stored messages to the other nodes. A hint: never waits, may lose."""

    def relay(self, message: Message, members: Sequence[str]) -> None: ...


@dataclass(frozen=True, slots=True)
class Mark:
    """How far a room was delivered, to whom, and when that was."""

    seq: int
    members: Sequence[str]
    at: datetime


class Delivery:
    """Push to the members who are here. `alone`: no other process writes to the log."""

    def __init__(
        self, reader: LogReader, views: MessageViews, channel: Channel, clock: Clock, *, alone: bool
    ) -> None:
        self._reader = reader
        self._views = views
        self._channel = channel
        self._clock = clock
        self._alone = alone
        self._relay: Relay | None = None
        self._here: dict[str, datetime] = {}
        self._marks: OrderedDict[str, Mark] = OrderedDict()
        self._origins: OrderedDict[str, str] = OrderedDict()
        # by room that is being read: the latest seq heard of meanwhile
        self._filling: dict[str, int] = {}
        self._readers: set[asyncio.Task[None]] = set()

    def relay_to(self, relay: Relay) -> None:
        self._relay = relay

    def came(self, user: str) -> None:
        """Note that a user, who had none, has a socket here."""
        self._here[user] = self._clock.now()

    def left(self, user: str) -> None:
        """Note that a user's last socket here is gone."""
        self._here.pop(user, None)

    def sent_by(self, draft: str, connection: str) -> None:
        """Remember a draft's connection until it is delivered, or long forgotten."""
        self._origins[draft] = connection
        if len(self._origins) > ROOMS_MAX:
            self._origins.popitem(last=False)

    def stored(self, batch: Sequence[tuple[Message, Head]]) -> None:
        """Deliver what this node's log just made durable."""
        for message, head in batch:
            self.deliver(message, head.fence.members)
            if self._relay is not None and not self._alone:
                self._relay.relay(message, head.fence.members)

    def deliver(self, message: Message, members: Sequence[str]) -> None:
        """Push the message if it is its room's next; never blocks."""
        room, seq = message.room, message.seq
        since = self._since(members)
        if since is None:
            self._origins.pop(message.id, None)
        elif room in self._filling:
            self._filling[room] = max(seq, self._filling[room])
        elif (mark := self._mark(room)) is None:
            if self._alone:
                self._push(message, members)
            else:
                self._fill(room, seq, since)
        elif seq == mark.seq + 1:
            self._push(message, members)
        elif seq > mark.seq:
            self._fill(room, seq, mark.seq)

    def missed(self) -> None:
        """Read every room again that has someone here and has moved: hints may have been lost."""
        self._keep(asyncio.create_task(self._look_again(list(self._marks)), name="look-again"))

    async def _look_again(self, rooms: Sequence[str]) -> None:
        try:
            for first in range(0, len(rooms), PAGE):
                here = [room for room in rooms[first : first + PAGE] if self._mark(room)]
                heads = await self._reader.heads(here)
                for at in range(0, len(here), READS_MAX):
                    some = here[at : at + READS_MAX]
                    reads = [self._fill_to(room, heads[room].seq) for room in some]
                    await asyncio.gather(*filter(None, reads))
        except Exception:
            # the clients see the gaps themselves and ask for them by room:sync
            logger.exception("rooms_not_looked_at")

    def _fill_to(self, room: str, seq: int) -> asyncio.Task[None] | None:
        mark = self._mark(room)
        if mark is None or seq <= mark.seq or room in self._filling:
            return None
        return self._fill(room, seq, mark.seq)

    def _since(self, members: Sequence[str]) -> datetime | None:
        """Tell since when one of these, at least, has been here."""
        return min((self._here[user] for user in members if user in self._here), default=None)

    def _mark(self, room: str) -> Mark | None:
        """Give the room's mark, unless it is from before anyone who is here came."""
        mark = self._marks.get(room)
        if mark is None:
            return None
        since = self._since(mark.members)
        if since is None or mark.at < since:
            del self._marks[room]
            return None
        return mark

    def _fill(self, room: str, seq: int, begin: int | datetime) -> asyncio.Task[None]:
        """Read the room from the log, after this seq or since this time, up to `seq` at least."""
        self._filling[room] = seq
        task = asyncio.create_task(self._read_on(room, seq, begin), name=f"fill-{room}")
        self._keep(task)
        return task

    def _keep(self, task: asyncio.Task[None]) -> None:
        self._readers.add(task)
        task.add_done_callback(self._readers.discard)

    async def _read_on(self, room: str, seq: int, begin: int | datetime) -> None:
        """Push what the log has beyond the beginning, until there is no more."""
        try:
            last = begin if isinstance(begin, int) else await self._last_before(room, seq, begin)
            while True:
                found = await self._reader.after(room, last, PAGE)
                if found:
                    members = (await self._reader.heads([room]))[room].fence.members
                    for message in found:
                        self._push(message, members)
                    last = found[-1].seq
                elif self._filling[room] <= last:
                    # else something was stored during this read, and heard of
                    return
        except Exception:
            # the clients see the gap themselves and ask for it by room:sync
            logger.exception("gap_not_filled", room=room)
        finally:
            del self._filling[room]

    async def _last_before(self, room: str, seq: int, since: datetime) -> int:
        """Give the seq, below this one, of the last message stored before this time."""
        earlier = await self._reader.before(room, seq, PAGE)
        missed = [message.seq for message in earlier if message.at >= since]
        return missed[0] - 1 if missed else seq - 1

    def _push(self, message: Message, members: Sequence[str]) -> None:
        skip = self._origins.pop(message.id, None)
        if self._views.same_for_all(message):
            shown = self._views.show(message, "")
            self._channel.push(members, "message:new", shown, skip=skip)
        else:
            for user in members:
                shown = self._views.show(message, user)
                self._channel.push([user], "message:new", shown, skip=skip)
        if message.kind is Kind.RECALL:
            recalled = {"room": message.room, "seq": message.body["seq"], "by": message.body["by"]}
            self._channel.push(members, "message:recalled", recalled)
        self._marks[message.room] = Mark(message.seq, members, self._clock.now())
        self._marks.move_to_end(message.room)
        if len(self._marks) > ROOMS_MAX:
            self._marks.popitem(last=False)
