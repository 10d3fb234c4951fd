"""What 100,000 running clocks cost while none is due, and how fast due ones are closed."""

import asyncio
import os
import time
from datetime import UTC, datetime, timedelta
from typing import Any

from bench.hub import Hub, running_hub
from bench.processes import cpu_seconds
from bench.report import Figure, percentile
from care.consultation import Consultation, State
from care.policy import Policy
from care.record import new_id
from realtime.clock import SystemClock
from realtime.rooms.deadlines import Deadlines, Timed
from realtime.secrets import Secrets
from realtime.stores import Stores
from storage.consultations import from_document, to_document
from storage.database import Collection, Database
from tests.scenarios.records import database_of

PENDING, QUICK_PENDING = 100_000, 5_000
POLLS, QUICK_POLLS = 5_000, 500
SECONDS, QUICK_SECONDS = 60.0, 5.0
DUE, QUICK_DUE = 1_000, 100
BATCH = 2_000
QUEUE = 5
"""How many wait for one doctor."""
CLOSING_SECONDS = 300.0
ACCEPTANCE = timedelta(hours=6)
HALF_WAITED, WAITED_OUT = ACCEPTANCE / 2, ACCEPTANCE + timedelta(seconds=1)


class WrongError(Exception):
    """The clocks closed what they must not, or left open what they must close."""


async def measure(quick: bool) -> list[Figure]:
    """Look at the clocks of a server before and after it has them, then let some run out."""
    pending, due = (QUICK_PENDING, QUICK_DUE) if quick else (PENDING, DUE)
    seconds = QUICK_SECONDS if quick else SECONDS
    async with running_hub() as hub:
        (room,) = await hub.make_rooms(1)
        async with database_of(hub.server) as database:
            kept = database["consultations"]
            example = from_document(await kept.find_one({"_id": room.consultation}) or {})
            figures = await _cpu(hub, "0 pending", seconds)
            await add_waiting(kept, example, pending, HALF_WAITED)
            figures += await _cpu(hub, f"{pending} pending", seconds)
            figures += await _polls(hub, database, QUICK_POLLS if quick else POLLS)
            await check(kept, waiting=pending, expired=0)
            figures.append(await _closing(kept, example, due))
            await check(kept, waiting=pending, expired=due)
    return figures


async def add_waiting(
    kept: Collection, example: Consultation, count: int, waited: timedelta
) -> None:
    """Store consultations that have waited so long for their doctors, a few for each doctor."""
    since = datetime.now(UTC) - waited
    made = (_waiting(example, since + timedelta(milliseconds=i % 1000), i) for i in range(count))
    documents = [to_document(c) for c in made]
    for i in range(0, count, BATCH):
        await kept.insert_many(documents[i : i + BATCH])


def _waiting(example: Consultation, since: datetime, number: int) -> Consultation:
    own = new_id(since)
    return example.changed(
        id=own,
        request=own,
        order_no=own,
        room=own,
        patient=own,
        doctor=example.doctor.changed(id=f"doctor-{number // QUEUE}"),
        state=State.AWAITING_DOCTOR,
        created_at=since,
        waiting_since=since,
        accepted_at=None,
        check_at=since + ACCEPTANCE,
    )


async def check(kept: Collection, *, waiting: int, expired: int) -> None:
    """Compare what is open and what was closed. Raises WrongError."""
    found = {state: await _count(kept, state) for state in (State.AWAITING_DOCTOR, State.EXPIRED)}
    if found != {State.AWAITING_DOCTOR: waiting, State.EXPIRED: expired}:
        raise WrongError(f"{waiting} should wait, {expired} be closed: {found}")


async def _count(kept: Collection, state: State) -> int:
    return await kept.count_documents({"state": state.value})


async def _cpu(hub: Hub, what: str, seconds: float) -> list[Figure]:
    """Measure the whole server as it runs, its other work and an idle database included."""
    pids = {"the hub": hub.pid, "mongod": hub.mongod}
    before = {name: cpu_seconds(pid) for name, pid in pids.items()}
    await asyncio.sleep(seconds)
    used = {name: cpu_seconds(pid) - before[name] for name, pid in pids.items()}
    return [
        Figure(f"{what}: CPU of {name}", used[name] / seconds * 100, "% of a core") for name in pids
    ]


async def _polls(hub: Hub, database: Database, polls: int) -> list[Figure]:
    """Let an engine like the server's look for what is due, and find nothing, again and again."""
    looked_at: list[Any] = []
    engine = _engine(database, looked_at)
    await engine.look()
    times = []
    mongod, ours = cpu_seconds(hub.mongod), time.process_time()
    for _ in range(polls):
        begun = time.perf_counter()
        await engine.look()
        times.append((time.perf_counter() - begun) * 1000)
    ours, mongod = time.process_time() - ours, cpu_seconds(hub.mongod) - mongod
    if looked_at:
        raise WrongError(f"nothing was due, yet {len(looked_at)} were looked at")
    load = f"load average {os.getloadavg()[0]:.1f}"
    each = "of a poll; one a second"
    return [
        Figure("poll with nothing due, median", percentile(times, 0.5), "ms", load),
        Figure("poll with nothing due, p99", percentile(times, 0.99), "ms", f"{polls} polls"),
        Figure("poll: CPU of the hub", ours / polls * 1000, "ms", each),
        Figure("poll: CPU of mongod", mongod / polls * 1000, "ms", each),
    ]


def _engine(database: Database, looked_at: list[Any]) -> Deadlines:
    """Build the server's engine, with its kinds of records; it closes nothing."""

    async def note(record: Any) -> None:
        looked_at.append(record)

    clock = SystemClock()
    secrets = Secrets({}, "", bytes(32), bytes(32), bytes(32))
    stores = Stores(database, secrets, clock, Policy(), "bench")
    kinds = [Timed(stores.consultations, note), Timed(stores.calls, note)]
    return Deadlines(kinds, stores.consultations.server_time, clock)


async def _closing(kept: Collection, example: Consultation, count: int) -> Figure:
    """Let consultations be due at once; time from the first to the last that is closed."""
    await add_waiting(kept, example, count, WAITED_OUT)
    begun, before = 0.0, 0
    async with asyncio.timeout(CLOSING_SECONDS):
        while (closed := await _count(kept, State.EXPIRED)) < count:
            if not before:
                begun, before = time.perf_counter(), closed
            await asyncio.sleep(0.02)
    seconds = time.perf_counter() - begun
    note = "each with its line, its notice, and the queue told"
    return Figure("due ones closed", (count - before) / seconds, "/s", note)
