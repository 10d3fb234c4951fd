"""Gaps in what a node delivered: they are read from the log, each room by one task at a time."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator, Sequence
from datetime import datetime
from typing import Any

import structlog

from care.ports import LogReader
from care.rooms import Message
from realtime.rooms.marks import Marks

PAGE = 200
READS_MAX = 8
"""Rooms read at a time when all are looked at again: clients need the database then, too."""

logger = structlog.get_logger(__name__)


class Gaps:
    """Fill gaps by `push`, which moves the room's mark. What fails, clients ask for themselves."""

    def __init__(
        self, reader: LogReader, marks: Marks, push: Callable[[Message, Sequence[str]], None]
    ) -> None:
        self._reader = reader
        self._marks = marks
        self._push = push
        # by room that is being read: the latest seq heard of
        self._heard: dict[str, int] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def hear(self, room: str, seq: int) -> bool:
        """Say whether the room is being read; if so, it will be up to `seq` at least."""
        if room not in self._heard:
            return False
        self._heard[room] = max(seq, self._heard[room])
        return True

    def fill(self, room: str, seq: int, begin: int | datetime) -> asyncio.Task[None]:
        """Read the room after this seq, or since this time, up to `seq` at least."""
        self._heard[room] = seq
        return self._start(self._fill(room, seq, begin))

    def look_again(self) -> None:
        """Read on in every marked room that moved."""
        self._start(self._look_again(self._marks.rooms()))

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _look_again(self, rooms: Sequence[str]) -> None:
        try:
            for page in _pieces(rooms, PAGE):
                heads = await self._reader.heads([room for room in page if self._marks.of(room)])
                for few in _pieces(list(heads), READS_MAX):
                    fills = [self._fill_up(room, heads[room].seq) for room in few]
                    await asyncio.gather(*filter(None, fills))
        except Exception:
            logger.exception("rooms_not_looked_at")

    def _fill_up(self, room: str, seq: int) -> asyncio.Task[None] | None:
        mark = self._marks.of(room)
        if mark is None or seq <= mark.seq or self.hear(room, seq):
            return None
        return self.fill(room, seq, mark.seq)

    async def _fill(self, room: str, seq: int, begin: int | datetime) -> None:
        try:
            last = begin if isinstance(begin, int) else await self._last_before(room, seq, begin)
            await self._read_on(room, last)
        except Exception:
            logger.exception("gap_not_filled", room=room)
        finally:
            del self._heard[room]

    async def _last_before(self, room: str, seq: int, since: datetime) -> int:
        """Give the seq, below this one, of the last message stored before this time."""
        earlier = await self._reader.before(room, seq, PAGE)
        missed = [message.seq for message in earlier if message.at >= since]
        return missed[0] - 1 if missed else seq - 1

    async def _read_on(self, room: str, last: int) -> None:
        """Push what follows, until there is no more."""
        while True:
            found = await self._reader.after(room, last, PAGE)
            if found:
                members = (await self._reader.heads([room]))[room].fence.members
                for message in found:
                    self._push(message, members)
                last = found[-1].seq
            elif self._heard[room] <= last:
                # else something was stored during this read, and heard of
                return


def _pieces(rooms: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    for first in range(0, len(rooms), size):
        yield rooms[first : first + size]
