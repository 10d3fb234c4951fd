"""What becomes of recordings: begun, moved as the worker tells, and kept for good (V8).

A worker leaves a journal on its host. The processes of the hub there look for those nobody writes
any more, whoever wrote them; the first one to come makes the film, and stores it.
"""

import asyncio
import contextlib
import io
import os
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

import structlog

from care import recordings
from care.calls import Call
from care.errors import Conflict
from care.media import RecordingState
from care.ports import Clock
from care.recordings import Claim, Footage, LeaseLost, Recording, RecordingStore
from signalling.media.recording import journal
from signalling.media.recording.paths import FILM, FOOTAGE, JOURNAL, POSTER

LOOK_SECONDS = 2.0
ABANDONED_SECONDS = 60.0
"""A worker or its call that comes back within this time goes on with the same recording."""
FINISH_SECONDS = 1800.0
RETRY_SECONDS, RETRY_SECONDS_MAX = 5.0, 3600.0
ATTEMPTS = 5

logger = structlog.get_logger(__name__)


class Unknown(Exception):
    """A folder has a recording that the database doesn't know."""


class Unfinished(Exception):
    """The process that makes films failed."""


class LateParts(Exception):
    """Somebody went on with a recording that was stored already."""


class CallStore(Protocol):
    async def get(self, call_id: str) -> Call | None: ...


class RecordingService:
    """Keeps the records of what is recorded."""

    def __init__(self, store: RecordingStore, calls: CallStore, clock: Clock) -> None:
        self._store, self._calls, self._clock = store, calls, clock

    async def ensure(self, recording_id: str, call_id: str, at: datetime) -> Recording | None:
        """Give a recording's record, made now where its begin was not told; None without a call."""
        found = await self._store.get(recording_id)
        if found is None and (call := await self._calls.get(call_id)):
            await self._store.create(recordings.begun(call, recording_id, at))
            found = await self._store.get(recording_id)
        return found

    async def moved(
        self, recording_id: str, call_id: str, state: RecordingState, problem: str
    ) -> None:
        """Note what a worker told; what comes late or twice changes nothing."""
        for _ in range(ATTEMPTS):
            before = await self.ensure(recording_id, call_id, self._clock.now())
            if before is None or state not in recordings.TABLE[before.state]:
                return
            after = recordings.move(before, state, self._clock.now(), problem)
            if await self._store.replace(before, after):
                return
        raise Conflict


