"""What the log's tests share: a clock, drafts, and the check that a room's log is whole."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from itertools import count

from care.record import new_id
from care.rooms import SYSTEM, Draft, Fence, Head, Kind, Message, Sender, find_break
from storage.database import Database
from storage.log import MessageLog
from storage.messages import Messages

START = datetime(2026, 11, 22, 8, tzinfo=UTC)

PATIENT = Sender("patient", "patient", "问诊小白")
DOCTOR = Sender("doctor", "doctor", "小傅")
BOTH = (PATIENT.id, DOCTOR.id)

_numbers = count(1)


class TickingClock:
    """A clock that moves a millisecond each time it is read."""

    def __init__(self) -> None:
        self._now = START

    def now(self) -> datetime:
        self._now += timedelta(milliseconds=1)
        return self._now


def new_room() -> str:
    return f"room-{next(_numbers)}"


def text(
    room: str, sender: Sender = PATIENT, words: str = "您好", client_id: str | None = None
) -> Draft:
    client_id = client_id or f"c{next(_numbers)}"
    return Draft(new_id(START), room, sender, client_id, Kind.TEXT, {"text": words})


def fence(room: str, writers: Iterable[str] = BOTH, version: int = 1) -> Draft:
    """Draft the system line that says who may write from here on."""
    rule = Fence(version, BOTH, tuple(writers))
    client_id = f"f{next(_numbers)}"
    return Draft(new_id(START), room, SYSTEM, client_id, Kind.SYSTEM, {"text": "系统"}, rule)


def chain(*drafts: Draft) -> list[Message]:
    """Chain drafts from an empty room on, without a database."""
    head, messages = Head(), []
    for draft in drafts:
        messages.append(head.follow(draft, START))
        head = head.after(messages[-1])
    return messages


def heads_of(messages: Sequence[Message]) -> list[Head]:
    """Give the head before each message and the last one, or fail where the chain is broken."""
    heads = [Head()]
    for message in messages:
        assert find_break(heads[-1], message) is None
        heads.append(heads[-1].after(message))
    return heads


class Node:
    """One process's log on a shared database, and all it told of."""

    def __init__(self, database: Database) -> None:
        self.messages = Messages(database)
        self.told: list[tuple[Message, Head]] = []
        self.batches: list[int] = []
        self.log = MessageLog(
            self.messages,
            TickingClock(),
            self.told.extend,
            lambda size, _seconds: self.batches.append(size),
        )

    async def open(self, *rooms: str) -> None:
        for line in [self.log.append(fence(room)) for room in rooms]:
            await line

    async def read(self, room: str) -> list[Message]:
        return await self.messages.after(room, 0, 10_000)

    def told_of(self, room: str) -> list[int]:
        return [message.seq for message, _ in self.told if message.room == room]


async def nodes(database: Database, size: int = 1) -> list[Node]:
    await Messages(database).ensure_indexes()
    return [Node(database) for _ in range(size)]
