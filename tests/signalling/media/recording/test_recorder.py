"""What a recorder wrote is kept up to its end, however it came to it."""

import random
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from care.recordings import Gap, GapReason
from signalling.media.recording import journal
from signalling.media.recording.finish import finish
from tests.signalling.media.guests import until
from tests.signalling.media.recording.developing import (
    SECONDS,
    STARTED,
    SYNC_SECONDS,
    Filming,
    apart,
    near,
    of,
)
from tests.signalling.media.recording.filming import arriving, side


@contextmanager
def file_size_limited(size: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.rule("V8")
async def test_a_full_disk_ends_the_recording_once_and_keeps_what_was_written(
    tmp_path: Path,
) -> None:
    streams = arriving(side("a"))
    filming = Filming(tmp_path)
    with file_size_limited(10_000):
        filming.take(streams)
        await until(lambda: bool(filming.failures), "the recording failed")
        filming.take(streams)
        assert not await filming.recorder.close()

    assert filming.failures == ["录制存储空间不足，录制已停止"]
    footage = finish(tmp_path, "rec")
    assert footage is not None
    assert footage.gaps[-1] == Gap(
        reason=GapReason.INTERRUPTED, begins_ms=footage.gaps[-1].begins_ms
    )
    duration, seen = filming.watch()
    assert 0 < duration < SECONDS
    assert {(s.user, s.kind) for s in seen} == {("a", "audio"), ("a", "video")}


async def test_a_folder_that_cannot_be_written_is_told_once(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.touch()
    filming = Filming(blocked / "folder")
    filming.take(arriving(side("a")))

    await until(lambda: bool(filming.failures), "the recording failed")

    assert not await filming.recorder.close()
    assert filming.failures == ["录制文件无法写入，录制已停止"]


async def test_a_recording_that_is_written_is_not_finished(tmp_path: Path) -> None:
    filming = Filming(tmp_path)
    await until(lambda: bool(list(tmp_path.glob("*.journal"))), "the journal is there")

    assert finish(tmp_path, "rec") is None

    footage = await filming.developed()
    assert (footage.size, footage.tracks) == (0, ())
    assert finish(tmp_path, "rec") == footage


async def test_a_torn_journal_is_finished_up_to_the_tear(tmp_path: Path) -> None:
    """What a loss of power leaves ends within any entry, or in anything."""
    whole = tmp_path / "whole"
    filming = Filming(whole)
    filming.take(arriving(side("a")))
    assert await filming.recorder.close()
    written = journal.parts(whole, "rec")[0].read_bytes()
    chance = random.Random(5)  # noqa: S311  # the same tears each time
    # the first entries describe the streams
    ends = [len(written)] * 20 + [700] * 40
    durations = []
    for number, length in enumerate(sorted(chance.randrange(200, end) for end in ends)):
        folder = tmp_path / str(number)
        folder.mkdir()
        rest = chance.choice([b"", bytes(4096), chance.randbytes(4096)])
        (folder / "rec.1.journal").write_bytes(written[:length] + rest)
        footage = finish(folder, "rec")
        assert footage is not None
        assert footage.gaps[-1].reason is GapReason.INTERRUPTED
        durations.append(footage.duration_ms)

    assert durations == sorted(durations)
    assert durations[-1] > durations[0]


@pytest.mark.rule("V8")
async def test_another_worker_goes_on_with_the_same_film(tmp_path: Path) -> None:
    died = Filming(tmp_path)
    died.take(arriving([*side("a", seconds=4.0), *side("b", seconds=4.0)]))
    assert await died.recorder.close()
    (first,) = journal.parts(tmp_path, "rec")
    # as a crash leaves it: without its last entry
    first.write_bytes(first.read_bytes()[:-10])

    later = STARTED + timedelta(seconds=7)
    second = Filming(tmp_path, later)
    second.take(arriving([*side("a", ssrc=7, seconds=4.0), *side("b", ssrc=9, seconds=4.0)]))
    footage = await second.developed()

    duration, seen = second.watch()
    assert duration == pytest.approx(11, abs=0.5)
    for user in ("a", "b"):
        assert of(seen, user, "audio").marks == pytest.approx([0, 1, 2, 3, 7, 8, 9, 10], abs=0.2)
        assert apart(seen, user) < SYNC_SECONDS
    (broken,) = [g for g in footage.gaps if g.reason is GapReason.INTERRUPTED]
    assert (broken.begins_ms, broken.ends_ms) == near((4000, 7000))[0]
