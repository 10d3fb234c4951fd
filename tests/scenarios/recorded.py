"""A call of a running server as its media worker would have recorded it."""

import asyncio
from datetime import UTC, datetime
from typing import Any

from care.media import RecordingState
from care.record import new_id
from realtime.clock import SystemClock
from signalling.media.recording.writer import Recorder
from signalling.recordings import RecordingService
from storage.calls import Calls
from storage.outbox import Outbox
from storage.recordings import Recordings
from tests.scenarios.calling import Hall, Pair
from tests.scenarios.records import database_of
from tests.server import ServerProcess
from tests.signalling.media.recording.filming import arriving, side

KEPT_SECONDS = 60.0


async def moved(server: ServerProcess, recording: str, call: str, state: RecordingState) -> None:
    """Tell what the worker would."""
    async with database_of(server) as database:
        clock = SystemClock()
        outbox = Outbox(database, clock)
        store = Recordings(database, outbox, clock)
        service = RecordingService(store, Calls(database, outbox), clock)
        await service.moved(recording, call, state, "")


async def running(server: ServerProcess, call: str) -> str:
    """Begin a recording; give its id."""
    recording = new_id(datetime.now(UTC))
    await moved(server, recording, call, RecordingState.RUNNING)
    return recording


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
    await moved(server, recording, call, RecordingState.FINISHED)
    return await stored(pair.hall, pair.row["doctor_token"], pair.row["consultation"])


async def stored(hall: Hall, token: str, consultation: str) -> Any:
    """Wait until the server has kept the newest: a film is made, in its own time."""
    async with asyncio.timeout(KEPT_SECONDS):
        while True:
            _, listed = await hall.rest(token, "GET", f"/recordings?consultation={consultation}")
            if listed["items"] and listed["items"][0]["state"] == "stored":
                return listed["items"][0]
            await asyncio.sleep(0.1)  # another process makes it: there is nothing to await
