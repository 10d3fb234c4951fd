"""Calls whose media go through the server: which worker runs them, and what it says (V3)."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Protocol

import structlog

from care import call_recording
from care import call_sides as sides
from care.calls import Call, Report
from care.errors import CareError, Conflict, Unavailable
from care.media import MediaRelay, RecordingState, RelayEvents, SideStats
from care.ports import Channel, Clock
from signalling.changes import ATTEMPTS, CallChanges
from signalling.recordings import RecordingService

RELAY = "relay"
"""Who an offer of the server is from."""

logger = structlog.get_logger(__name__)


class CallStore(Protocol):
    async def get(self, call_id: str) -> Call | None: ...


class Quality(Protocol):
    async def report_relay(self, call: str, user: str, report: Report) -> None: ...


class RelayService:
    """Speaks for the media workers. It is their `RelayEvents`."""

    def __init__(
        self,
        calls: CallChanges,
        store: CallStore,
        channel: Channel,
        quality: Quality,
        recordings: RecordingService,
        clock: Clock,
        join: Callable[[RelayEvents], MediaRelay],
    ) -> None:
        """`join` gives the relay, which tells this service what happens there."""
        self._calls = calls
        self._store = store
        self._channel = channel
        self._recordings = recordings
        self._quality = quality
        self._clock = clock
        self._relay = join(self)
        self._tasks: set[asyncio.Task[None]] = set()

    async def offer(self, call: Call, user: str, at: str, sdp: str) -> tuple[Call, str]:
        """Give the call as it is placed now, and the server's answer.

        Raises Unavailable; BadRequest for an SDP of no use; Conflict while the server's own is out.
        """
        call = await self._placed(call)
        worker = call.worker or ""
        try:
            answer = await self._relay.join(worker, call.id, user, sdp)
        except Unavailable:
            await self._displace(call.id, worker)
            raise

        def step(now: Call) -> Call:
            sides.speaks_for(now, user, at)
            if now.worker != worker:
                raise Conflict
            return sides.join(now, user)

        try:
            placed = await self._calls.change(call.id, step, tell=False)
        except CareError:
            # it ended meanwhile, or goes on elsewhere
            await self._quietly(self._relay.leave(worker, call.id, user))
            raise
        # the worker knows the call from now on; another one may have recorded it before
        if placed.recording_id:
            self._record(worker, call.id, placed.recording_id)
        return placed, answer

    async def answer(self, call: Call, user: str, sdp: str) -> None:
        """Take the answer to an offer of ours."""
        if call.worker is None:
            raise Conflict
        await self._relay.take_answer(call.worker, call.id, user, sdp)

    async def candidate(self, call: Call, user: str, candidate: Mapping[str, Any]) -> None:
        if call.worker is not None:
            await self._relay.take_candidate(call.worker, call.id, user, candidate)

    def changed(self, before: Call, after: Call) -> None:
        """End the media of a call that ended, and of who left it."""
        worker = after.worker
        if worker is None:
            return
        if not after.live:
            self._begin(self._relay.close(worker, after.id))
            return
        if before.recording_id and before.recording_id != after.recording_id:
            self._begin(self._relay.stop_recording(worker, after.id))
        elif after.recording_id and after.recording_id != before.recording_id:
            self._record(worker, after.id, after.recording_id)
        inside = {party.user for party in after.inside}
        for party in before.inside:
            if party.user not in inside:
                self._begin(self._relay.leave(worker, after.id, party.user))

    def offered(self, call: str, user: str, sdp: str) -> None:
        self._begin(self._pass_offer(call, user, sdp))

    def measured(self, call: str, stats: SideStats) -> None:
        report = Report(connection="connected", **stats.model_dump(exclude={"user"}))
        self._begin(self._quality.report_relay(call, stats.user, report))

    def lost(self, call: str, worker: str) -> None:
        self._begin(self._displace(call, worker, known=True))

    def recording(self, call: str, recording: str, state: RecordingState, problem: str) -> None:
        self._begin(self._recording_moved(call, recording, state, problem))

    async def close(self) -> None:
        await asyncio.gather(*self._tasks)
        await self._relay.stop()

    async def _placed(self, call: Call) -> Call:
        """Find a worker for a call that has none."""
        for _ in range(ATTEMPTS):
            if call.worker is not None:
                return call
            worker = await self._relay.place()

            def step(now: Call, worker: str = worker) -> Call:
                return sides.place(now, worker) if now.worker is None and now.live else now

            call = await self._calls.change(call.id, step, tell=False)
        raise Unavailable

    async def _displace(self, call: str, worker: str, *, known: bool = False) -> None:
        """Have all sides begin anew where the worker is gone."""
        if known or not self._relay.runs(worker):
            await self._calls.change(call, lambda now: sides.displace(now, worker))

    def _record(self, worker: str, call: str, recording: str) -> None:
        self._begin(self._relay.record(worker, call, recording, self._clock.now()))

    async def _recording_moved(
        self, call: str, recording: str, state: RecordingState, problem: str
    ) -> None:
        """Show that it runs; where it can't go on, say so in the room: the call does."""
        logger.info("recording_moved", call=call, recording=recording, state=state.value)
        await self._recordings.moved(recording, call, state, problem)
        if state is RecordingState.RUNNING:
            shown = await self._calls.change(call, lambda now: call_recording.runs(now, recording))
            # somebody took his consent back while it was on its way to the worker
            if shown.recording_id is None and shown.worker:
                await self._relay.stop_recording(shown.worker, call)
        elif state is RecordingState.INTERRUPTED:
            await self._calls.change(
                call,
                lambda now: call_recording.failed(now, recording),
                lambda now: call_recording.stopped(now, problem),
            )

    async def _pass_offer(self, call_id: str, user: str, sdp: str) -> None:
        call = await self._store.get(call_id)
        if call is not None and call.live:
            data = {"call": call_id, "from": RELAY, "sdp": sdp}
            self._channel.push([user], "call:offer", data, only=call.party(user).connection)

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(self._quietly(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _quietly(self, work: Coroutine[Any, Any, None]) -> None:
        """Nobody waits for it: what fails here, the sides' next word or the clock mends."""
        try:
            await work
        except CareError as error:
            logger.info("relay_not_told", reason=error.code)
        except Exception:
            logger.exception("relay_not_told")
