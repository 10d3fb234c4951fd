"""A call between real peers is recorded while its room forwards it."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import av
import pytest
import pytest_asyncio
from av import AudioFrame, AudioResampler, VideoFrame

from bot.media import Ear, Eye
from care.media import RecordingState
from signalling.media.recording.film import EVERYBODY
from signalling.media.recording.finish import finish
from signalling.media.recording.recorders import Recorders
from signalling.media.recording.writer import UNWRITABLE
from tests.signalling.media.guests import until
from tests.signalling.media.test_room import TONES, Party


@pytest_asyncio.fixture
async def party() -> AsyncIterator[Party]:
    party = Party()
    yield party
    await party.close()


class Told:
    """Hears how recordings go."""

    def __init__(self) -> None:
        self.states: list[RecordingState] = []
        self.problems: list[str] = []

    def __call__(self, call: str, recording: str, state: RecordingState, problem: str) -> None:
        assert (call, recording) == ("call", "rec")
        self.states.append(state)
        self.problems.append(problem)


class Track:
    """One track of a film, heard or seen."""

    def __init__(self) -> None:
        self.ear, self.eye = Ear(), Eye()
        self._resampler = AudioResampler(format="s16", layout="stereo", rate=48_000)

    def take(self, frame: AudioFrame | VideoFrame) -> None:
        if isinstance(frame, VideoFrame):
            self.eye.take(frame)
            return
        for plain in self._resampler.resample(frame):
            self.ear.take(plain)


def perceived(path: Path) -> dict[tuple[str, str], Track]:
    with av.open(str(path)) as film:
        tracks = {(s.metadata["title"], str(s.type)): Track() for s in film.streams}
        for packet in film.demux():
            track = tracks[packet.stream.metadata["title"], str(packet.stream.type)]
            for frame in packet.decode():
                if isinstance(frame, AudioFrame | VideoFrame):
                    track.take(frame)
    return tracks


@pytest.mark.rule("V8")
@pytest.mark.parametrize("codec", ["VP8", "H264"])
async def test_all_who_come_into_a_room_are_recorded(
    party: Party, codec: str, tmp_path: Path
) -> None:
    told = Told()
    recorders = Recorders(tmp_path, told)
    for user in ("doctor", "patient"):
        await party.join(user, codec)
    await party.all_hear_and_see()

    started = datetime.now(UTC)
    await recorders.start(party.room, "call", "rec", started)
    await recorders.start(party.room, "call", "rec", started)
    await party.join("relative", codec)
    await party.all_hear_and_see()
    # it begins anew while it is recorded
    await party.join("patient", codec)
    await party.all_hear_and_see()
    await recorders.stop("call")
    await recorders.stop("call")
    lasted = (datetime.now(UTC) - started).total_seconds()

    assert told.states == [RecordingState.RUNNING, RecordingState.FINISHED]
    footage = finish(tmp_path, "rec")
    assert footage is not None
    assert footage.duration_ms / 1000 == pytest.approx(lasted, abs=0.5)
    assert footage.poster_size
    tracks = perceived(tmp_path / "rec.film")
    users = {"doctor", "patient", "relative"}
    kinds = ("audio", "video")
    assert tracks.keys() == {(u, k) for u in users for k in kinds} | {(EVERYBODY, "audio")}
    for user in users:
        assert tracks[user, "audio"].ear.share(TONES[user]) > 0.5, user
        assert tracks[user, "video"].eye.moving, user


async def test_a_recording_that_fails_is_told_and_the_call_goes_on(
    party: Party, tmp_path: Path
) -> None:
    blocked = tmp_path / "file"
    blocked.touch()
    told = Told()
    recorders = Recorders(blocked, told)
    for user in ("doctor", "patient"):
        await party.join(user)

    await recorders.start(party.room, "call", "rec", datetime.now(UTC))
    await until(lambda: RecordingState.INTERRUPTED in told.states, "the failure is told")

    await party.all_hear_and_see()
    await recorders.close()
    assert told.states == [RecordingState.RUNNING, RecordingState.INTERRUPTED]
    assert told.problems == ["", UNWRITABLE]
