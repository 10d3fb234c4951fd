"""What a worker left on its host is made a film and stored once, whoever comes."""

import asyncio
import os
from datetime import UTC, datetime
from pathlib import Path

import av
import pytest

from care import recordings
from care.calls import Call, CallState, Media, Party
from care.errors import Conflict
from care.media import RecordingState
from care.record import new_id
from care.recordings import Recording
from signalling import recordings as keeping
from signalling.media.recording import journal
from signalling.media.recording.film import EVERYBODY
from signalling.media.recording.writer import Recorder
from signalling.recordings import Keeper, LateParts, RecordingService, Unfinished, Unknown
from storage.database import Database
from storage.outbox import Outbox
from storage.recordings import Recordings
from tests.clock import START, ManualClock
from tests.signalling.media.guests import until
from tests.signalling.media.recording.filming import arriving, side

CALL = Call(
    id="call", room="room", consultation="consultation", media=Media.VIDEO,
    state=CallState.CONNECTED, started_at=START,
    parties=tuple(Party(user=user, role=user, name=user) for user in ("doctor", "patient")),
)  # fmt: skip


class Calls:
    """The calls there are."""

    async def get(self, call_id: str) -> Call | None:
        return CALL if call_id == CALL.id else None


class Host:
    """A folder, and a process of the hub that keeps what is in it."""

    def __init__(self, folder: Path, database: Database) -> None:
        clock = ManualClock()
        self.folder = folder
        self.store = Recordings(database, Outbox(database, clock), clock)
        self.service = RecordingService(self.store, Calls(), clock)
        self.carried: list[str] = []
        self.keeper = Keeper(folder, self.store, self.service, self._carry_out, clock)

    async def _carry_out(self, outgoing: str) -> None:
        self.carried.append(outgoing)

    async def record(self, recording: str, seconds: float = 2.0, call: str = "call") -> None:
        """Record a part of a call, as a worker does."""
        recorder = Recorder(self.folder, recording, call, datetime.now(UTC), print)
        began = asyncio.get_running_loop().time()
        for arrival, sent in arriving([*side("doctor", seconds=seconds), *side("patient")]):
            sent.pass_to(recorder, began + arrival)
        assert await recorder.close()

    async def begun(self) -> Recording:
        recording = await self.service.ensure(new_id(START), CALL.id, START)
        assert recording is not None
        return recording

    async def finished(self) -> Recording:
        recording = await self.begun()
        await self.record(recording.id)
        await self.service.moved(recording.id, CALL.id, RecordingState.FINISHED, "")
        return recording

    async def get(self, recording: str) -> Recording:
        found = await self.store.get(recording)
        assert found is not None
        return found

    async def film(self, recording: Recording) -> bytes:
        assert recording.footage is not None
        chunks = self.store.read(recording.id, poster=False, start=0, stop=recording.footage.size)
        return b"".join([chunk async for chunk in chunks])

    def files(self) -> list[str]:
        return sorted(path.name for path in self.folder.iterdir())

    def age(self, seconds: float) -> None:
        """Let nobody have written for so long."""
        for path in self.folder.iterdir():
            then = path.stat().st_mtime - seconds
            os.utime(path, (then, then))


@pytest.fixture
async def host(database: Database, tmp_path: Path) -> Host:
    host = Host(tmp_path, database)
    await host.store.ensure_indexes()
    return host


@pytest.mark.rule("V8")
async def test_a_finished_recording_is_stored_with_its_digest(host: Host) -> None:
    recording = await host.finished()

    await host.keeper.keep(recording.id)

    kept = await host.get(recording.id)
    assert kept.state is RecordingState.STORED
    (outgoing,) = host.carried
    assert outgoing == f"recording:{recording.id}:000003"
    film = await host.film(kept)
    (host.folder / "again.webm").write_bytes(film)
    with av.open(str(host.folder / "again.webm")) as container:
        assert {s.metadata["title"] for s in container.streams} == {EVERYBODY, "doctor", "patient"}
    (host.folder / "again.webm").unlink()
    assert host.files() == []


