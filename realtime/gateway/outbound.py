"""What waits to be written to one socket: bounded in bytes, and nobody waits to put."""

import asyncio
from collections import deque


class Outbound:
    """Stands where engineio has an unbounded `asyncio.Queue`."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._frames: deque[bytes] = deque()
        self._finished = False
        self._waiter: asyncio.Future[None] | None = None
        self._drained = asyncio.Event()
        self.size = 0
        """Bytes put and not yet handed to the transport."""

    def put(self, frame: bytes) -> bool:
        """Queue a frame, or say that its receiver is too slow. Does nothing once finished.

        One answer may itself be larger than the limit, so that alone makes nobody slow.
        """
        if self._finished:
            return True
        if self.size > self._limit:
            return False
        self.size += len(frame)
        self._frames.append(frame)
        self._wake()
        return True

    async def take(self) -> deque[bytes]:
        """Wait for frames and take them all; none means finished. One reader only."""
        if not self._frames and not self._finished:
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        frames, self._frames = self._frames, deque()
        return frames

    async def ready(self) -> None:
        """Wait until little is queued."""
        while self.size > self._limit // 8 and not self._finished:
            self._drained.clear()
            await self._drained.wait()

    def written(self, frame: bytes) -> None:
        self.size -= len(frame)
        if self.size <= self._limit // 8:
            self._drained.set()

    def finish(self) -> None:
        """Let what is queued go out, and take nothing more."""
        self._finished = True
        self._drained.set()
        self._wake()

    def discard(self) -> None:
        """Forget what is queued: its receiver is gone."""
        self._frames.clear()
        self.size = 0
        self.finish()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
