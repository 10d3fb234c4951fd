"""The message log: group commit, dense order, once for each client id (I1–I4, I7).

Everything that arrives while a write is in flight is the next batch. A batch whose rooms are all
different is one unordered `insert_many`: each message stands alone. A batch with several messages
of one room is one transaction, since a hole in a run would break the order and the chain. When
another process wrote first, the heads are read again and the batch goes on one message a room at a
time, so a conflict costs only its own room. There is no timer: an idle log writes at once.
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import structlog
from pymongo.errors import PyMongoError

from care.errors import Closed, Unavailable
from care.ports import Clock
from care.rooms import Draft, Head, Message
from storage.messages import Messages

BATCH_MAX = 500
WAITING_MAX = 20_000
HEADS_MAX = 20_000
ATTEMPTS_MAX = 8

logger = structlog.get_logger(__name__)


@dataclass(slots=True, eq=False)
class Entry:
    """A draft and the caller's wait for it."""

    draft: Draft
    stored: "asyncio.Future[Message]"

    @property
    def key(self) -> tuple[str, str, str]:
        return (self.draft.room, self.draft.sender.id, self.draft.client_id)

    def resolve(self, message: Message) -> None:
        if not self.stored.done():
            self.stored.set_result(message)

    def refuse(self, error: Exception) -> None:
        if not self.stored.done():
            self.stored.set_exception(error)


@dataclass(frozen=True, slots=True)
class Numbered:
    """A batch as it will be written: chained messages, later copies of them, and the refused."""

    written: list[tuple[Entry, Message]]
    copies: list[tuple[Entry, Entry]]
    refused: list[Entry]
    heads: dict[str, Head]


def number(entries: Iterable[Entry], heads: dict[str, Head], clock: Clock) -> Numbered:
    """Give each draft its place after its room's head, in order of arrival."""
    heads = dict(heads)
    now = clock.now()
    first: dict[tuple[str, str, str], Entry] = {}
    result = Numbered([], [], [], heads)
    for entry in entries:
        draft = entry.draft
        if entry.key in first:
            result.copies.append((entry, first[entry.key]))
        elif not heads[draft.room].admits(draft):
            result.refused.append(entry)
        else:
            first[entry.key] = entry
            message = heads[draft.room].follow(draft, now)
            heads[draft.room] = heads[draft.room].after(message)
            result.written.append((entry, message))
    return result


