"""A recorder's journal becomes a film of every side, in time, whatever happened on the way."""

import itertools
from pathlib import Path

import av
import pytest
from PIL import Image

from care.recordings import GapReason
from signalling.media.recording.film import EVERYBODY
from tests.signalling.media.recording.developing import (
    SECONDS,
    SYNC_SECONDS,
    Filming,
    apart,
    develop,
    near,
    of,
)
from tests.signalling.media.recording.filming import Stream, arriving, audio, side


@pytest.mark.rule("V8")
@pytest.mark.parametrize("codecs", [("VP8", "VP8"), ("H264", "H264"), ("VP8",) * 4])
async def test_a_film_has_every_side_in_time(tmp_path: Path, codecs: tuple[str, ...]) -> None:
    sides = {f"u{n}": side(f"u{n}", codec, ahead=1000.0 * n) for n, codec in enumerate(codecs)}

    footage, duration, seen = await develop(tmp_path, *itertools.chain(*sides.values()))

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
    footage, duration, seen = await develop(tmp_path, side("a")[0], side("b")[0])

    assert duration == pytest.approx(SECONDS, abs=0.5)
    assert [s.user for s in seen] == [EVERYBODY, "a", "b"]
    assert {s.kind for s in seen} == {"audio"}
    assert (footage.mime, footage.poster_size) == ("audio/webm", None)


@pytest.mark.rule("V8")
async def test_the_first_track_has_everybodys_sound(tmp_path: Path) -> None:
    here, late = side("here", seconds=8.0)[0], side("late", begins=2.5, seconds=4.0)[0]
    here.missing = frozenset(range(300, 320))

    _, _, seen = await develop(tmp_path, here, late)

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

    _, duration, seen = await develop(tmp_path, sound, pictures)

    assert duration == pytest.approx(60, abs=0.5)
    assert apart(seen, "a", least=58) < SYNC_SECONDS


async def test_sound_flows_evenly_from_report_to_report(tmp_path: Path) -> None:
    sound, _ = side("a", skew=0.01)

    await develop(tmp_path, sound)

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

    _, _, seen = await develop(tmp_path, sound, pictures)

    assert apart(seen, "a") < SYNC_SECONDS


async def test_one_who_comes_late_and_leaves_early_is_in_place(tmp_path: Path) -> None:
    here = side("here", seconds=12.0)
    guest = side("guest", begins=4.0, seconds=5.0)

    footage, duration, seen = await develop(tmp_path, *here, *guest)

    assert duration == pytest.approx(12, abs=0.5)
    assert of(seen, "guest", "video").begins == pytest.approx(4, abs=0.3)
    assert of(seen, "guest", "audio").ends == pytest.approx(9, abs=0.3)
    assert apart(seen, "guest") < SYNC_SECONDS
    absent = [(g.begins_ms, g.ends_ms) for g in footage.gaps if g.kind == "audio"]
    assert absent == near((0, 4000), (9000, 12000))
    assert {gap.reason for gap in footage.gaps} == {GapReason.ABSENT}


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

    footage, _, seen = await develop(tmp_path, sound, pictures)

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

    footage, _, _ = await develop(tmp_path, sound, pictures)

    assert footage.gaps == ()
    assert {t.kind: t.lost_packets for t in footage.tracks} == {"audio": 1, "video": 0}


@pytest.mark.rule("V8")
async def test_a_change_of_the_codec_is_a_gap_and_the_film_goes_on(tmp_path: Path) -> None:
    sound, pictures = side("a", seconds=8.0)
    pictures.seconds = 4.0
    other = Stream("a", "video", "H264", 9, begins=5.0, seconds=3.0, delay=0.25)

    footage, duration, seen = await develop(tmp_path, sound, pictures, other)

    assert duration == pytest.approx(8, abs=0.5)
    assert [(s.kind, s.codec) for s in seen if s.kind == "video"] == [
        ("video", "vp8"), ("video", "h264"),
    ]  # fmt: skip
    before, after = [s for s in seen if s.kind == "video"]
    assert before.marks == pytest.approx([0, 1, 2, 3], abs=0.1)
    assert after.marks == pytest.approx([5, 6, 7], abs=0.1)
    assert [(g.user, g.kind, g.reason) for g in footage.gaps] == [("a", "video", GapReason.CODEC)]


@pytest.mark.rule("V8")
async def test_malformed_pictures_spoil_no_film(tmp_path: Path) -> None:
    _, pictures = wrong = side("wrong", "H264", seconds=4.0)
    pictures.broken = 2
    _, junk = hostile = side("hostile", "H264", seconds=4.0)
    junk.broken = 100
    good = side("good", seconds=4.0)

    footage, duration, seen = await develop(tmp_path, *wrong, *hostile, *good)

    assert duration == pytest.approx(4, abs=0.5)
    videos = {"wrong", "good"}
    assert {s.user for s in seen if s.kind == "video"} == videos
    assert {t.user for t in footage.tracks if t.kind == "video"} == videos
    assert of(seen, "good", "video").marks == pytest.approx([0, 1, 2, 3], abs=0.1)
    # from its second key frame on
    assert of(seen, "wrong", "video").marks[-2:] == pytest.approx([2, 3], abs=0.1)
    assert len(of(seen, "hostile", "audio").marks) >= 3
    assert footage.poster_size
