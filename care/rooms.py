"""A room's log: messages, their hash chain, and the fence that says who may write (R1, R2, S1).

The log is append-only. Nothing in it is ever updated: a recall is a line of its own, and who may
write is decided by the last *fence* in the log. A system line that opens, hands over or closes a
room carries the fence, so "closed" has one exact place in the order, for every process.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

import orjson

from care.record import wire_time

GENESIS = "0" * 64
"""What the first message of a room has for its predecessor's hash."""

CANONICAL = orjson.OPT_SORT_KEYS | orjson.OPT_PASSTHROUGH_DATETIME
"""A time in a body is refused: the database would cut it, and the hash would no longer fit."""


class Kind(StrEnum):
    TEXT = "text"
    EMOJI = "emoji"
    IMAGE = "image"
    VOICE = "voice"
    VIDEO = "video"
    SYSTEM = "system"
    CARD = "card"
    RECALL = "recall"


MEMBER_KINDS = frozenset({Kind.TEXT, Kind.EMOJI, Kind.IMAGE, Kind.VOICE, Kind.VIDEO})
FILE_KINDS = frozenset({Kind.IMAGE, Kind.VOICE, Kind.VIDEO})


@dataclass(frozen=True, slots=True)
class Sender:
    id: str
    role: str
    name: str

    def to_wire(self) -> dict[str, str]:
        return {"id": self.id, "role": self.role, "name": self.name}


SYSTEM = Sender("system", "system", "系统")


@dataclass(frozen=True, slots=True)
class Fence:
    """Who is in the room and who may write, from this line on.

    `version` is the record's: a late line of an older state never reopens a room.
    """

    version: int
    members: tuple[str, ...]
    writers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Draft:
    """A message on its way into the log. `client_id` is unique for (room, sender)."""

    id: str
    room: str
    sender: Sender
    client_id: str
    kind: Kind
    body: Mapping[str, Any]
    fence: Fence | None = None


@dataclass(frozen=True, slots=True)
class Message:
    """A message in the log. `hash` covers the canonical form and, through `prev`, all before it."""

    id: str
    room: str
    seq: int
    client_id: str
    sender: Sender
    kind: Kind
    body: Mapping[str, Any]
    at: datetime
    prev: str
    hash: str
    fence: Fence | None = None

    def receipt(self) -> dict[str, Any]:
        """Give what the acknowledgement says of it."""
        return {"id": self.id, "seq": self.seq, "at": wire_time(self.at)}


@dataclass(frozen=True, slots=True)
class Head:
    """The end of a room's log: what the next message is chained to, and the fence in force."""

    seq: int = 0
    hash: str = GENESIS
    at: datetime | None = None
    fence: Fence = field(default_factory=lambda: Fence(0, (), ()))

    def admits(self, line: Draft | Message) -> bool:
        """Say whether the fence in force lets its sender write; the system always may."""
        return line.sender.id == SYSTEM.id or line.sender.id in self.fence.writers

    def follow(self, draft: Draft, now: datetime) -> Message:
        """Chain the draft to this head; its time never runs backwards in a room."""
        at = now if self.at is None else max(now, self.at)
        return Message(
            id=draft.id,
            room=draft.room,
            seq=self.seq + 1,
            client_id=draft.client_id,
            sender=draft.sender,
            kind=draft.kind,
            body=draft.body,
            at=at,
            prev=self.hash,
            hash=chain_hash(self.hash, draft, self.seq + 1, at),
            fence=draft.fence,
        )

    def after(self, message: Message) -> "Head":
        """Give the head once this message is in the log."""
        fence = message.fence
        if fence is None or fence.version < self.fence.version:
            fence = self.fence
        return Head(message.seq, message.hash, message.at, fence)


def chain_hash(prev: str, draft: Draft | Message, seq: int, at: datetime) -> str:
    """Hash the predecessor's hash and the canonical form: sorted keys, no spaces, UTF-8."""
    fence = draft.fence
    canonical = {
        "id": draft.id,
        "room": draft.room,
        "seq": seq,
        "client_id": draft.client_id,
        "sender": draft.sender.to_wire(),
        "kind": draft.kind.value,
        "body": draft.body,
        "at": wire_time(at),
        "fence": [fence.version, fence.members, fence.writers] if fence else None,
    }
    text = orjson.dumps(canonical, option=CANONICAL)
    return hashlib.sha256(prev.encode() + b"\n" + text).hexdigest()


@dataclass(frozen=True, slots=True)
class Break:
    """Where a chain stops being whole."""

    seq: int
    why: str


def find_break(head: Head, message: Message) -> Break | None:
    """Say what is wrong with the message that stands after `head`, if anything is."""
    if message.seq != head.seq + 1:
        return Break(head.seq + 1, "missing")
    if message.prev != head.hash:
        return Break(message.seq, "not chained to its predecessor")
    if message.hash != chain_hash(message.prev, message, message.seq, message.at):
        return Break(message.seq, "altered")
    return None


@dataclass(frozen=True, slots=True)
class Activity:
    """What a log tells of a consultation: who spoke last, and when."""

    last_seq: int = 0
    last_at: datetime | None = None
    last_role: str | None = None
    last_doctor: str | None = None
    """The doctor who spoke last."""
