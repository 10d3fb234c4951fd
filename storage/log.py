"""The message log: group commit, dense order, once for each client id (I1–I4, I7).

Everything that arrives while a write is in flight is the next batch, one ordered `insert_many`: it
stops at the first conflict, so a room never gets a hole. An entry leaves the queue only with its
answer. When one got none (another process wrote first, the primary was lost) the next batch takes
one message a room, unordered, so that a room two processes fight for doesn't hold up the others.
There is no timer: an idle log writes at once. docs/decisions/0005-group-commit.md has the reasons.
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice

import pymongo
import structlog
from pymongo.errors import PyMongoError

from care.errors import CareError, Closed, Unavailable
from care.ports import Clock
from care.rooms import Draft, Head, Message
from storage.messages import Messages

BATCH_MAX = 500
WAITING_MAX = 20_000
HEADS_MAX = 20_000
ATTEMPT_SECONDS = 10.0
PATIENCE_SECONDS = 15.0
"""How long nothing may succeed: longer than a replica set takes to elect a primary."""
RETRY_SECONDS = 0.2

logger = structlog.get_logger(__name__)


@dataclass(slots=True, eq=False)
class Entry:
    """A draft and the caller's wait for it, which the caller may have given up."""

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
class Placed:
    """An entry with its place in the log, and the room's head right behind it."""

    entry: Entry
    message: Message
    head: Head


def place(
    entries: Iterable[Entry], heads: Mapping[str, Head], now: datetime
) -> tuple[list[Placed], list[Entry]]:
    """Give each draft its place after its room's head, in order of arrival.

    Returns the placed and those a fence shuts out.
    """
    heads = {entry.draft.room: heads[entry.draft.room] for entry in entries}
    placed: list[Placed] = []
    shut_out: list[Entry] = []
    for entry in entries:
        head = heads[entry.draft.room]
        if head.admits(entry.draft):
            message = head.follow(entry.draft, now)
            heads[message.room] = head.after(message)
            placed.append(Placed(entry, message, heads[message.room]))
        else:
            shut_out.append(entry)
    return placed, shut_out


async def closed(_draft: Draft) -> CareError:
    """Answer whoever is shut out that the room is closed."""
    return Closed()


