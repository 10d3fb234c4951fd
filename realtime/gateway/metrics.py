"""What the gateway counts, in the registry it is given."""

import asyncio
from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from realtime.gateway.connections import Connection

LAG_PERIOD_SECONDS = 0.5
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)


class Metrics:
    """Watches connections; the gateway's parts count the rest where it happens."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.connections = Gauge(
            "wenzhen_connections", "Live sockets", ["device"], registry=registry
        )
        self.commands = Histogram(
            "wenzhen_command_seconds",
            "From a command's arrival to its acknowledgement",
            ["command"],
            buckets=SECONDS,
            registry=registry,
        )
        self.errors = Counter(
            "wenzhen_command_errors", "Commands refused", ["code"], registry=registry
        )
        self.slow_clients = Counter(
            "wenzhen_slow_clients", "Sockets cut for not reading", registry=registry
        )
        self.bad_frames = Counter(
            "wenzhen_bad_frames", "Frames that are not the protocol", registry=registry
        )
        self.bus_dropped = Counter(
            "wenzhen_bus_dropped", "Pushes to other nodes given up", registry=registry
        )
        self.bus_gaps = Counter(
            "wenzhen_bus_gaps", "Times pushes of other nodes may be missing", registry=registry
        )
        self._queued = Gauge(
            "wenzhen_outbound_bytes", "Bytes waiting for receivers", registry=registry
        )
        self._lag = Histogram(
            "wenzhen_loop_lag_seconds",
            "How late the event loop wakes",
            buckets=SECONDS,
            registry=registry,
        )

    def opened(self, connection: Connection, *, first: bool) -> None:  # noqa: ARG002  # a Watcher
        self.connections.labels(connection.device).inc()

    def closed(self, connection: Connection, *, last: bool) -> None:  # noqa: ARG002  # a Watcher
        self.connections.labels(connection.device).dec()

    def foreground_changed(self, connection: Connection) -> None:
        pass

    def measure_queues(self, queued_bytes: Callable[[], float]) -> None:
        """Ask for the outbound queues' bytes whenever the metrics are read."""
        self._queued.set_function(queued_bytes)

    async def watch_loop(self) -> None:
        """Measure the event loop's lag for as long as it runs."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + LAG_PERIOD_SECONDS
            await asyncio.sleep(LAG_PERIOD_SECONDS)
            self._lag.observe(max(0.0, loop.time() - due))
