"""Operation's routes: is it alive, is it ready, what does it count."""

from collections.abc import Awaitable, Callable

from aiohttp import web
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)

from care.calls import Report

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
SIZES = (1, 2, 5, 10, 20, 50, 100, 200, 500)

CALL_MEASURES = (
    ("loss", "wenzhen_call_loss", "Part of the packets lost", (0, 0.01, 0.03, 0.05, 0.1, 0.3)),
    ("concealed", "wenzhen_call_concealed", "Part of the sound made up", (0, 0.01, 0.05, 0.1, 0.3)),
    ("jitter_ms", "wenzhen_call_jitter_ms", "Jitter", (5, 10, 20, 50, 100, 200)),
    ("rtt_ms", "wenzhen_call_rtt_ms", "Round trip", (20, 50, 100, 200, 400, 800)),
    ("bitrate_kbps", "wenzhen_call_bitrate_kbps", "Bitrate", (50, 100, 300, 600, 1000, 2000)),
)
"""Field, name, meaning, buckets."""


class LogMetrics:
    """What the message log counts."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._messages = Counter("wenzhen_messages", "Messages made durable", registry=registry)
        self._size = Histogram(
            "wenzhen_commit_batch_size", "Messages a commit", buckets=SIZES, registry=registry
        )
        self._seconds = Histogram(
            "wenzhen_commit_seconds", "A commit's latency", buckets=SECONDS, registry=registry
        )
        self._waiting = Gauge(
            "wenzhen_log_waiting", "Messages that wait for a commit", registry=registry
        )
        self._rooms = Gauge("wenzhen_rooms", "Rooms with messages here", registry=registry)

    def batch(self, size: int, seconds: float) -> None:
        self._messages.inc(size)
        self._size.observe(size)
        self._seconds.observe(seconds)

    def watch(self, waiting: Callable[[], float], rooms: Callable[[], float]) -> None:
        self._waiting.set_function(waiting)
        self._rooms.set_function(rooms)


class CallMetrics:
    """Observes how calls fare: `by` says who measured, a client or the relay (V9)."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._paths = Counter(
            "wenzhen_call_reports", "Reports by the kind of ICE candidate in use",
            ["by", "candidate"], registry=registry,
        )  # fmt: skip
        self._measured = {
            field: Histogram(name, about, ["by"], buckets=buckets, registry=registry)
            for field, name, about, buckets in CALL_MEASURES
        }

    def observe(self, by: str, report: Report) -> None:
        self._paths.labels(by, report.candidate or "unknown").inc()
        for field, histogram in self._measured.items():
            if (value := getattr(report, field)) is not None:
                histogram.labels(by).observe(value)


def mount(
    app: web.Application, registry: CollectorRegistry, ready: Callable[[], Awaitable[bool]]
) -> None:
    """Serve `/healthz` (the process lives), `/readyz` (it can do its work) and `/metrics`."""

    async def healthz(_: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def readyz(_: web.Request) -> web.Response:
        if await ready():
            return web.json_response({"status": "ready"})
        return web.json_response({"status": "not ready"}, status=503)

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(
            body=generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST}
        )

    app.router.add_get("/healthz", healthz)
    app.router.add_get("/readyz", readyz)
    app.router.add_get("/metrics", metrics)