class MessageLog:
    """Append to rooms, durable before the future resolves.

    `on_stored` gets each batch once it is durable, a room's messages in seq order, each with the
    room's head behind it; one whose write seemed to fail may come late. `on_batch` gets the size
    and the seconds of each write. `refusal` says from the record what to answer a sender whom the
    fence shuts out.
    """

    def __init__(
        self,
        messages: Messages,
        clock: Clock,
        on_stored: Callable[[Sequence[tuple[Message, Head]]], None],
        on_batch: Callable[[int, float], None] = lambda _size, _seconds: None,
        refusal: Callable[[Draft], Awaitable[CareError]] = closed,
    ) -> None:
        self._messages = messages
        self._clock = clock
        self._on_stored = on_stored
        self._on_batch = on_batch
        self._refusal = refusal
        self._waiting: deque[Entry] = deque()
        self._heads: OrderedDict[str, Head] = OrderedDict()
        # the ids of inserts that ended in an error: stored or not, nobody was told of them yet
        self._unsure: set[str] = set()
        self._batch_max = BATCH_MAX
        self._writer: asyncio.Task[None] | None = None

    @property
    def waiting(self) -> int:
        """How many drafts wait for their answer."""
        return len(self._waiting)

    @property
    def rooms(self) -> int:
        """How many rooms' heads are in memory."""
        return len(self._heads)

    def append(self, draft: Draft) -> "asyncio.Future[Message]":
        """Accept a draft, in the order of the calls. Raises Unavailable when too many wait.

        The future gives the stored message, or the first one of the same client id; the refusal
        when the room takes nothing from this sender; Unavailable when the database is away, the
        message then being stored or not. Who cancels it only stops waiting.
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
        if head is not None and message.seq == head.seq + 1 and message.prev == head.hash:
            self._heads[message.room] = head.after(message)

    async def close(self) -> None:
        """Wait until everything accepted is written or refused."""
        while self._writer is not None and not self._writer.done():
            await asyncio.wait([self._writer])

    async def _drain(self) -> None:
        """Write until nothing waits, or until nothing succeeded for too long."""
        loop = asyncio.get_running_loop()
        progress, one_a_room = loop.time(), False
        try:
            while self._waiting and loop.time() - progress < PATIENCE_SECONDS:
                batch = list(islice(self._waiting, self._batch_max))
                part = _first_of_each_room(batch) if one_a_room else batch
                settled = await self._attempt(part)
                self._dequeue(batch, settled)
                one_a_room = len(settled) < len(part)
                if settled:
                    progress = loop.time()
        finally:
            # given up or cancelled: later entries go too, or a sender's order would break (I4)
            while self._waiting:
                self._waiting.popleft().refuse(Unavailable())

    def _dequeue(self, batch: Sequence[Entry], settled: set[Entry]) -> None:
        """Take the settled out of the queue's front; the others keep their order (I4)."""
        for _ in batch:
            self._waiting.popleft()
        self._waiting.extendleft(entry for entry in reversed(batch) if entry not in settled)

    async def _attempt(self, part: Sequence[Entry]) -> set[Entry]:
        """Write these entries, whatever goes wrong; return those that have their answer."""
        settled: set[Entry] = set()
        try:
            with pymongo.timeout(ATTEMPT_SECONDS):
                settled = await self._write(part)
            self._batch_max = min(2 * self._batch_max, BATCH_MAX)
        except PyMongoError as error:
            logger.warning("message_batch_failed", size=len(part), error=type(error).__name__)
            await asyncio.sleep(RETRY_SECONDS)
        except Exception as error:
            # one draft can't be written; ever smaller batches find it and spare the others
            self._batch_max = max(len(part) // 2, 1)
            if len(part) == 1:
                part[0].refuse(error)
                settled = set(part)
        self._forget(entry for entry in part if entry not in settled)
        return settled

    async def _write(self, part: Sequence[Entry]) -> set[Entry]:
        """Try to write these entries once; return those that have their answer."""
        placed, shut_out = await self._place(part)
        settled = await self._insert(placed)
        settled |= await self._settle_known([e for e in part if e not in settled])
        # a fence of this batch that wasn't written shuts nobody out
        doubtful = {p.message.room for p in placed if p.entry not in settled}
        refused = [e for e in shut_out if e not in settled and e.draft.room not in doubtful]
        refusals = await asyncio.gather(*[self._refusal(e.draft) for e in refused])
        for entry, error in zip(refused, refusals, strict=True):
            entry.refuse(error)
        return settled.union(refused)

    async def _place(self, part: Sequence[Entry]) -> tuple[list[Placed], list[Entry]]:
        """Place the entries; shut out only by a fence that was read anew."""
        await self._load(part)
        placed, shut_out = place(part, self._heads, self._clock.now())
        if shut_out:
            self._forget(shut_out)
            await self._load(part)
            placed, shut_out = place(part, self._heads, self._clock.now())
        return placed, shut_out

    async def _insert(self, placed: Sequence[Placed]) -> set[Entry]:
        """Insert in one write; move the heads on, answer and tell of what became durable."""
        if not placed:
            return set()
        loop = asyncio.get_running_loop()
        begun = loop.time()
        stored = await self._try_insert(placed)
        seconds = loop.time() - begun
        for done in stored:
            self._heads[done.message.room] = done.head
            self._unsure.discard(done.message.id)
            done.entry.resolve(done.message)
        self._announce([(done.message, done.head) for done in stored])
        self._on_batch(len(stored), seconds)
        return {done.entry for done in stored}

    async def _try_insert(self, placed: Sequence[Placed]) -> Sequence[Placed]:
        """Insert; return what is durable now. After an error nothing is known of any."""
        messages = [p.message for p in placed]
        try:
            left_out = await self._messages.insert(messages)
        except BaseException:
            self._unsure.update(m.id for m in messages)
            raise
        return [p for i, p in enumerate(placed) if i not in left_out]

    async def _settle_known(self, entries: Sequence[Entry]) -> set[Entry]:
        """Answer the entries whose client id is stored already with that first message (I3)."""
        if not entries:
            return set()
        found = await self._messages.sent_before({e.key for e in entries})
        await self._announce_found(found)
        first = {(m.room, m.sender.id, m.client_id): m for m in found}
        settled = {e for e in entries if e.key in first}
        for entry in settled:
            entry.resolve(first[entry.key])
        return settled

    async def _announce_found(self, found: Sequence[Message]) -> None:
        """Tell of messages that an attempt stored whose answer was lost."""
        untold = [m for m in found if m.id in self._unsure]
        if untold:
            heads = await self._messages.heads({m.room for m in untold})
            self._unsure.difference_update(m.id for m in untold)
            self._announce([(m, heads[m.room]) for m in untold])

    def _announce(self, stored: Sequence[tuple[Message, Head]]) -> None:
        try:
            self._on_stored(stored)
        except Exception:
            # they are durable and acknowledged: receivers find the gap themselves (I5)
            logger.exception("stored_messages_not_announced", size=len(stored))

    async def _load(self, part: Iterable[Entry]) -> None:
        """Have the heads of these entries' rooms in memory, the longest unused others dropped."""
        rooms = {entry.draft.room for entry in part}
        missing = [room for room in rooms if room not in self._heads]
        if missing:
            self._heads.update(await self._messages.heads(missing))
        for room in rooms:
            self._heads.move_to_end(room)
        while len(self._heads) > HEADS_MAX:
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
