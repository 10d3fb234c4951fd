"""Whatever several processes do at once, a room's log stays dense, chained, once and in order."""

import asyncio
from collections import Counter
from dataclasses import dataclass
from itertools import pairwise

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from care.errors import Closed
from care.rooms import SYSTEM, Draft, Message
from storage.database import Database
from tests.storage.rooms import DOCTOR, PATIENT, Node, fence, heads_of, new_room, nodes, text

NODES = 2
ROOMS = 3
SENDERS = (PATIENT, DOCTOR)

_index = {
    "node": st.integers(0, NODES - 1),
    "room": st.integers(0, ROOMS - 1),
}


@dataclass(frozen=True)
class Send:
    node: int
    room: int
    sender: int


@dataclass(frozen=True)
class Resend:
    """Send an earlier message again, through any process, answered or not."""

    node: int
    which: int


@dataclass(frozen=True)
class Admit:
    """Write a fence, sometimes a late one of an older state."""

    node: int
    room: int
    version: int
    writers: frozenset[int]


@dataclass(frozen=True)
class Wait:
    """Let the writers run: some turns of the loop, or until everything so far has its answer."""

    turns: int | None


steps = st.lists(
    st.builds(Send, **_index, sender=st.integers(0, 1))
    | st.builds(Send, **_index, sender=st.integers(0, 1))
    | st.builds(Resend, node=_index["node"], which=st.integers(0, 99))
    | st.builds(
        Admit, **_index, version=st.integers(1, 5), writers=st.frozensets(st.integers(0, 1))
    )
    | st.builds(Wait, turns=st.none() | st.integers(1, 30)),
    min_size=5,
    max_size=80,
)


@dataclass(frozen=True)
class Sent:
    node: int
    draft: Draft
    answer: "asyncio.Future[Message]"


class Play:
    """Plays the steps on several logs and checks what they leave."""

    def __init__(self, logs: list[Node]) -> None:
        self.logs = logs
        self.rooms = [new_room() for _ in range(ROOMS)]
        self.sent: list[Sent] = []

    async def run(self, script: list[Send | Resend | Admit | Wait]) -> None:
        for room in self.rooms:
            self.send(0, fence(room))
        for step in script:
            await self.do(step)
        await self.answers()
        await asyncio.gather(*[node.log.close() for node in self.logs])

    async def do(self, step: Send | Resend | Admit | Wait) -> None:
        match step:
            case Send(node, room, sender):
                self.send(node, text(self.rooms[room], SENDERS[sender]))
            case Resend(node, which):
                draft = self.sent[which % len(self.sent)].draft
                self.send(node, text(draft.room, draft.sender, client_id=draft.client_id))
            case Admit(node, room, version, writers):
                allowed = [SENDERS[w].id for w in sorted(writers)]
                self.send(node, fence(self.rooms[room], allowed, version))
            case Wait(None):
                await self.answers()
            case Wait(turns):
                for _ in range(turns or 0):
                    await asyncio.sleep(0)

    def send(self, node: int, draft: Draft) -> None:
        self.sent.append(Sent(node, draft, self.logs[node].log.append(draft)))

    async def answers(self) -> list[Message | BaseException]:
        async with asyncio.timeout(30):
            return await asyncio.gather(*[s.answer for s in self.sent], return_exceptions=True)

    async def check(self) -> None:
        for room in self.rooms:
            stored = await self.logs[0].read(room)
            heads = heads_of(stored)
            self.check_once(stored)
            for head, message in zip(heads, stored, strict=False):
                assert head.admits(message), "written against the fence"
            self.check_answers(room, stored)
            self.check_order(room, stored)
            told = [pair for node in self.logs for pair in node.told if pair[0].room == room]
            assert sorted(told, key=lambda pair: pair[0].seq) == list(
                zip(stored, heads[1:], strict=True)
            )
            for node in self.logs:
                assert node.told_of(room) == sorted(node.told_of(room))

    def check_once(self, stored: list[Message]) -> None:
        keys = Counter((m.sender.id, m.client_id) for m in stored)
        assert not keys or max(keys.values()) == 1

    def check_answers(self, room: str, stored: list[Message]) -> None:
        ever_shut_out = {
            sender.id
            for sender in SENDERS
            for head in heads_of(stored)
            if sender.id not in head.fence.writers
        }
        by_key = {(m.sender.id, m.client_id): m for m in stored}
        answered = set()
        for sent in self.of(room):
            key = (sent.draft.sender.id, sent.draft.client_id)
            if isinstance(sent.answer.exception(), Closed):
                assert sent.draft.sender.id in ever_shut_out
            else:
                assert sent.answer.result() == by_key[key]
                answered.add(key)
        assert answered == by_key.keys(), "stored, yet never acknowledged"

    def check_order(self, room: str, stored: list[Message]) -> None:
        place = {m.id: m.seq for m in stored}
        for node in range(len(self.logs)):
            for sender in (*SENDERS, SYSTEM):
                seqs = [
                    place[sent.draft.id]
                    for sent in self.of(room)
                    if sent.node == node and sent.draft.sender == sender and sent.draft.id in place
                ]
                assert all(a < b for a, b in pairwise(seqs)), "a sender's order was broken"

    def of(self, room: str) -> list[Sent]:
        return [sent for sent in self.sent if sent.draft.room == room]


@settings(
    max_examples=50,
    deadline=None,
    # each example has rooms and logs of its own; only the database is shared
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(script=steps)
async def test_any_interleaving_leaves_whole_rooms(
    database: Database, script: list[Send | Resend | Admit | Wait]
) -> None:
    """I2, I3, I4, I5, I7, and nothing behind a fence by whom it shuts out"""
    play = Play(await nodes(database, NODES))

    await play.run(script)

    await play.check()