class Keeper:
    """Makes films of the journals of one host, and stores them."""

    def __init__(
        self,
        folder: Path,
        store: RecordingStore,
        service: RecordingService,
        carry_out: Callable[[str], Awaitable[None]],
        clock: Clock,
    ) -> None:
        self._folder, self._store, self._clock = folder, store, clock
        self._service, self._carry_out = service, carry_out
        self._retries: dict[str, tuple[int, float]] = {}

    async def run(self) -> None:
        """Look for recordings to be kept, for as long as the process runs."""
        while True:
            try:
                found = await asyncio.to_thread(_list, self._folder)
            except OSError:
                logger.exception("recordings_not_listed")
                found = []
            for recording in found:
                await self._try(recording)
            await asyncio.sleep(LOOK_SECONDS)

    async def _try(self, recording: str) -> None:
        failures, due = self._retries.get(recording, (0, 0.0))
        now = asyncio.get_running_loop().time()
        if now < due:
            return
        try:
            await self.keep(recording)
        except Exception:
            logger.exception("recording_not_kept", recording=recording, failures=failures + 1)
            pause = min(RETRY_SECONDS * 2**failures, RETRY_SECONDS_MAX)
            self._retries[recording] = failures + 1, now + pause
        else:
            self._retries.pop(recording, None)

    async def keep(self, recording_id: str) -> None:
        """Bring one recording as far as it goes now. Raises what keeps it from going on."""
        recording = await self._record_of(recording_id)
        if recording.state is RecordingState.STORED:
            await asyncio.to_thread(_remove, self._folder, recording)
            return
        found = await asyncio.to_thread(_read, self._folder, recording_id)
        if found.footage is None or found.footage.parts != found.parts:
            if not await asyncio.to_thread(_over, self._folder, recording):
                return
            await self._finish(recording_id)
            found = await asyncio.to_thread(_read, self._folder, recording_id)
        if found.footage is not None:
            await self._keep(recording, found.footage)

    async def _record_of(self, recording_id: str) -> Recording:
        """Give its record, by its journal where nobody told of it. Raises Unknown."""
        recording = await self._store.get(recording_id)
        if recording is not None:
            return recording
        about = await asyncio.to_thread(journal.about, self._folder, recording_id)
        if about is not None:
            recording = await self._service.ensure(recording_id, about.call, about.started_at)
        if recording is None:
            # of another database, or newer than its backup: nothing is thrown away
            raise Unknown(recording_id)
        return recording

    async def _finish(self, recording_id: str) -> None:
        """Have the film made by a process that may crash on what strangers sent."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "signalling.media.recording.finish",
            str(self._folder), recording_id,
            stdin=asyncio.subprocess.DEVNULL,
            # the hub's environment may hold secrets
            env={"PATH": os.defpath},
        )  # fmt: skip
        try:
            async with asyncio.timeout(FINISH_SECONDS):
                code = await process.wait()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if code:
            raise Unfinished(f"exit code {code}")

    async def _keep(self, recording: Recording, footage: Footage) -> None:
        claim = await self._store.claim(recording.id)
        if claim is None:
            # another process stores it
            return
        try:
            sha256 = await self._upload(claim, footage)
            after = recordings.stored(recording, footage, sha256, self._clock.now())
            outgoing = recordings.kept(after, footage)
            if not await self._store.keep(claim, after, outgoing):
                raise LeaseLost
        except Exception:
            await self._store.let_go(claim)
            raise
        logger.info("recording_stored", recording=recording.id, size=footage.size)
        await self._carry_out(outgoing.id)
        await asyncio.to_thread(_remove, self._folder, after)

    async def _upload(self, claim: Claim, footage: Footage) -> str:
        stem = self._folder / claim.recording
        with contextlib.ExitStack() as files:
            film = files.enter_context(await asyncio.to_thread(stem.with_suffix(FILM).open, "rb"))
            poster = None
            if footage.poster_size:
                picture = await asyncio.to_thread(stem.with_suffix(POSTER).read_bytes)
                poster = io.BytesIO(picture)
            return await self._store.upload(claim, film, poster)


@dataclass(frozen=True, slots=True)
class Found:
    """What a folder has of a recording: the parts of its journal, and what its film holds."""

    parts: tuple[str, ...]
    footage: Footage | None


def _list(folder: Path) -> list[str]:
    """Name the recordings a folder has anything of, oldest first."""
    found = [*folder.glob(f"*{JOURNAL}"), *folder.glob(f"*{FOOTAGE}")]
    return sorted({path.name.split(".")[0] for path in found} - {""})


def _read(folder: Path, recording: str) -> Found:
    footage = None
    with contextlib.suppress(FileNotFoundError):
        written = (folder / recording).with_suffix(FOOTAGE).read_bytes()
        footage = Footage.model_validate_json(written)
    parts = journal.parts(folder, recording)
    return Found(tuple(part.name for part in parts), footage)


def _over(folder: Path, recording: Recording) -> bool:
    """Tell whether nobody writes it, and nobody will go on with it."""
    parts = journal.parts(folder, recording.id)
    with contextlib.suppress(FileNotFoundError), journal.held(parts) as free:
        if not free or not parts:
            return False
        # the machine's clock, as the files' times are
        idle = time.time() - max(part.stat().st_mtime for part in parts)
        return recording.state is RecordingState.FINISHED or idle > ABANDONED_SECONDS
    # another process has just removed what it stored
    return False


def _remove(folder: Path, recording: Recording) -> None:
    """Remove what is stored. Raises LateParts where more was recorded since."""
    stem = folder / recording.id
    for suffix in (FOOTAGE, FILM, POSTER):
        stem.with_suffix(suffix).unlink(missing_ok=True)
    kept = recording.footage.parts if recording.footage else ()
    for name in kept:
        (folder / name).unlink(missing_ok=True)
    if journal.parts(folder, recording.id):
        raise LateParts(recording.id)
