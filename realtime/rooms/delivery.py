"""Delivery: what the log stored reaches every member's sockets, a room's messages in order (I5).

Messages come from this node's log and, as hints, from other nodes. A room's next message goes out
at once; an older one is a repeat; a later one shows a gap, which is read from the log first.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from typing import Protocol

import structlog

from care.ports import Channel, LogReader
from care.rooms import Head, Kind, Message
from realtime.rooms.views import MessageViews

ROOMS_MAX = 50_000
PAGE = 200

logger = structlog.get_logger(__name__)


class Relay(Protocol):
    """Hands stored messages to the other nodes. A hint: never waits, may lose."""

    def relay(self, message: Message, members: Sequence[str]) -> None: ...


class Delivery:
    def __init__(self, reader: LogReader, views: MessageViews, channel: Channel) -> None:
        self._reader = reader
        self._views = views
        self._channel = channel
        self._relay: Relay | None = None
        self._delivered: OrderedDict[str, int] = OrderedDict()
        self._origins: OrderedDict[str, str] = OrderedDict()
        self._filling: dict[str, asyncio.Task[None]] = {}

    def relay_to(self, relay: Relay) -> None:
        self._relay = relay

    def sent_by(self, draft: str, connection: str) -> None:
        """Remember a draft's connection until it is delivered, or long forgotten."""
        self._origins[draft] = connection
        if len(self._origins) > ROOMS_MAX:
            self._origins.popitem(last=False)

    def stored(self, batch: Sequence[tuple[Message, Head]]) -> None:
        """Deliver what this node's log just made durable."""
        for message, head in batch:
            self.deliver(message, head.fence.members)
            if self._relay is not None:
                self._relay.relay(message, head.fence.members)

    def deliver(self, message: Message, members: Sequence[str]) -> None:
        """Push the message if it is its room's next; never blocks."""
        room, seq = message.room, message.seq
        last = self._delivered.get(room)
        if room in self._filling or (last is not None and seq <= last):
            return
        if last is not None and seq > last + 1:
            self._fill(room)
            return
        self._push(message, members)

    def missed(self) -> None:
        """Read every known room again: hints from other nodes may have been lost."""
        for room in list(self._delivered):
            self._fill(room)

    def _fill(self, room: str) -> None:
        if room not in self._filling:
            task = asyncio.create_task(self._read_on(room), name=f"fill-{room}")
            self._filling[room] = task

    async def _read_on(self, room: str) -> None:
        """Push what the log has beyond the last one pushed, until there is no more."""
        try:
            while found := await self._reader.after(room, self._delivered[room], PAGE):
                members = (await self._reader.heads([room]))[room].fence.members
                for message in found:
                    self._push(message, members)
        except Exception:
            # the clients see the gap themselves and ask for it by room:sync
            logger.exception("gap_not_filled", room=room)
        finally:
            del self._filling[room]

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
        self._delivered[message.room] = message.seq
        self._delivered.move_to_end(message.room)
        if len(self._delivered) > ROOMS_MAX:
            self._delivered.popitem(last=False)
