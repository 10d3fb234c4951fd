"""Record a call's packets as they pass (V8): no decoder, no encoder, nothing on the event loop.

A `Recorder` appends to a journal in a thread of its own. Whoever finds a journal that nobody
writes any more finishes it (`finish.py`), also after a crash.
"""

import asyncio
import errno
import os
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

import structlog
from aiortc.rtp import RtpPacket

from signalling.media.recording import journal
from signalling.media.recording.journal import About, Source

WRITE_SECONDS = 0.2
"""What a crash may lose: the kernel keeps what was written."""
SYNC_SECONDS = 2.0
"""What a loss of power may lose."""
CLOSE_SECONDS = 10.0
"""How long the end waits for a disk that hangs."""
QUEUED_BYTES_MAX = 16 * 1024 * 1024
"""About half a minute of a large call, while the disk hangs."""
SOURCES_MAX = 64
"""A user: each reload of a page is two more."""

CODECS = {"audio": {"opus"}, "video": {"VP8", "H264"}}

FULL = "录制存储空间不足，录制已停止"
UNWRITABLE = "录制文件无法写入，录制已停止"

logger = structlog.get_logger(__name__)


class Recorder:
    """Record one call from now on: a `PacketTap`, to be attached to the call's room.

    `failed` is called on the event loop, at most once, with a text for people when the recording
    can't go on; it is to be closed all the same.
    """

    def __init__(
        self,
        folder: Path,
        recording: str,
        call: str,
        started_at: datetime,
        failed: Callable[[str], None],
    ) -> None:
        self._folder = folder
        self._about = About(recording=recording, call=call, started_at=started_at)
        self._failed = failed
        self._loop = asyncio.get_running_loop()
        self._began = self._loop.time()
        self._sources: dict[tuple[str, str, int, str], int] = {}
        self._visits: Counter[str] = Counter()
        self._counted: Counter[str] = Counter()
        self._next = 0
        self._queue: deque[bytes] = deque()
        self._queued = self._written = 0
        self._dropping = False
        self._stopped = threading.Event()
        self._broken = False
        self._thread = threading.Thread(target=self._run, name=f"recorder-{recording}", daemon=True)
        self._thread.start()

    def on_rtp(self, user: str, kind: str, codec: str, packet: RtpPacket, arrival: float) -> None:
        if self._broken or self._stopped.is_set():
            return
        if self._queued - self._written > QUEUED_BYTES_MAX:
            self._drop()
            return
        number = self._sources.get((user, kind, packet.ssrc, codec))
        if number is None:
            number = self._begin(user, kind, codec, packet.ssrc)
            if number is None:
                return
        self._dropping = False
        self._put(
            journal.packet(
                number, arrival - self._began, packet.sequence_number, packet.timestamp,
                packet.marker, packet.payload,
            )
        )  # fmt: skip

    def on_sender_report(self, user: str, kind: str, ssrc: int, ntp: int, rtp: int) -> None:
        if self._broken or self._stopped.is_set():
            return
        for key, number in self._sources.items():
            if key[:3] == (user, kind, ssrc):
                self._put(journal.report(number, ntp, rtp))

    def on_left(self, user: str) -> None:
        """Begin with new streams when the user comes again: it may be with another clock."""
        self._visits[user] += 1
        for key in [key for key in self._sources if key[0] == user]:
            del self._sources[key]

    async def close(self) -> bool:
        """End the recording; say whether all of it is on the disk."""
        if not self._stopped.is_set():
            self._queue.append(journal.moment(journal.END, self._now()))
            self._stopped.set()
        await asyncio.to_thread(self._thread.join, CLOSE_SECONDS)
        return not self._broken and not self._thread.is_alive()

    def _now(self) -> float:
        return self._loop.time() - self._began

    def _begin(self, user: str, kind: str, codec: str, ssrc: int) -> int | None:
        if codec not in CODECS.get(kind, ()) or self._counted[user] >= SOURCES_MAX:
            return None
        number = self._sources[user, kind, ssrc, codec] = self._next
        self._next += 1
        self._counted[user] += 1
        visit = self._visits[user]
        source = Source(number=number, user=user, visit=visit, kind=kind, codec=codec)
        self._put(journal.source(source))
        return number

    def _drop(self) -> None:
        if not self._dropping:
            self._dropping = True
            self._put(journal.moment(journal.DROPPED, self._now()))
            logger.warning("recording_overloaded", recording=self._about.recording)

    def _put(self, entry: bytes) -> None:
        self._queue.append(entry)
        self._queued += len(entry)

    def _run(self) -> None:
        """Run in the thread: append what has come, a few times a second."""
        try:
            with journal.create(self._folder, self._about) as file:
                self._write(file)
        except OSError as error:
            self._broken = True
            self._queue.clear()
            logger.error("recording_failed", recording=self._about.recording, errno=error.errno)
            # a loop that is closed has nobody to be told
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._failed, _problem(error))

    def _write(self, file: BinaryIO) -> None:
        synced = time.monotonic()
        last = False
        while not last:
            last = self._stopped.wait(WRITE_SECONDS)
            data = b"".join([self._queue.popleft() for _ in range(len(self._queue))])
            journal.append(file, data)
            self._written += len(data)
            if last or time.monotonic() - synced >= SYNC_SECONDS:
                os.fdatasync(file.fileno())
                synced = time.monotonic()


def _problem(error: OSError) -> str:
    full = error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
    return FULL if full else UNWRITABLE