async def test_a_running_recording_is_left_alone_until_it_was_abandoned(host: Host) -> None:
    recording = await host.begun()
    await host.record(recording.id)

    await host.keeper.keep(recording.id)
    assert (await host.get(recording.id)).state is RecordingState.RUNNING

    host.age(keeping.ABANDONED_SECONDS + 1)
    await host.keeper.keep(recording.id)
    assert (await host.get(recording.id)).state is RecordingState.STORED


@pytest.mark.rule("V8")
async def test_of_two_processes_one_stores_it(
    host: Host, database: Database, tmp_path: Path
) -> None:
    other = Host(tmp_path, database)
    recording = await host.finished()

    for _ in range(2):
        await asyncio.gather(host.keeper.keep(recording.id), other.keeper.keep(recording.id))

    kept = await host.get(recording.id)
    assert kept.state is RecordingState.STORED
    assert len(host.carried + other.carried) == 1
    assert await database["films.files"].count_documents({}) == 2
    assert host.files() == []


async def test_a_keeper_that_died_while_it_finished_is_followed_by_another(host: Host) -> None:
    recording = await host.finished()
    dying = asyncio.create_task(host.keeper.keep(recording.id))
    film = host.folder / f"{recording.id}.film"
    await until(lambda: film.exists() or dying.done(), "the film is begun")
    dying.cancel()
    await asyncio.wait([dying])

    await host.keeper.keep(recording.id)

    assert (await host.get(recording.id)).state is RecordingState.STORED


async def test_what_somebody_records_after_it_was_stored_is_not_thrown_away(host: Host) -> None:
    recording = await host.finished()
    await host.keeper.keep(recording.id)
    await host.record(recording.id)
    before = host.files()

    with pytest.raises(LateParts):
        await host.keeper.keep(recording.id)

    assert host.files() == before != []


async def test_a_recording_nobody_told_of_is_kept_by_its_journal(host: Host) -> None:
    await host.record("untold")
    host.age(keeping.ABANDONED_SECONDS + 1)

    await host.keeper.keep("untold")

    kept = await host.get("untold")
    assert (kept.state, kept.call) == (RecordingState.STORED, CALL.id)


async def test_a_recording_the_database_does_not_know_stays(host: Host) -> None:
    await host.record("unknown", call="unknown")

    with pytest.raises(Unknown):
        await host.keeper.keep("unknown")

    assert len(host.files()) == 1


async def test_a_journal_that_cannot_be_read_stays(host: Host) -> None:
    recording = await host.finished()
    (part,) = journal.parts(host.folder, recording.id)
    part.write_bytes(b"nothing")

    with pytest.raises(Unfinished):
        await host.keeper.keep(recording.id)

    assert part.exists()


async def test_the_states_are_those_of_the_table(host: Host) -> None:
    recording = await host.begun()
    await host.service.moved(recording.id, CALL.id, RecordingState.INTERRUPTED, "录制文件无法写入")
    interrupted = await host.get(recording.id)
    await host.service.moved(recording.id, CALL.id, RecordingState.RUNNING, "")
    running = await host.get(recording.id)
    await host.service.moved(recording.id, CALL.id, RecordingState.FINISHED, "")
    # told late
    await host.service.moved(recording.id, CALL.id, RecordingState.INTERRUPTED, "x")
    await host.service.moved("another", "unknown", RecordingState.FINISHED, "")

    finished = await host.get(recording.id)
    assert (interrupted.problem, interrupted.ended_at) == ("录制文件无法写入", START)
    assert (running.problem, running.ended_at) == ("", None)
    assert (finished.state, finished.problem) == (RecordingState.FINISHED, "")
    for state in RecordingState:
        if state not in recordings.TABLE[finished.state]:
            with pytest.raises(Conflict):
                recordings.move(finished, state, START)
