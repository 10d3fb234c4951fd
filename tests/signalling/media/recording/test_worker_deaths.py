"""A media worker dies while it records, and another one goes on with the same film."""

import asyncio
import os
import signal
from datetime import UTC, datetime
from pathlib import Path

import pytest

from care.media import RecordingState
from care.policy import MediaPolicy
from care.recordings import GapReason
from signalling.media.recording import journal
from signalling.media.recording.finish import finish
from tests.signalling.media.guests import until
from tests.signalling.media.recording.filming import watch
from tests.signalling.media.test_workers import Relay, relaying, worker_pids

LEAST_BYTES = 60_000
"""Of a part: some seconds of two sides."""


async def record(relay: Relay, folder: Path, parts: int) -> str:
    """Bring two sides together and record them for a while; give the worker."""
    worker = await relay.workers.place()
    await relay.talk(worker, "call")
    await relay.workers.record(worker, "call", "rec", datetime.now(UTC))
    await until(
        lambda: (
            len(found := journal.parts(folder, "rec")) == parts
            and found[-1].stat().st_size > LEAST_BYTES
        ),
        f"part {parts} is written",
    )
    return worker


@pytest.mark.rule("V8")
async def test_a_recording_goes_on_after_its_worker_was_killed(tmp_path: Path) -> None:
    async with relaying(MediaPolicy(), tmp_path) as relay:
        began = datetime.now(UTC)
        await record(relay, tmp_path, parts=1)
        for pid in worker_pids():
            os.kill(pid, signal.SIGKILL)
        await until(lambda: "call" in relay.events.lost_at, "the call is lost")
        await relay.hang_up()
        worker = await record(relay, tmp_path, parts=2)
        await relay.workers.close(worker, "call")
        finished = ("call", "rec", RecordingState.FINISHED, "")
        await until(lambda: finished in relay.events.others, "it is finished")
        lasted = (datetime.now(UTC) - began).total_seconds()

    footage = await asyncio.to_thread(finish, tmp_path, "rec")
    assert footage is not None
    (broken,) = [gap for gap in footage.gaps if gap.reason is GapReason.INTERRUPTED]
    assert broken.ends_ms is not None
    duration, seen = await asyncio.to_thread(watch, tmp_path / "rec.film")
    assert broken.ends_ms / 1000 < duration <= lasted
    for user in ("doctor", "patient"):
        for kind in ("audio", "video"):
            (track,) = [s for s in seen if (s.user, s.kind) == (user, kind)]
            assert track.begins < broken.begins_ms / 1000, (user, kind)
            assert track.ends > broken.ends_ms / 1000, (user, kind)
