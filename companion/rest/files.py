"""The routes of attachments: an upload, and its content by signed URL (R6)."""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, BinaryIO

from aiohttp import BodyPartReader, MultipartReader, web
from pydantic import BaseModel
from pydantic.json_schema import SkipJsonSchema

from care.attachments import FileKind, max_bytes
from care.errors import BadRequest, TooLarge
from care.policy import FilePolicy
from care.ports import Clock
from companion.files import FileService
from companion.probe import UPLOAD
from companion.rest.contents import Kept, SignedQuery, send
from companion.rest.kernel import Also, Call, Content, Route

WRITE_BYTES = 256 * 1024
ENVELOPE_BYTES = 64 * 1024
"""What the boundaries, headers and small fields around the file may take."""


class Stored(BaseModel):
    """An upload; what a picture, a voice or a video alone has is left out elsewhere."""

    id: str
    kind: FileKind
    mime: str
    size: int
    sha256: str
    width: int | SkipJsonSchema[None] = None
    height: int | SkipJsonSchema[None] = None
    duration_ms: int | SkipJsonSchema[None] = None
    url: str
    thumbnail_url: str | SkipJsonSchema[None] = None


FORM = Content(
    "multipart/form-data",
    {
        "type": "object",
        "required": ["file"],
        "additionalProperties": False,
        "properties": {
            "file": {"type": "string", "format": "binary"},
            "kind": {"enum": [kind.value for kind in FileKind]},
        },
    },
)


class FileRoutes:
    def __init__(self, files: FileService, clock: Clock, policy: FilePolicy) -> None:
        self._files = files
        self._clock = clock
        self._policy = policy

    def routes(self) -> list[Route]:
        room = max_bytes(self._policy) + ENVELOPE_BYTES
        whole = Content("*/*")
        unchanged = Also(304, "It is the one the client has")
        return [
            Route("POST", "/files", self.upload, status=201, max_body=room, upload=FORM,
                  answer=Stored, summary="Upload an image, voice or video", tag="files"),
            Route("GET", "/files/{file}", self.download, public=True, query=SignedQuery,
                  answer=whole, also=(Also(206, "The range that was asked for", whole), unchanged),
                  summary="Read an attachment by its signed URL", tag="files"),
            Route("HEAD", "/files/{file}", self.download, public=True, query=SignedQuery,
                  also=(unchanged,), summary="Read an attachment's headers", tag="files"),
        ]  # fmt: skip

    async def upload(self, call: Call) -> Any:
        owner = call.caller.user
        file = call.creation_id(self._clock.now())
        await self._files.admit(owner)
        limit = max_bytes(self._policy)
        with tempfile.TemporaryDirectory(prefix="wenzhen-upload-") as name:
            folder = Path(name)
            declared = await _receive(call.request, folder / UPLOAD, limit)
            return await self._files.upload(owner, file, folder, declared)

    async def download(self, call: Call) -> web.StreamResponse:
        attachment, thumbnail = await self._files.open(call.path["file"], call.query.model_dump())

        def read(start: int, stop: int) -> AsyncIterator[bytes]:
            return self._files.read(attachment, thumbnail=thumbnail, start=start, stop=stop)

        kept = Kept(
            attachment.id,
            attachment.file_name(thumbnail=thumbnail),
            "image/jpeg" if thumbnail else attachment.mime,
            attachment.thumbnail_size or 0 if thumbnail else attachment.size,
            attachment.sha256 + ("-small" if thumbnail else ""),
            self._policy.url_seconds,
            read,
        )
        return await send(call.request, kept)


async def _receive(request: web.Request, target: Path, limit: int) -> FileKind | None:
    """Write the `file` part to the disk; give the declared kind. Raises BadRequest or TooLarge."""
    if (request.content_length or 0) > limit + ENVELOPE_BYTES:
        raise TooLarge
    seen: dict[str, FileKind | None] = {}
    try:
        async for part in await _multipart(request):
            if not isinstance(part, BodyPartReader):
                raise BadRequest.field("body", "上传内容格式有误")
            if part.name not in ("file", "kind"):
                raise BadRequest.field(part.name or "body", "不认识的字段")
            if part.name in seen:
                raise BadRequest.field(part.name, "不能重复")
            if part.name == "file":
                await _write(part, target, limit)
                seen["file"] = None
            else:
                seen["kind"] = await _read_kind(part)
    except (ValueError, AssertionError):
        # aiohttp's words for a body that isn't what its boundary promised
        raise BadRequest.field("body", "上传内容格式有误") from None
    if "file" not in seen:
        raise BadRequest.field("file", "必填")
    return seen.get("kind")


async def _multipart(request: web.Request) -> MultipartReader:
    if request.content_type != "multipart/form-data":
        raise BadRequest.field("Content-Type", "应为 multipart/form-data")
    return await request.multipart()


async def _write(part: BodyPartReader, target: Path, limit: int) -> None:
    """Write a part chunk by chunk; one over the limit is refused as soon as it is."""
    size = 0
    file: BinaryIO = await asyncio.to_thread(target.open, "wb")
    with file:
        while not part.at_eof():
            chunk = await part.read_chunk(WRITE_BYTES)
            size += len(chunk)
            if size > limit:
                raise TooLarge(f"文件不能超过 {limit // 2**20} MB")
            await asyncio.to_thread(file.write, chunk)


async def _read_kind(part: BodyPartReader) -> FileKind:
    value = await part.read_chunk(WRITE_BYTES) + await part.read_chunk(WRITE_BYTES)
    try:
        return FileKind(value.decode())
    except ValueError:
        raise BadRequest.field("kind", "应为 image、voice 或 video 之一") from None
