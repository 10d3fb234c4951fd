"""A recorder's journal becomes a film of every side, in time, whatever happened on the way."""

import asyncio
import itertools
import random
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import av
import pytest
from PIL import Image

from care.recordings import Footage, Gap, GapReason
from signalling.media.recording import journal
from signalling.media.recording.film import EVERYBODY
from signalling.media.recording.finish import finish
from signalling.media.recording.writer import Recorder
from tests.signalling.media.guests import until
from tests.signalling.media.recording.filming import (
    Seen,
    Sent,
    Stream,
    arriving,
    audio,
    side,
    watch,
)

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


async def film(folder: Path, *streams: Stream) -> tuple[Footage, float, list[Seen]]:
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


def reasons(footage: Footage) -> list[tuple[str | None, str | None, GapReason]]:
    return [(gap.user, gap.kind, gap.reason) for gap in footage.gaps]


def near(*spans: tuple[int, int]) -> Any:
    """Compare with times of gaps, to within some frames."""
    return [tuple(pytest.approx(ms, abs=300) for ms in span) for span in spans]


@pytest.mark.rule("V8")
@pytest.mark.parametrize("codecs", [("VP8", "VP8"), ("H264", "H264"), ("VP8",) * 4])
async def test_a_film_has_every_side_in_time(tmp_path: Path, codecs: tuple[str, ...]) -> None:
    sides = {f"u{n}": side(f"u{n}", codec, ahead=1000.0 * n) for n, codec in enumerate(codecs)}

    footage, duration, seen = await film(tmp_path, *itertools.chain(*sides.values()))

    assert duration == pytest.approx(SECONDS, abs=0.5)
    assert footage.duration_ms / 1000 == pytest.approx(SECONDS, abs=0.5)
    tracks = {(u, k) for u in sides for k in ("audio", "video")}
    assert {(s.user, s.kind) for s in seen} == tracks | {(EVERYBODY, "audio")}
    assert max(apart(seen, user) for user in sides) < SYNC_SECONDS
    # what was at once in the room is at once in the film
    begins = [of(seen, user, "audio").marks[1] for user in sides]
    assert max(begins) - min(begins) < SYNC_SECONDS
    assert footage.gaps == ()
    assert {t.lost_packets for t in footage.tracks} == {0}
    with Image.open(tmp_path / "rec.jpg") as poster:
        assert poster.size == (160, 120)


async def test_sound_alone_makes_a_film_without_a_poster(tmp_path: Path) -> None:
    footage, duration, seen = await film(tmp_path, side("a")[0], side("b")[0])

    assert duration == pytest.approx(SECONDS, abs=0.5)
    assert [s.user for s in seen] == [EVERYBODY, "a", "b"]
    assert {s.kind for s in seen} == {"audio"}
    assert (footage.mime, footage.poster_size) == ("audio/webm", None)


@pytest.mark.rule("V8")
async def test_the_first_track_has_everybodys_sound(tmp_path: Path) -> None:
    here, late = side("here", seconds=8.0)[0], side("late", begins=2.5, seconds=4.0)[0]
    here.missing = frozenset(range(300, 320))

    _, _, seen = await film(tmp_path, here, late)

    heard = seen[0].marks
    assert seen[0].user == EVERYBODY
    assert heard == pytest.approx([0, 1, 2, 2.5, 3, 3.5, 4, 4.5, 5, 5.5, 7], abs=SYNC_SECONDS)
    assert seen[0].ends == pytest.approx(8, abs=0.1)


@pytest.mark.rule("V8")
async def test_clocks_that_run_unevenly_stay_in_step(tmp_path: Path) -> None:
    sound, pictures = side("a")
    for stream in (sound, pictures):
        stream.seconds = 60.0
    # 150 ms apart after a minute
    sound.skew, pictures.skew = 0.0015, -0.001

    _, duration, seen = await film(tmp_path, sound, pictures)

    assert duration == pytest.approx(60, abs=0.5)
    assert apart(seen, "a", least=58) < SYNC_SECONDS


async def test_sound_flows_evenly_from_report_to_report(tmp_path: Path) -> None:
    sound, _ = side("a", skew=0.01)

    await film(tmp_path, sound)

    with av.open(str(tmp_path / "rec.film")) as container:
        at = [float(p.pts * p.time_base) for p in container.demux() if p.pts and p.time_base]
    steps = [later - earlier for earlier, later in itertools.pairwise(at)]
    # what is written is in whole milliseconds
    assert max(steps) < 0.0225
    assert min(steps) > 0.0175


