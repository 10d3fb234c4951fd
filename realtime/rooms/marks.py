"""How far each room was delivered to this node.

That means something only while one of the room's members stays connected here: what was stored
before the first of them came is a gap to nobody.
"""

from collections import OrderedDict
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from care.ports import Clock

ROOMS_MAX = 50_000


class Arrival(NamedTuple):
    """When a user, who had none, got a socket here; arrivals are numbered in their order."""

    number: int
    at: datetime


class Mark(NamedTuple):
    """How far a room was delivered, to whom, and the number of the last arrival by then."""

    seq: int
    members: Sequence[str]
    arrival: int


class Marks:
    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._here: dict[str, Arrival] = {}
        self._arrivals = 0
        self._marks: OrderedDict[str, Mark] = OrderedDict()

    def came(self, user: str) -> None:
        """Note that a user, who had none, has a socket here."""
        self._arrivals += 1
        self._here[user] = Arrival(self._arrivals, self._clock.now())

    def left(self, user: str) -> None:
        """Note that a user's last socket here is gone."""
        self._here.pop(user, None)

    def first(self, members: Sequence[str]) -> Arrival | None:
        """Give the earliest arrival among those of these who are here."""
        here = [self._here[user] for user in members if user in self._here]
        return min(here) if here else None

    def of(self, room: str) -> Mark | None:
        """Give the room's mark, unless nobody stayed here since it was set."""
        mark = self._marks.get(room)
        if mark is None:
            return None
        first = self.first(mark.members)
        if first is None or first.number > mark.arrival:
            del self._marks[room]
            return None
        return mark

    def move(self, room: str, seq: int, members: Sequence[str]) -> None:
        """Note that the room was delivered up to `seq`."""
        self._marks[room] = Mark(seq, members, self._arrivals)
        self._marks.move_to_end(room)
        if len(self._marks) > ROOMS_MAX:
            self._marks.popitem(last=False)

    def rooms(self) -> list[str]:
        """List the rooms with a mark, the longest unmoved first."""
        return list(self._marks)
