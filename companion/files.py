"""Attachments: taking an upload in, binding it to a room, signing and honouring its URLs (R6)."""

from collections.abc import AsyncIterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from care.attachments import (
    Attachment,
    AttachmentStore,
    FileKind,
    Finding,
    RoomReaders,
    grant,
    read_grant,
)
from care.errors import BadRequest, Forbidden, RateLimited
from care.policy import FilePolicy
from care.ports import Clock
from companion.probe import CONTENT, THUMBNAIL
from companion.probe.inspector import Inspector

PATH = "/api/v1/files"


class FileService:
    """Serves `care.ports.FileUrls` and `AttachmentClaims` too."""

    def __init__(
        self,
        store: AttachmentStore,
        inspector: Inspector,
        readers: RoomReaders,
        clock: Clock,
        policy: FilePolicy,
        url_key: bytes,
    ) -> None:
        self._store = store
        self._inspector = inspector
        self._readers = readers
        self._clock = clock
        self._policy = policy
        self._url_key = url_key

    async def admit(self, owner: str) -> None:
        """Refuse an owner who uploads and never sends. Raises RateLimited."""
        if await self._store.count_unused(owner) >= self._policy.unused_max:
            raise RateLimited(60_000, "未使用的附件过多，请先发送已上传的附件")

    async def upload(
        self, owner: str, file: str, folder: Path, declared: FileKind | None
    ) -> dict[str, Any]:
        """Inspect what was received into the folder and keep it; once however often it is sent.

        Raises BadRequest or TooLarge when it isn't accepted.
        """
        attachment = await self._store.get(file)
        if attachment is None:
            found = await self._inspector.inspect(folder)
            _check_kind(found, declared)
            attachment = await self._keep(owner, file, found, folder)
        if attachment.owner != owner:
            raise Forbidden
        return self._describe(attachment, owner)

    async def _keep(self, owner: str, file: str, found: Finding, folder: Path) -> Attachment:
        now = self._clock.now()
        attachment = Attachment(id=file, owner=owner, created_at=now, **dict(found))
        with (folder / CONTENT).open("rb") as content:
            if not attachment.thumbnail:
                return await self._store.add(attachment, content, None)
            with (folder / THUMBNAIL).open("rb") as thumbnail:
                return await self._store.add(attachment, content, thumbnail)

    def _describe(self, attachment: Attachment, viewer: str) -> dict[str, Any]:
        body = attachment.body()
        thumbnail = body.pop("thumbnail")
        about = {"id": body.pop("file"), "kind": attachment.kind.value}
        return about | body | self.urls(attachment.id, viewer, thumbnail=thumbnail)

    def urls(self, file: str, viewer: str, *, thumbnail: bool) -> dict[str, str]:
        """Sign short-lived URLs; the caller has made sure that the viewer may read it."""
        urls = {"url": self._url(file, viewer, thumbnail=False)}
        if thumbnail:
            urls["thumbnail_url"] = self._url(file, viewer, thumbnail=True)
        return urls

    def _url(self, file: str, viewer: str, *, thumbnail: bool) -> str:
        now = self._clock.now()
        granted = grant(file, viewer, thumbnail=thumbnail, now=now, policy=self._policy)
        return f"{PATH}/{file}?{granted.query(self._url_key)}"

    async def claim(self, file: str, owner: str, room: str, kind: str) -> Mapping[str, Any]:
        """Bind an upload to the room and give the message's body. Raises Forbidden."""
        (attachment,) = await self._store.claim([file], owner, room, FileKind(kind))
        return attachment.body()

    async def open(self, file: str, query: Mapping[str, str]) -> tuple[Attachment, bool]:
        """Give the attachment a signed URL leads to, and whether it asks for the thumbnail.

        Membership is looked up again: it may have ended after the URL was signed. Raises Forbidden.
        """
        granted = read_grant(file, query, self._url_key, self._clock.now())
        attachment = await self._store.get(file)
        if attachment is None or not await self._may_read(granted.viewer, attachment):
            raise Forbidden
        if granted.thumbnail and not attachment.thumbnail:
            raise Forbidden
        return attachment, granted.thumbnail

    async def _may_read(self, viewer: str, attachment: Attachment) -> bool:
        if attachment.room is None:
            return viewer == attachment.owner
        return await self._readers.may_read(viewer, attachment.room)

    def read(
        self, attachment: Attachment, *, thumbnail: bool, start: int, stop: int
    ) -> AsyncIterator[bytes]:
        return self._store.read(attachment, thumbnail=thumbnail, start=start, stop=stop)

    async def sweep(self, now: datetime) -> int:
        """Remove the uploads that were never used; say how many."""
        return await self._store.sweep(now - timedelta(seconds=self._policy.unused_seconds))


def _check_kind(found: Finding, declared: FileKind | None) -> None:
    if declared is not None and found.kind is not declared:
        raise BadRequest.field("kind", f"文件内容是{_NAMES[found.kind]}，不是{_NAMES[declared]}")


_NAMES = {FileKind.IMAGE: "图片", FileKind.VOICE: "语音", FileKind.VIDEO: "视频"}
