"""The composition root: the one place that builds everything and joins ports to adapters."""

import importlib.metadata
import secrets as random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from zoneinfo import ZoneInfo

import structlog
from aiohttp import web
from prometheus_client import CollectorRegistry

from care.effects import DrugOrderUpdated, PrescriptionUpdated
from companion.bookings import BookingService
from companion.calls import CallPages
from companion.complaints import ComplaintService
from companion.contacts import AccountContacts
from companion.drug_orders import DrugOrderService
from companion.operator import OperatorService
from companion.prescribing import Writing
from companion.prescriptions import PrescriptionService
from companion.reconciliation import Reconciliation
from companion.recordings import RecordingPages
from companion.rest import kernel, openapi, pages
from companion.rest.bookings import BookingRoutes
from companion.rest.calls import CallRoutes
from companion.rest.complaints import ComplaintRoutes
from companion.rest.consultations import ConsultationRoutes
from companion.rest.drug_orders import DrugOrderRoutes
from companion.rest.groups import GroupRoutes
from companion.rest.kernel import Route
from companion.rest.notices import NoticeRoutes
from companion.rest.operator import OperatorRoutes
from companion.rest.payments import NotificationRoutes, SandboxPaymentRoutes
from companion.rest.prescriptions import PrescriptionRoutes
from companion.rest.reconciliation import ReconciliationRoutes
from companion.rest.recordings import RecordingRoutes
from companion.rest.reviews import ReviewRoutes
from companion.rest.schedules import ScheduleRoutes
from companion.rest.transfers import TransferRoutes
from companion.reviews import ReviewService
from companion.signing import Signing
from companion.wechat_pay.provider import WechatPay
from realtime import health, load, virtual
from realtime.clock import SystemClock, VirtualClock
from realtime.companion import Companion
from realtime.core import Core
from realtime.gateway import asyncapi
from realtime.gateway.bus import Bus, LocalBus
from realtime.gateway.commands import Commands
from realtime.gateway.connections import Connections
from realtime.gateway.dispatch import Dispatcher
from realtime.gateway.events import EVENTS
from realtime.gateway.group_commands import GroupCommands
from realtime.gateway.limits import RateLimiter
from realtime.gateway.metrics import Metrics
from realtime.gateway.redis_bus import RedisBus
from realtime.gateway.server import Gateway
from realtime.gateway.sessions import SessionGuard
from realtime.gateway.transfer_commands import TransferCommands
from realtime.lifecycle import (
    Background,
    Step,
    bound_port,
    cancellable,
    last_steps,
    listen,
    settle_memory,
)
from realtime.paying import join_payments
from realtime.rooms.deadlines import Timed
from realtime.rooms.payments import PaymentService
from realtime.rooms.requests import RequestService
from realtime.secrets import Secrets
from realtime.settings import Settings
from realtime.stores import Stores
from signalling.recordings import Keeper
from storage.database import Database

VERSION = importlib.metadata.version("wenzhen")

logger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Runtime:
    """What the command line found out: the settings, the secrets, and where the servers are."""

    settings: Settings
    secrets: Secrets
    mongo_uri: str
    redis_url: str | None = None
    media_sockets: Path | None = None


