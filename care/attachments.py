"""Attachments: what an upload became, whom it belongs to, and who may read it for how long (R6)."""

import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, BinaryIO, Protocol
from urllib.parse import urlencode

from care.errors import Forbidden
from care.policy import FilePolicy
from care.record import Record

PUBLIC = "public"
"""What a file is bound to that everybody logged in may read, instead of a room."""

AVATAR = "avatar"
"""What an avatar is bound to: as public, and let go when its owner takes another one."""

DURATION_TOLERANCE_MS = 500
"""A recorder that stops at the limit still writes its codec's lead-in and last whole frame."""

EXTENSIONS: Mapping[str, str] = {
    "image/jpeg": "jpg",
    "image/png": "png",
    "image/webp": "webp",
    "audio/aac": "aac",
    "audio/mpeg": "mp3",
    "audio/amr": "amr",
    "audio/mp4": "m4a",
    "video/mp4": "mp4",
}


class FileKind(StrEnum):
    IMAGE = "image"
    VOICE = "voice"
    VIDEO = "video"


class Finding(Record):
    """What inspection made of an upload. It describes the cleaned content, not what was sent."""

    kind: FileKind
    mime: str
    size: int
    sha256: str
    width: int | None = None
    height: int | None = None
    duration_ms: int | None = None
    thumbnail_size: int | None = None


class Attachment(Finding):
    id: str
    owner: str
    room: str | None = None
    """Where it is used; until then only its owner reads it."""
    created_at: datetime

    @property
    def thumbnail(self) -> bool:
        return self.thumbnail_size is not None

    def body(self) -> dict[str, Any]:
        """Give what a message keeps of it; the digest ties the content into the room's chain."""
        measured = {
            "width": self.width,
            "height": self.height,
            "duration_ms": self.duration_ms,
        }
        return {
            "file": self.id,
            "mime": self.mime,
            "size": self.size,
            "sha256": self.sha256,
            "thumbnail": self.thumbnail,
            **{name: value for name, value in measured.items() if value is not None},
        }

    def file_name(self, *, thumbnail: bool) -> str:
        """Name a download; nothing a client wrote is in it."""
        return f"{self.id}-small.jpg" if thumbnail else f"{self.id}.{EXTENSIONS[self.mime]}"


def max_bytes(policy: FilePolicy, kind: FileKind | None = None) -> int:
    """Give the limit of one kind, or the largest while the kind isn't known."""
    limits = {
        FileKind.IMAGE: policy.image_max_bytes,
        FileKind.VOICE: policy.voice_max_bytes,
        FileKind.VIDEO: policy.video_max_bytes,
    }
    return max(limits.values()) if kind is None else limits[kind]


def max_duration_ms(policy: FilePolicy, kind: FileKind) -> int:
    """Give the longest a recording of this kind may measure."""
    voice = kind is FileKind.VOICE
    seconds = policy.voice_max_seconds if voice else policy.video_max_seconds
    return seconds * 1000 + DURATION_TOLERANCE_MS


@dataclass(frozen=True, slots=True)
class Grant:
    """What a signed URL lets one viewer read, until when (Unix seconds)."""

    file: str
    viewer: str
    thumbnail: bool
    expires: int

    def query(self, key: bytes) -> str:
        """Write the grant and its signature as a URL's query."""
        variant = int(self.thumbnail)
        return urlencode(
            {"exp": self.expires, "u": self.viewer, "t": variant, "sig": self.signature(key)}
        )

    def signature(self, key: bytes) -> str:
        # a JSON list: no two grants have the same text, whatever a viewer's id holds
        text = json.dumps(["file-url", self.file, self.viewer, self.thumbnail, self.expires])
        return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()


def grant(file: str, viewer: str, *, thumbnail: bool, now: datetime, policy: FilePolicy) -> Grant:
    until = now + timedelta(seconds=policy.url_seconds)
    return Grant(file, viewer, thumbnail, int(until.timestamp()))


def read_grant(file: str, query: Mapping[str, str], key: bytes, now: datetime) -> Grant:
    """Give what a URL's query grants. Raises Forbidden for an altered or expired one."""
    expires, variant = query.get("exp", ""), query.get("t", "")
    if not (expires.isascii() and expires.isdecimal() and len(expires) < 16):
        raise Forbidden
    if variant not in ("0", "1"):
        raise Forbidden
    given = Grant(file, query.get("u", ""), variant == "1", int(expires))
    signature = query.get("sig", "").encode("utf-8", "surrogatepass")
    if not hmac.compare_digest(signature, given.signature(key).encode()):
        raise Forbidden
    if given.expires <= now.timestamp():
        raise Forbidden("链接已过期，请刷新后重试")
    return given


class AttachmentStore(Protocol):
    """Keeps attachments and their content. What `get` finds is whole and durable."""

    async def add(
        self, attachment: Attachment, content: BinaryIO, thumbnail: BinaryIO | None
    ) -> Attachment:
        """Keep it; an id that is already there gives the first one."""
        ...

    async def get(self, file: str) -> Attachment | None: ...

    async def claim(
        self, files: Sequence[str], owner: str, room: str, kind: FileKind
    ) -> list[Attachment]:
        """Bind all of them to the room, or none. Raises Forbidden.

        Of two rooms that claim one file at the same time, one gets it.
        """
        ...

    def read(
        self, attachment: Attachment, *, thumbnail: bool, start: int, stop: int
    ) -> AsyncIterator[bytes]:
        """Give the bytes from `start` up to `stop`, a chunk at a time."""
        ...

    async def count_unused(self, owner: str) -> int: ...

    async def sweep(self, before: datetime) -> int:
        """Remove what was uploaded before then and never used; say how many."""
        ...


class RoomReaders(Protocol):
    """Says whether a user may read a room now, from the room's record (I8)."""

    async def may_read(self, user: str, room: str) -> bool: ...
