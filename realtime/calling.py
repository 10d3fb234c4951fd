"""The calls' use cases, joined to what they are kept in and to the gateway's connections."""

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Any

import structlog

from care.calls import Call, Report
from care.policy import CallPolicy
from care.ports import Channel, Clock
from realtime.gateway.call_commands import CallCommands
from realtime.gateway.connections import Connection
from realtime.media_workers import socket_paths
from realtime.rooms.carrier import Carrier
from realtime.rooms.deadlines import Timed
from realtime.stores import Stores
from signalling.calls import CallService
from signalling.changes import CallChanges
from signalling.media.client import MediaWorkers
from signalling.quality import QualityService
from signalling.recordings import RecordingService
from signalling.relaying import RelayService
from signalling.signals import SignalService
from signalling.turn import IceServers

logger = structlog.get_logger(__name__)


class Calling:
    """Keeps the calls of one process, and is told of the connections they run over."""

    def __init__(
        self,
        stores: Stores,
        carrier: Carrier,
        channel: Channel,
        clock: Clock,
        policy: CallPolicy,
        consent_version: str,
        turn_secret: str | None,
        media_sockets: Path | None,
        observe: Callable[[str, Report], None],
    ) -> None:
        """Without `media_sockets`, the folder of the media workers' sockets, nothing is relayed."""
        self._changes = CallChanges(stores.calls, carrier, channel, clock, self._changed)
        self.calls = CallService(
            stores.calls, self._changes, stores.consultations, stores.groups, channel,
            IceServers(policy, turn_secret), clock, policy, consent_version,
        )  # fmt: skip
        self.quality = QualityService(stores.call_quality, clock, observe)
        self.recordings = RecordingService(stores.recordings, stores.calls, clock)
        sockets = socket_paths(media_sockets, policy.media.workers) if media_sockets else []
        self.relaying = RelayService(
            self._changes, stores.calls, channel, self.quality, self.recordings, clock,
            partial(MediaWorkers, sockets),
        )  # fmt: skip
        self.signals = SignalService(stores.calls, channel, self.relaying)
        self.commands = CallCommands(self.calls, self.signals, self.quality)
        self.timed = Timed(stores.calls, self.calls.look_at)
        self._tasks: set[asyncio.Task[None]] = set()

    def opened(self, connection: Connection) -> None:
        self._begin(self.calls.came(connection.user, connection.id))

    def closed(self, connection: Connection) -> None:
        self.signals.forget(connection.id)
        self._begin(self.calls.left(connection.user, connection.id))

    async def close(self) -> None:
        """Note who is gone because this process ends: the others see it at once."""
        await asyncio.gather(*self._tasks)
        await self._changes.settle()
        await self.relaying.close()

    def _changed(self, before: Call, after: Call) -> None:
        self.signals.changed(before)
        self.relaying.changed(before, after)

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(_logged(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _logged(work: Coroutine[Any, Any, None]) -> None:
    """What is lost here the calls' clock finds out later."""
    try:
        await work
    except Exception:
        logger.exception("call_not_told")