class Hub:
    """One process of the hospital, built and not yet started."""

    def __init__(self, runtime: Runtime) -> None:
        settings, policy = runtime.settings, runtime.settings.policy
        node = random.token_hex(6)
        registry = CollectorRegistry()
        metrics = Metrics(registry)
        self.settings = settings
        self.clock = VirtualClock() if settings.virtual_clock else SystemClock()
        self.database = Database(runtime.mongo_uri, settings.mongodb.database)
        self.stores = Stores(self.database, runtime.secrets, self.clock, policy, node)
        self.connections = Connections(settings.gateway.connections_per_user)
        redis = runtime.redis_url
        self.bus: Bus = RedisBus(redis, node, metrics) if redis else LocalBus()
        self.companion = Companion(
            self.stores,
            runtime.secrets,
            settings,
            self.clock,
            lambda session, _user: self.connections.close_session(session),
        )
        files = self.companion.files
        self.providers = join_payments(
            settings, runtime.secrets, AccountContacts(self.stores.accounts), self.clock
        )
        self.payments = PaymentService(
            self.stores.payments, self.stores.consultations, self.providers,
            settings.payments.provider, self.clock, settings.payments.ask_seconds,
        )  # fmt: skip
        self.core = Core(
            self.stores, self.clock, policy, self.connections, self.bus, files, files,
            self.payments, self.companion.outside, registry,
            self.companion.consent_versions["recording"],
            runtime.secrets.optional.get("turn_secret"), runtime.media_sockets,
        )  # fmt: skip
        self.requests = RequestService(
            self.core.consultations, self.stores.people, self.stores.doctors,
            self.stores.schedules, self.companion.consent_versions, self.clock, policy,
        )  # fmt: skip
        self.bookings = BookingService(
            self.stores.schedules, self.stores.slots, self.stores.doctors,
            self.stores.consultations, self.core.consultations, self.clock, policy.bookings,
            ZoneInfo(policy.timezone),
        )  # fmt: skip
        self.operator = OperatorService(
            self.stores.consultations, self.core.consultations, self.stores.payments,
            self.payments, self.stores.outbox, self.stores.accounts, self.companion.staff,
            self.stores.audit,
        )  # fmt: skip
        self.reconciliation = Reconciliation(
            self.providers[settings.payments.provider].bills, self.stores.reconciliations,
            self.stores.payments, self.stores.audit, self.clock, ZoneInfo(settings.timezone),
            policy.reconciliation,
        )  # fmt: skip
        self.call_pages = CallPages(
            self.stores.calls, self.stores.call_tickets, self.core.calling.quality,
            self.stores.accounts, self.companion.sessions, self.clock, policy.calls,
        )  # fmt: skip
        self.keeper = Keeper(
            settings.recordings, self.stores.recordings, self.core.calling.recordings,
            self.core.carrier.carry_out, self.clock,
        )  # fmt: skip
        self.recordings = RecordingPages(
            self.stores.recordings, self.stores.calls, self.stores.consultations,
            self.stores.audit, self.clock, policy.files, runtime.secrets.url_key,
        )  # fmt: skip
        self._join_prescriptions()
        self._join_feedback()
        self._join_gateway(metrics)
        self.background = Background()
        self.draining = False
        self.app = self._web(registry)
        self.metrics = metrics

    def _join_prescriptions(self) -> None:
        stores, core, policy = self.stores, self.core, self.settings.policy
        writing = Writing(
            stores.drugs, stores.diagnoses, stores.prescriptions, self.clock,
            policy.prescriptions, policy.people.guardian_present_under_age,
        )  # fmt: skip
        self.prescriptions = PrescriptionService(
            stores.prescriptions, writing, stores.consultations, Signing(stores.signing_keys),
            stores.accounts.pharmacists, core.carrier, core.fanout, stores.audit, self.clock,
            policy,
        )  # fmt: skip
        core.carrier.perform(PrescriptionUpdated, self.prescriptions.tell)
        core.deadlines.watch(Timed(stores.prescriptions, self.prescriptions.look_at))
        self.drug_orders = DrugOrderService(
            stores.drug_orders, stores.prescriptions, stores.pharmacies, stores.addresses,
            self.payments, stores.payments, stores.accounts.pharmacists, core.carrier,
            core.fanout, stores.audit, self.clock, policy.consultations, ZoneInfo(policy.timezone),
        )  # fmt: skip
        self.payments.serve_orders(self.drug_orders)
        core.carrier.perform(DrugOrderUpdated, self.drug_orders.tell)
        core.deadlines.watch(Timed(stores.drug_orders, self.drug_orders.look_at))

    def _join_feedback(self) -> None:
        stores = self.stores
        self.reviews = ReviewService(stores.reviews, stores.consultations, stores.audit, self.clock)
        self.complaints = ComplaintService(
            stores.complaints, self.companion.files, self.core.carrier, stores.audit, self.clock
        )

    def _join_gateway(self, metrics: Metrics) -> None:
        settings, tokens = self.settings.gateway, self.companion.tokens
        self.guard = SessionGuard(
            self.connections, tokens, self.clock, self.stores.sessions.revoked_among,
            self.settings.policy.accounts, settings.sweep_seconds,
        )  # fmt: skip
        core = self.core
        self.commands = [
            *Commands(
                core.rooms, core.messages, core.consultations, self.connections, self.guard
            ).table(),
            *TransferCommands(core.transfers).table(),
            *GroupCommands(core.groups).table(),
            *core.calling.commands.table(),
        ]
        self.connections.watch(metrics)
        metrics.measure_queues(lambda: sum(c.wire.queued_bytes for c in self.connections))
        dispatcher = Dispatcher(self.commands, RateLimiter(settings.limits), metrics)
        self.gateway = Gateway(
            settings, dispatcher, tokens, self.connections, self.bus, self.clock, metrics
        )

    def routes(self) -> list[Route]:
        """List every row of the REST table."""
        core, zone = self.core, ZoneInfo(self.settings.timezone)
        rows = [
            *self.companion.routes(),
            *ConsultationRoutes(
                self.requests, core.consultations, self.stores.audit, self.clock
            ).routes(),
            *BookingRoutes(self.requests, self.bookings, self.clock, zone).routes(),
            *ScheduleRoutes(self.companion.schedules, self.bookings, self.clock, zone).routes(),
            *OperatorRoutes(self.operator, zone).routes(),
            *ReconciliationRoutes(self.reconciliation).routes(),
            *NoticeRoutes(core.notices).routes(),
            *CallRoutes(self.call_pages).routes(),
            *RecordingRoutes(self.recordings, self.settings.files).routes(),
            *TransferRoutes(core.transfers).routes(),
            *GroupRoutes(core.groups).routes(),
            *PrescriptionRoutes(
                self.prescriptions, self.companion.catalogue, self.clock, zone
            ).routes(),
            *DrugOrderRoutes(self.drug_orders, self.clock).routes(),
            *ReviewRoutes(self.reviews, self.clock).routes(),
            *ComplaintRoutes(self.complaints, self.clock).routes(),
        ]
        wechat = self.providers.get("wechat")
        if isinstance(wechat, WechatPay):
            rows += NotificationRoutes(self.payments, wechat).routes()
        if self.settings.demo:
            rows += SandboxPaymentRoutes(self.stores.payments, self.payments).routes()
        return rows

    def _web(self, registry: CollectorRegistry) -> web.Application:
        app = web.Application(middlewares=[])
        routes = openapi.with_document(self.routes(), VERSION)
        kernel.mount(app, routes, self.companion.tokens)
        self.gateway.attach(app)
        health.mount(app, registry, self.ready)
        pages.mount(app, demo=self.settings.demo)
        _serve_document(app, "/asyncapi.json", asyncapi.document(self.commands, EVENTS, VERSION))
        if self.settings.demo:
            load.mount(app, self._room_loader())
        if isinstance(self.clock, VirtualClock):
            virtual.mount(app, self.core.deadlines, self.clock)
        return app

    def _room_loader(self) -> load.RoomLoader:
        parts, stores = self.companion, self.stores
        return load.RoomLoader(
            stores.accounts, stores.doctors, stores.schedules, parts.sessions, parts.people,
            self.requests, self.core.consultations, self.clock, ZoneInfo(self.settings.timezone),
        )  # fmt: skip

    async def ready(self) -> bool:
        """Say whether a primary takes writes, and this process takes connections."""
        return not self.draining and await self.database.takes_writes()

    async def start(self) -> None:
        """Prepare the database and begin the background work."""
        await self.stores.ensure_indexes()
        if self.settings.demo:
            await self.companion.load_demo()
        await self.bus.start(self.core.relay.receive, self.core.delivery.missed)
        core = self.core
        self.background.start(
            [
                core.carrier.run(),
                core.deadlines.run(virtual=self.settings.virtual_clock),
                self.payments.run(),
                self.reconciliation.run(),
                core.presence.run(),
                self.guard.run(),
                self.metrics.watch_loop(),
                self.companion.run(),
                self.keeper.run(),
            ]
        )

    async def drain(self) -> None:
        """Take nothing new, and acknowledge what was accepted."""
        self.draining = True
        await self.gateway.drain()

    async def stop(self) -> None:
        """Finish what was accepted, and let go."""
        await last_steps(
            [
                ("background", self.background.stop),
                ("calls", self.core.calling.close),
                ("log", self.core.log.close),
                ("bus", self.bus.close),
                ("companion", self.companion.close),
                *((name, provider.close) for name, provider in self.providers.items()),
                ("database", self.database.close),
            ]
        )


def _serve_document(app: web.Application, path: str, document: dict[str, object]) -> None:
    body = kernel.to_json(document)

    async def serve(_: web.Request) -> web.Response:
        return web.Response(body=body, content_type="application/json")

    app.router.add_get(path, serve)


async def run(runtime: Runtime, on_ready: Callable[[str], None]) -> None:
    """Serve until cancelled, or until background work died. Raises OSError for a taken port."""
    hub = Hub(runtime)
    server = runtime.settings.server
    steps: list[Step] = [("parts", hub.stop)]
    try:
        await cancellable(hub.start())
        runner = await listen(hub.app, server.host, server.port, reuse_port=server.reuse_port)
        steps = [("drain", hub.drain), ("requests", runner.cleanup), *steps]
        settle_memory()
        on_ready(f"http://{server.host}:{bound_port(runner)}")
        await hub.background.died.wait()
    finally:
        await last_steps(steps)
