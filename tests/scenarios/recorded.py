"""A call of a running server as its media worker would have recorded it."""

import asyncio
from datetime import UTC, datetime
from typing import Any

from care.media import RecordingState
from realtime.clock import SystemClock
from signalling.media.recording.writer import Recorder
from signalling.recordings import RecordingService
from storage.calls import Calls
from storage.database import Database
from storage.outbox import Outbox
from storage.recordings import Recordings
from tests.scenarios.calling import Pair
from tests.scenarios.records import database_of
from tests.server import ServerProcess
from tests.signalling.media.recording.filming import arriving, side

KEPT_SECONDS = 30.0


def _service(database: Database) -> tuple[RecordingService, Calls]:
    clock = SystemClock()
    outbox = Outbox(database, clock)
    return RecordingService(Recordings(database, outbox, clock), clock), Calls(database, outbox)


async def running(server: ServerProcess, call: str) -> str:
    """Begin a recording; give its id."""
    async with database_of(server) as database:
        service, calls = _service(database)
        found = await calls.get(call)
        assert found is not None
        return (await service.begin(found)).id


async def recorded(
    server: ServerProcess, pair: Pair, call: str, codec: str = "VP8", seconds: float = 6.0
) -> Any:
    """Record both sides; give the recording as the server shows it once it is stored."""
    recording = await running(server, call)
    folder = server.data / "recordings"
    recorder = Recorder(folder, recording, call, datetime.now(UTC), print)
    began = asyncio.get_running_loop().time()
    users = (pair.doctor.user, pair.patient.user)
    streams = [stream for user in users for stream in side(user, codec, seconds=seconds)]
    for arrival, sent in arriving(streams):
        sent.pass_to(recorder, began + arrival)
    assert await recorder.close()
    async with database_of(server) as database:
        service, _ = _service(database)
        await service.moved(recording, RecordingState.FINISHED, "")
    return await stored(pair, recording)


async def stored(pair: Pair, recording: str) -> Any:
    """Wait until the server has kept it: a film is made, in its own time."""
    async with asyncio.timeout(KEPT_SECONDS):
        while True:
            status, shown = await pair.hall.rest(
                pair.row["doctor_token"], "GET", f"/recordings/{recording}"
            )
            assert status == 200, shown
            if shown["state"] == "stored":
                return shown
            await asyncio.sleep(0.1)  # another process makes it: there is nothing to await
