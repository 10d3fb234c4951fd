"""Stored messages between nodes: out over the bus once stored, in through the delivery."""

from collections.abc import Sequence
from typing import Any

from care.record import read_time, wire_time
from care.rooms import Message
from realtime.gateway.bus import Bus, Envelope, Fanout
from realtime.rooms.delivery import Delivery
from storage.log import MessageLog
from storage.messages import from_document, to_document

STORED = "log:stored"
"""An event between nodes only: no client can emit it, and none ever sees it."""


class MessageRelay:
    def __init__(self, bus: Bus, fanout: Fanout, delivery: Delivery, log: MessageLog) -> None:
        self._bus = bus
        self._fanout = fanout
        self._delivery = delivery
        self._log = log

    def relay(self, message: Message, members: Sequence[str]) -> None:
        document: dict[str, Any] = to_document(message) | {"at": wire_time(message.at)}
        data = {"message": document, "members": list(members)}
        self._bus.publish(Envelope(tuple(members), STORED, data))

    def receive(self, envelope: Envelope) -> None:
        """Take what another node published: a message goes through the order of its room (I5).

        It comes once for each member who is here, and the first is delivered to all of them.
        """
        if envelope.event != STORED:
            self._fanout.receive(envelope)
            return
        document = envelope.data["message"]
        message = from_document(document | {"at": read_time(document["at"])})
        self._log.observe(message)
        self._delivery.deliver(message, envelope.data["members"])
