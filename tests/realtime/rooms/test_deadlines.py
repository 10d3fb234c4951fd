"""Who looks at a due consultation, and when nobody may."""

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

from care.consultation import Consultation, State
from care.policy import BookingPolicy
from care.record import new_id
from realtime.clock import SystemClock
from realtime.rooms.deadlines import LEASE, Deadlines, Timed
from storage.cancellations import Cancellations
from storage.consultations import Consultations, to_document
from storage.database import Database
from storage.doctors import Doctors
from storage.files import Files
from storage.outbox import Outbox
from storage.people import People
from storage.slots import Slots
from storage.vault import Vault
from tests.care.test_consultation import consultation
from tests.clock import ManualClock

HOUR = 3600


class Looked:
    """Counts what it was told to close."""

    def __init__(self) -> None:
        self.times: Counter[str] = Counter()

    async def run_out(self, consultation: Consultation) -> bool:
        self.times[consultation.id] += 1
        # lets the other processes in, as a database would
        await asyncio.sleep(0)
        return True


def deadlines(store: Consultations, looked: Looked, clock: ManualClock) -> Deadlines:
    return Deadlines([Timed(store, looked.run_out)], store.server_time, clock)


@pytest.fixture
async def store(database: Database) -> Consultations:
    clock, vault = ManualClock(), Vault({"1": b"k" * 32}, "1", b"i" * 32)
    kept = Consultations(
        database, Outbox(database, clock), People(database, vault),
        Doctors(database, "node", clock), Files(database), Slots(database),
        Cancellations(database, BookingPolicy()),
    )  # fmt: skip
    await kept.ensure_indexes()
    return kept


async def fill(database: Database, due: datetime, count: int) -> None:
    pattern = consultation(State.AWAITING_DOCTOR)
    await database["consultations"].insert_many(
        to_document(
            pattern.changed(id=new_id(due), request=f"q{i}", room=f"r{i}", patient=f"p{i}",
                            check_at=due)
        )
        for i in range(count)
    )  # fmt: skip


async def test_of_several_processes_one_looks_at_a_due_consultation(
    database: Database, store: Consultations
) -> None:
    now = await store.server_time()
    await fill(database, now, 60)
    looked = Looked()
    processes = [deadlines(store, looked, ManualClock(now)) for _ in range(4)]
    await asyncio.gather(*(p.look() for p in processes))
    assert len(looked.times) == 60
    assert set(looked.times.values()) == {1}


async def test_what_a_dead_process_took_is_looked_at_after_its_lease(
    database: Database, store: Consultations
) -> None:
    now = await store.server_time()
    await fill(database, now, 1)
    looked, clock = Looked(), ManualClock(now)
    assert await store.claim_due(now, now + LEASE) is not None
    await deadlines(store, looked, clock).look()
    assert not looked.times
    clock.advance(LEASE.total_seconds())
    await deadlines(store, looked, clock).look()
    assert looked.times.total() == 1


@pytest.mark.parametrize("jump", [HOUR, -HOUR])
async def test_nothing_closes_while_the_clock_disagrees_with_the_database(
    database: Database, store: Consultations, jump: int
) -> None:
    now = await store.server_time()
    # due on the clock that jumped; on the one that didn't only when it jumped back
    await fill(database, now - timedelta(hours=2) if jump < 0 else now + timedelta(minutes=30), 1)
    looked, clock = Looked(), ManualClock(now)
    process = deadlines(store, looked, clock)
    clock.advance(jump)
    await process.look()
    assert not looked.times
    clock.advance(-jump)
    await process.look()
    assert looked.times.total() == (1 if jump < 0 else 0)


@pytest.mark.parametrize("jump", [HOUR, -HOUR])
async def test_a_jump_of_the_hosts_clock_closes_what_is_due_and_nothing_else(
    database: Database, store: Consultations, jump: int
) -> None:
    ahead = timedelta()
    clock = SystemClock(wall=lambda: datetime.now(UTC) + ahead)
    now = clock.now()
    await fill(database, now + timedelta(minutes=30), 1)
    looked = Looked()
    process = Deadlines([Timed(store, looked.run_out)], store.server_time, clock)
    ahead = timedelta(seconds=jump)
    await process.look()
    assert not looked.times
    overdue = {"$set": {"check_at": now - timedelta(minutes=30)}}
    await database["consultations"].update_one({}, overdue)
    await process.look()
    assert looked.times.total() == 1


@pytest.mark.parametrize("jump", [HOUR, -HOUR])
async def test_closing_goes_on_by_itself_once_the_databases_clock_is_right_again(
    database: Database, store: Consultations, jump: int
) -> None:
    now, ahead = await store.server_time(), timedelta(seconds=jump)
    await fill(database, now, 1)

    async def server_time() -> datetime:
        return await store.server_time() + ahead

    looked = Looked()
    process = Deadlines([Timed(store, looked.run_out)], server_time, ManualClock(now))
    await process.look()
    assert not looked.times
    ahead = timedelta()
    await process.look()
    assert looked.times.total() == 1