async def test_without_reports_sound_and_pictures_go_by_their_fastest_packets(
    tmp_path: Path,
) -> None:
    sound, pictures = side("a", reports=False, delay=0.1)

    _, _, seen = await film(tmp_path, sound, pictures)

    assert apart(seen, "a") < SYNC_SECONDS


async def test_one_who_comes_late_and_leaves_early_is_in_place(tmp_path: Path) -> None:
    here = side("here", seconds=12.0)
    guest = side("guest", begins=4.0, seconds=5.0)

    footage, duration, seen = await film(tmp_path, *here, *guest)

    assert duration == pytest.approx(12, abs=0.5)
    assert of(seen, "guest", "video").begins == pytest.approx(4, abs=0.3)
    assert of(seen, "guest", "audio").ends == pytest.approx(9, abs=0.3)
    assert apart(seen, "guest") < SYNC_SECONDS
    absent = [(g.begins_ms, g.ends_ms) for g in footage.gaps if g.kind == "audio"]
    assert absent == near((0, 4000), (9000, 12000))
    assert {reason for _, _, reason in reasons(footage)} == {GapReason.ABSENT}


@pytest.mark.rule("V8")
async def test_one_who_comes_back_with_another_device_goes_on_in_the_same_tracks(
    tmp_path: Path,
) -> None:
    filming = Filming(tmp_path)
    leaving = side("guest", seconds=4.0)
    # what came behind it was still waited with when the guest went
    leaving[0].missing = frozenset({165})
    first = arriving([*side("here", seconds=6.0), *leaving])
    # another device: other streams, and a wall clock of its own that is near the first one's
    again = side("guest", ssrc=77, begins=7.0, seconds=5.0, ahead=1.2)
    filming.take(first)
    filming.recorder.on_left("guest")
    filming.take(arriving(again))

    footage = await filming.developed()

    _, seen = filming.watch()
    guest = of(seen, "guest", "audio")
    assert guest.marks == pytest.approx([0, 1, 2, 3, 7, 8, 9, 10, 11], abs=0.2)
    assert apart(seen, "guest") < SYNC_SECONDS
    away = [g for g in footage.gaps if (g.user, g.kind) == ("guest", "audio")]
    assert [g.reason for g in away] == [GapReason.ABSENT]
    assert [(g.begins_ms, g.ends_ms) for g in away] == near((4000, 7000))
    assert all(gap.reason is GapReason.ABSENT for gap in footage.gaps)


@pytest.mark.rule("V8")
async def test_what_was_lost_is_listed(tmp_path: Path) -> None:
    sound, pictures = side("a")
    # 0.4 s of the sound and one packet of the pictures, 0.9 s before their next key frame
    sound.missing = frozenset(range(100, 120))
    pictures.missing = frozenset({62})
    per_frame = [len(s.payloads) for s in audio(6.0)]
    assert set(per_frame) == {1}

    footage, _, seen = await film(tmp_path, sound, pictures)

    assert {t.kind: t.lost_packets for t in footage.tracks} == {"audio": 20, "video": 1}
    gaps = {g.kind: g for g in footage.gaps}
    assert {g.reason for g in footage.gaps} == {GapReason.LOST}
    assert gaps["audio"].begins_ms == pytest.approx(1980, abs=100)
    assert gaps["audio"].ends_ms == pytest.approx(2400, abs=100)
    assert gaps["video"].ends_ms == pytest.approx(4000, abs=100)
    assert apart(seen, "a", least=3) < SYNC_SECONDS


async def test_a_single_lost_packet_is_counted_and_no_gap(tmp_path: Path) -> None:
    sound, pictures = side("a")
    sound.missing = frozenset({100})

    footage, _, _ = await film(tmp_path, sound, pictures)

    assert footage.gaps == ()
    assert {t.kind: t.lost_packets for t in footage.tracks} == {"audio": 1, "video": 0}


@pytest.mark.rule("V8")
async def test_a_change_of_the_codec_is_a_gap_and_the_film_goes_on(tmp_path: Path) -> None:
    sound, pictures = side("a", seconds=8.0)
    pictures.seconds = 4.0
    other = Stream("a", "video", "H264", 9, begins=5.0, seconds=3.0, delay=0.25)

    footage, duration, seen = await film(tmp_path, sound, pictures, other)

    assert duration == pytest.approx(8, abs=0.5)
    assert [(s.kind, s.codec) for s in seen if s.kind == "video"] == [
        ("video", "vp8"), ("video", "h264"),
    ]  # fmt: skip
    before, after = [s for s in seen if s.kind == "video"]
    assert before.marks == pytest.approx([0, 1, 2, 3], abs=0.1)
    assert after.marks == pytest.approx([5, 6, 7], abs=0.1)
    assert reasons(footage) == [("a", "video", GapReason.CODEC)]


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
