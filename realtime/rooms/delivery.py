"""Delivery: what the log stored reaches every member's sockets, a room's messages in order (I5).

Messages come from this node's log and, as hints, from other nodes. A room's next message goes out
at once; an older one is a repeat; a later one shows a gap, which is read from the log first.
"""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Protocol

from care.ports import Channel, Clock, LogReader
from care.rooms import Head, Kind, Message
from realtime.rooms.gaps import Gaps
from realtime.rooms.marks import Marks
from realtime.rooms.views import MessageViews

ORIGINS_MAX = 50_000


class Relay(Protocol):
    """Hands stored messages to the other nodes. A hint: never waits, may lose."""

    def relay(self, message: Message, members: Sequence[str]) -> None: ...


class Delivery:
    """Push to the members who are here. `alone`: no other process writes to the log."""

    def __init__(
        self, reader: LogReader, views: MessageViews, channel: Channel, clock: Clock, *, alone: bool
    ) -> None:
        self._views = views
        self._channel = channel
        self._alone = alone
        self._relay: Relay | None = None
        self._marks = Marks(clock)
        self._gaps = Gaps(reader, self._marks, self._push)
        self._origins: OrderedDict[str, str] = OrderedDict()

    def relay_to(self, relay: Relay) -> None:
        self._relay = relay

    def came(self, user: str) -> None:
        """Note that a user, who had none, has a socket here."""
        self._marks.came(user)

    def left(self, user: str) -> None:
        """Note that a user's last socket here is gone."""
        self._marks.left(user)

    def sent_by(self, draft: str, connection: str) -> None:
        """Remember a draft's connection until it is delivered, or long forgotten."""
        self._origins[draft] = connection
        if len(self._origins) > ORIGINS_MAX:
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
        first = self._marks.first(members)
        if first is None:
            self._origins.pop(message.id, None)
            return
        if self._gaps.hear(room, seq):
            return
        mark = self._marks.of(room)
        if mark is None and not self._alone:
            # others may have stored what came between that arrival and this
            self._gaps.fill(room, seq, first.at)
        elif mark is None or seq == mark.seq + 1:
            self._push(message, members)
        elif seq > mark.seq:
            self._gaps.fill(room, seq, mark.seq)

    def missed(self) -> None:
        """Look at every room again that has someone here: hints may have been lost."""
        self._gaps.look_again()

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
        self._marks.move(message.room, message.seq, members)
