"""Films of what was recorded, and what is to be compared in them."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from care.recordings import Footage
from signalling.media.recording.finish import finish
from signalling.media.recording.writer import Recorder
from tests.signalling.media.recording.filming import Seen, Sent, Stream, arriving, watch

SECONDS = 6.0
STARTED = datetime(2026, 5, 1, 2, 0, tzinfo=UTC)
SYNC_SECONDS = 0.08


class Filming:
    """A recording whose packets are all passed at once, with the times at which they came."""

    def __init__(self, folder: Path, started_at: datetime = STARTED) -> None:
        self.folder = folder
        self.failures: list[str] = []
        self.recorder = Recorder(folder, "rec", "call", started_at, self.failures.append)
        self._began = asyncio.get_running_loop().time()

    def take(self, arriving: list[tuple[float, Sent]]) -> None:
        for arrival, sent in arriving:
            sent.pass_to(self.recorder, self._began + arrival)

    async def developed(self) -> Footage:
        assert await self.recorder.close()
        footage = finish(self.folder, "rec")
        assert footage is not None
        assert not self.failures
        assert footage.size == (self.folder / "rec.film").stat().st_size
        return footage

    def watch(self) -> tuple[float, list[Seen]]:
        return watch(self.folder / "rec.film")


async def develop(folder: Path, *streams: Stream) -> tuple[Footage, float, list[Seen]]:
    filming = Filming(folder)
    filming.take(arriving(list(streams)))
    return await filming.developed(), *filming.watch()


def of(seen: list[Seen], user: str, kind: str) -> Seen:
    (one,) = [s for s in seen if (s.user, s.kind) == (user, kind)]
    return one


def apart(seen: list[Seen], user: str, least: int = 4) -> float:
    """Give how far beeps and flashes that belong together are apart at most."""
    beeps, flashes = of(seen, user, "audio").marks, of(seen, user, "video").marks
    pairs = [(beep, min(flashes, key=lambda flash: abs(flash - beep))) for beep in beeps]
    assert len(flashes) >= least
    assert len(pairs) >= least
    return max(abs(beep - flash) for beep, flash in pairs)


def near(*spans: tuple[int, int]) -> Any:
    """Compare with times of gaps, to within some frames."""
    return [tuple(pytest.approx(ms, abs=300) for ms in span) for span in spans]
