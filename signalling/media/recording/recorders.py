"""The recordings that run in one media worker (V8)."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import structlog

from care.media import RecordingState
from signalling.media.recording.writer import UNWRITABLE, Recorder
from signalling.media.tap import Tappable

logger = structlog.get_logger(__name__)

Told = Callable[[str, str, RecordingState, str], None]
"""Hears of the call and the recording, how it goes, and the problem: empty where there is none."""


@dataclass(frozen=True)
class Running:
    recording: str
    room: Tappable
    recorder: Recorder


class Recorders:
    """Starts and stops recordings; what happens to one never reaches its call."""

    def __init__(self, folder: Path, told: Told) -> None:
        self._folder, self._told = folder, told
        self._running: dict[str, Running] = {}

    async def start(self, room: Tappable, call: str, recording: str, now: datetime) -> None:
        """Record the room's call from now on, under another id than before."""
        if (running := self._running.get(call)) and running.recording == recording:
            return
        while call in self._running:
            await self.stop(call)
        recorder = Recorder(
            self._folder, recording, call, now, lambda problem: self._failed(call, problem)
        )
        self._running[call] = Running(recording, room, recorder)
        room.attach(recorder)
        logger.info("recording_started", call=call, recording=recording)
        self._told(call, recording, RecordingState.RUNNING, "")

    async def stop(self, call: str) -> None:
        """End the call's recording, if it has one; it is on the disk then."""
        running = self._running.pop(call, None)
        if running is None:
            return
        running.room.detach(running.recorder)
        if await running.recorder.close():
            self._told(call, running.recording, RecordingState.FINISHED, "")
        else:
            self._told(call, running.recording, RecordingState.INTERRUPTED, UNWRITABLE)

    async def close(self) -> None:
        for call in list(self._running):
            await self.stop(call)

    def _failed(self, call: str, problem: str) -> None:
        # one that is being stopped tells for itself
        if running := self._running.pop(call, None):
            running.room.detach(running.recorder)
            self._told(call, running.recording, RecordingState.INTERRUPTED, problem)
