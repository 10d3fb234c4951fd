"""The rooms' use cases, joined to what they are kept in and to the bus between nodes."""

from pathlib import Path
from zoneinfo import ZoneInfo

from prometheus_client import CollectorRegistry

from care.effects import (
    ConsultationOver,
    GroupEntered,
    GroupInvited,
    GroupUpdated,
    TransferUpdated,
)  # fmt: skip
from care.errors import CareError, Closed, Forbidden
from care.policy import Policy
from care.ports import AttachmentClaims, Clock, FileUrls
from care.rooms import Draft
from realtime.calling import Calling
from realtime.gateway.bus import Bus, Fanout, LocalBus
from realtime.gateway.connections import Connection, Connections
from realtime.health import CallMetrics, LogMetrics
from realtime.relay import MessageRelay
from realtime.rooms.carrier import Carrier
from realtime.rooms.consultations import ConsultationService
from realtime.rooms.deadlines import Deadlines, Timed
from realtime.rooms.delivery import Delivery
from realtime.rooms.groups import GroupService
from realtime.rooms.messages import MessageService
from realtime.rooms.notices import NoticeService, Outside
from realtime.rooms.payments import PaymentService
from realtime.rooms.presence import PresenceService
from realtime.rooms.rooms import RoomService
from realtime.rooms.transfers import TransferService
from realtime.rooms.views import MessageViews
from realtime.stores import Stores
from storage.log import MessageLog


class ConnectionWatch:
    """Tells the presence, the delivery and the calls of the gateway's connections."""

    def __init__(self, presence: PresenceService, delivery: Delivery, calling: Calling) -> None:
        self._presence = presence
        self._delivery = delivery
        self._calling = calling

    def opened(self, connection: Connection, *, first: bool) -> None:
        if first:
            self._delivery.came(connection.user)
        self.foreground_changed(connection)
        self._calling.opened(connection)

    def closed(self, connection: Connection, *, last: bool) -> None:
        if last:
            self._delivery.left(connection.user)
        self._presence.gone(connection.caller, connection.id)
        self._calling.closed(connection)

    def foreground_changed(self, connection: Connection) -> None:
        self._presence.seen(connection.caller, connection.id, foreground=connection.foreground)


class Core:
    def __init__(
        self,
        stores: Stores,
        clock: Clock,
        policy: Policy,
        connections: Connections,
        bus: Bus,
        files: FileUrls,
        claims: AttachmentClaims,
        payments: PaymentService,
        outside: Outside,
        registry: CollectorRegistry,
        consent_version: str,
        turn_secret: str | None,
        media_sockets: Path | None,
    ) -> None:
        kept = stores.consultations
        fanout = self.fanout = Fanout(connections, bus)
        views = MessageViews(files)
        # messages go to this node's sockets in their order, and to other nodes by the relay
        alone = isinstance(bus, LocalBus)
        delivery = Delivery(stores.messages, views, connections, clock, alone=alone)
        metrics = LogMetrics(registry)

        async def refusal(draft: Draft) -> CareError:
            """Tell a member that the room is closed, and everyone else nothing (I8)."""
            member = await stores.room_access.is_member(draft.sender.id, draft.room)
            return Closed() if member else Forbidden()

        self.log = MessageLog(stores.messages, clock, delivery.stored, metrics.batch, refusal)
        metrics.watch(lambda: self.log.waiting, lambda: self.log.rooms)
        self.relay = MessageRelay(bus, fanout, delivery, self.log)
        delivery.relay_to(self.relay)
        self.delivery = delivery

        self.notices = NoticeService(
            stores.notices, stores.consents, outside, stores.presence, fanout, clock,
            ZoneInfo(policy.timezone),
        )  # fmt: skip
        self.carrier = Carrier(stores.outbox, kept, self.log, payments, self.notices, fanout, clock)
        self.consultations = ConsultationService(
            kept, stores.messages, stores.payments, payments, files, clock,
            policy.consultations, self.carrier,
        )  # fmt: skip
        self.rooms = RoomService(
            kept, stores.groups, stores.messages, stores.read_marks, stores.presence, views,
            fanout, policy,
        )  # fmt: skip
        self.carrier.serve(self.consultations, self.rooms.announce)
        payments.serve(self.consultations, self.carrier)
        self.transfers = TransferService(
            kept, stores.doctors, self.consultations, fanout, clock, policy.consultations
        )
        self.carrier.perform(TransferUpdated, self.transfers.updated)
        self.groups = GroupService(
            stores.groups, self.consultations, stores.doctors, stores.messages, self.carrier,
            fanout, self.rooms.announce, clock, policy.groups,
        )  # fmt: skip
        self.carrier.perform(GroupInvited, self.groups.invited)
        self.carrier.perform(GroupUpdated, self.groups.updated)
        self.carrier.perform(ConsultationOver, self.groups.consultation_over)
        self.messages = MessageService(
            self.rooms, self.log, stores.messages, stores.read_marks, claims, views,
            delivery, fanout, clock, policy.messages,
        )  # fmt: skip
        self.presence = PresenceService(
            stores.presence, stores.doctors, kept, stores.groups, fanout, clock, policy.presence
        )
        self.calling = Calling(
            stores, self.carrier, fanout, clock, policy.calls, consent_version, turn_secret,
            media_sockets, CallMetrics(registry).observe,
        )  # fmt: skip
        self.carrier.perform(GroupEntered, self.calling.calls.entered)
        kinds = [
            Timed(kept, self.consultations.run_out),
            self.calling.timed,
            Timed(stores.groups, self.groups.look_at),
        ]
        self.deadlines = Deadlines(kinds, kept.server_time, clock)
        connections.watch(ConnectionWatch(self.presence, delivery, self.calling))
