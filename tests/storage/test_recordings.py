"""A recording's film is stored once and whole, whichever processes try and die."""

import asyncio
import hashlib
import io
import tracemalloc

import pytest

from care.calls import Call, CallState, Media, Party
from care.errors import Forbidden
from care.media import RecordingState
from care.record import new_id
from care.recordings import Footage, LeaseLost, Recording, begun, kept, move, stored
from storage import recordings
from storage.database import Database
from storage.outbox import Outbox
from storage.recordings import LEASE, Recordings
from tests.clock import START, ManualClock

FILM = bytes(range(256)) * 12_345
POSTER = b"a picture"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def store(database: Database, clock: ManualClock) -> Recordings:
    outbox = Outbox(database, clock)
    store = Recordings(database, outbox, clock)
    await store.ensure_indexes()
    return store


def recording(call: str = "call") -> Recording:
    parties = tuple(Party(user=user, role=user, name=user) for user in ("doctor", "patient"))
    made = Call(
        id=call, room="room", consultation="consultation", media=Media.VIDEO,
        state=CallState.CONNECTED, parties=parties, started_at=START,
    )  # fmt: skip
    return begun(made, new_id(START), START)


def footage(of: Recording, size: int = len(FILM)) -> Footage:
    return Footage(
        recording=of.id, call=of.call, started_at=START, duration_ms=61_000, mime="video/webm",
        size=size, poster_size=len(POSTER),
    )  # fmt: skip


async def finish(store: Recordings, running: Recording) -> Recording:
    finished = move(running, RecordingState.FINISHED, START)
    assert await store.replace(running, finished)
    return finished


class Zeros(io.BytesIO):
    """A long film that is nowhere whole."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self._left = size

    def read(self, size: int | None = -1, /) -> bytes:
        data = bytes(min(size or 0, self._left))
        self._left -= len(data)
        return data


async def left(database: Database) -> tuple[int, int]:
    """Count the films and chunks there are, the posters' among them."""
    return (
        await database["films.files"].count_documents({}),
        await database["films.chunks"].count_documents({}),
    )


async def content(store: Recordings, of: str, start: int, stop: int) -> bytes:
    return b"".join([c async for c in store.read(of, poster=False, start=start, stop=stop)])


async def test_a_film_is_read_as_it_was_stored(store: Recordings, database: Database) -> None:
    finished = recording()
    await store.create(finished)
    finished = await finish(store, finished)
    claim = await store.claim(finished.id)
    assert claim is not None

    digest = await store.upload(claim, io.BytesIO(FILM), io.BytesIO(POSTER))
    with pytest.raises(Forbidden):
        await content(store, finished.id, 0, 10)
    done = stored(finished, footage(finished), digest, START)
    assert await store.keep(claim, done, kept(done, footage(done)))

    assert digest == hashlib.sha256(FILM).hexdigest()
    assert await store.get(finished.id) == done
    assert await store.of_consultation("consultation") == [done]
    assert await content(store, finished.id, 0, len(FILM)) == FILM
    middle = slice(1_048_570, 1_048_590)
    assert await content(store, finished.id, middle.start, middle.stop) == FILM[middle]
    poster = [c async for c in store.read(finished.id, poster=True, start=0, stop=len(POSTER))]
    assert b"".join(poster) == POSTER
    assert await database["outbox"].count_documents({"_id": f"recording:{done.id}:000003"}) == 1
    assert await store.claim(finished.id) is None


async def test_what_is_told_twice_is_one_recording(store: Recordings) -> None:
    running = recording()
    await asyncio.gather(*(store.create(running) for _ in range(5)))
    finished = await finish(store, running)

    await store.create(running)

    assert await store.of_consultation("consultation") == [finished]


async def test_of_many_processes_one_stores_the_film(store: Recordings, database: Database) -> None:
    finished = recording()
    await store.create(finished)
    finished = await finish(store, finished)

    claims = await asyncio.gather(*(store.claim(finished.id) for _ in range(10)))

    assert len([claim for claim in claims if claim]) == 1


async def test_who_comes_after_a_crash_stores_it_and_removes_what_was_left(
    store: Recordings, database: Database, clock: ManualClock
) -> None:
    finished = recording()
    await store.create(finished)
    finished = await finish(store, finished)
    died = await store.claim(finished.id)
    assert died is not None
    await store.upload(died, io.BytesIO(FILM), io.BytesIO(POSTER))
    assert await store.claim(finished.id) is None
    clock.advance(LEASE.total_seconds() + 1)

    claim = await store.claim(finished.id)
    assert claim is not None
    digest = await store.upload(claim, io.BytesIO(FILM), io.BytesIO(POSTER))
    done = stored(finished, footage(finished), digest, START)

    assert not await store.keep(died, done, kept(done, footage(done)))
    assert await store.keep(claim, done, kept(done, footage(done)))
    assert await left(database) == (2, 5)


async def test_who_loses_the_lease_while_it_uploads_leaves_nothing(
    store: Recordings, database: Database, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recordings, "RENEW_SECONDS", 0.0)
    finished = recording()
    await store.create(finished)
    finished = await finish(store, finished)
    slow = await store.claim(finished.id)
    assert slow is not None
    clock.advance(LEASE.total_seconds() + 1)
    assert await store.claim(finished.id) is not None

    with pytest.raises(LeaseLost):
        await store.upload(slow, io.BytesIO(FILM), io.BytesIO(POSTER))
    await store.let_go(slow)

    assert await left(database) == (0, 0)


async def test_a_long_film_takes_little_memory(store: Recordings) -> None:
    finished = recording()
    await store.create(finished)
    finished = await finish(store, finished)
    claim = await store.claim(finished.id)
    assert claim is not None

    tracemalloc.start()
    try:
        await store.upload(claim, Zeros(100 * 2**20), None)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak < 16 * 2**20