class MessageLog:
    """Append to rooms, durable before the future resolves.

    `on_stored` gets each batch once it is durable, a room's messages in seq order.
    """

    def __init__(
        self,
        messages: Messages,
        clock: Clock,
        on_stored: Callable[[Sequence[tuple[Message, Head]]], None],
        on_batch: Callable[[int, float], None] = lambda _size, _seconds: None,
    ) -> None:
        self._messages = messages
        self._clock = clock
        self._on_stored = on_stored
        self._on_batch = on_batch
        self._waiting: deque[Entry] = deque()
        self._heads: OrderedDict[str, Head] = OrderedDict()
        self._writer: asyncio.Task[None] | None = None

    @property
    def waiting(self) -> int:
        """How many drafts wait for a write."""
        return len(self._waiting)

    def append(self, draft: Draft) -> "asyncio.Future[Message]":
        """Accept a draft, in the order of the calls. Raises Unavailable when too many wait.

        The future gives the stored message, or the first one of the same client id; Closed when
        the room takes nothing from this sender; Unavailable when the database is away.
        """
        if len(self._waiting) >= WAITING_MAX:
            raise Unavailable
        entry = Entry(draft, asyncio.get_running_loop().create_future())
        self._waiting.append(entry)
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._drain(), name="message-log")
        return entry.stored

    def observe(self, message: Message) -> None:
        """Learn of another process's message, so that the next write here needn't collide."""
        head = self._heads.get(message.room)
        if head is not None and message.seq == head.seq + 1:
            self._heads[message.room] = head.after(message)

    async def close(self) -> None:
        """Wait until everything accepted is written or refused."""
        while self._writer is not None and not self._writer.done():
            await asyncio.wait([self._writer])

    async def _drain(self) -> None:
        while self._waiting:
            batch = [self._waiting.popleft() for _ in range(min(BATCH_MAX, len(self._waiting)))]
            try:
                await self._commit(batch)
            except Exception as error:
                if not isinstance(error, PyMongoError):
                    logger.exception("message_batch_failed", size=len(batch))
                else:
                    logger.warning("message_batch_unavailable", error=type(error).__name__)
                self._forget(batch)
                for entry in batch:
                    entry.refuse(Unavailable())

    async def _commit(self, batch: list[Entry]) -> None:
        """Write the whole batch, however often another writer or a lost primary gets in between."""
        pending, alone, failures = batch, False, 0
        while pending:
            part = _first_of_each_room(pending) if alone else pending
            try:
                settled = await self._write(part)
            except PyMongoError:
                failures += 1
                if failures == ATTEMPTS_MAX:
                    raise
                await asyncio.sleep(0.05 * 2**failures)
                settled = set()
            if len(settled) < len(part):
                self._forget(part)
                alone = True
                settled |= await self._settle_known([e for e in part if e not in settled])
            pending = [e for e in pending if e not in settled]

    async def _write(self, part: list[Entry]) -> set[Entry]:
        """Try to write these entries once; return those that have their answer."""
        await self._load({e.draft.room for e in part})
        numbered = number(part, self._heads, self._clock)
        stored = await self._insert(numbered)
        for entry, message in stored:
            entry.resolve(message)
        answered = {entry for entry, _ in stored}
        for copy, first in numbered.copies:
            if first in answered:
                copy.resolve(first.stored.result())
                answered.add(copy)
        return answered | await self._refuse(numbered.refused)

    async def _insert(self, numbered: Numbered) -> list[tuple[Entry, Message]]:
        """Insert in one write, move the heads on, and tell of what became durable."""
        messages = [message for _, message in numbered.written]
        if not messages:
            return []
        loop = asyncio.get_running_loop()
        begun = loop.time()
        failed: set[int] = set()
        if len({m.room for m in messages}) == len(messages):
            failed = await self._messages.insert_apart(messages)
        elif not await self._messages.insert_together(messages):
            failed = set(range(len(messages)))
        stored = [pair for i, pair in enumerate(numbered.written) if i not in failed]
        self._on_batch(len(stored), loop.time() - begun)
        for _, message in stored:
            self._heads[message.room] = self._heads[message.room].after(message)
        self._on_stored([(m, self._heads[m.room]) for _, m in stored])
        return stored

    async def _refuse(self, refused: list[Entry]) -> set[Entry]:
        """Answer those the fence shuts out, once the fence was read anew.

        Another process may have moved it. A resend still gets its first answer (I3).
        """
        if not refused:
            return set()
        self._forget(refused)
        await self._load({e.draft.room for e in refused})
        shut_out = [e for e in refused if not self._heads[e.draft.room].admits(e.draft)]
        known = await self._settle_known(shut_out)
        for entry in shut_out:
            if entry not in known:
                entry.refuse(Closed())
        return set(shut_out)

    async def _settle_known(self, entries: list[Entry]) -> set[Entry]:
        """Answer the entries whose client id is stored already with that first message."""
        if not entries:
            return set()
        found = await self._messages.sent_before(e.key for e in entries)
        first = {(m.room, m.sender.id, m.client_id): m for m in found}
        settled = [e for e in entries if e.key in first]
        for entry in settled:
            entry.resolve(first[entry.key])
        # written by an attempt whose answer was lost: nobody has been told of it yet
        ours = {e.draft.id for e in settled} & {m.id for m in found}
        if ours:
            await self._load({m.room for m in found})
            self._on_stored([(m, self._heads[m.room]) for m in found if m.id in ours])
        return set(settled)

    async def _load(self, rooms: set[str]) -> None:
        """Have the heads of these rooms in memory."""
        missing = rooms - self._heads.keys()
        if missing:
            self._heads.update(await self._messages.heads(missing))
        for room in rooms:
            self._heads.move_to_end(room)
        while len(self._heads) > max(HEADS_MAX, len(rooms)):
            self._heads.popitem(last=False)

    def _forget(self, entries: Iterable[Entry]) -> None:
        for entry in entries:
            self._heads.pop(entry.draft.room, None)


def _first_of_each_room(entries: Iterable[Entry]) -> list[Entry]:
    """Take each room's oldest entry: a retry must keep a sender's order (I4)."""
    first: dict[str, Entry] = {}
    for entry in entries:
        first.setdefault(entry.draft.room, entry)
    return list(first.values())
