"""What the use cases need of the world. Each port says what it guarantees, not only its shape."""

from collections.abc import Awaitable, Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Protocol

from care.accounts import Caller
from care.consultation import Consultation, State
from care.effects import Effect, Outgoing
from care.payments import Payment, PaymentState, Subject
from care.rooms import Activity, Draft, Head, Message


class Clock(Protocol):
    """The hospital's time: UTC, cut to milliseconds, never read from anywhere else."""

    def now(self) -> datetime: ...


class Tokens(Protocol):
    """Verifies access tokens. Raises Unauthenticated for a forged, expired or revoked one."""

    async def verify(self, token: str) -> Caller: ...


class Channel(Protocol):
    """Pushes an event to every live socket of these users, on every node.

    A hint: it may be lost with its node or Redis; what matters is in the database. Never waits for
    a receiver. `skip` names a connection that is left out, `only` the one that is meant.
    """

    def push(
        self,
        users: Collection[str],
        event: str,
        data: Mapping[str, Any],
        *,
        skip: str | None = None,
        only: str | None = None,
    ) -> None: ...


class Sms(Protocol):
    """Sends a text message to a phone. Raises Unavailable when the provider refuses or is away."""

    async def send(self, phone: str, template: str, values: Mapping[str, str]) -> None: ...


class Vault(Protocol):
    """Encrypts personal data at rest. `index` gives a keyed digest to look an equal value up by."""

    def seal(self, clear: str) -> bytes: ...

    def open(self, sealed: bytes) -> str: ...

    def index(self, clear: str) -> str: ...


class Audit(Protocol):
    """Keeps who read or changed whose data, and why (S4). Durable before the data is handed out."""

    async def record(
        self, actor: str, action: str, subject: str, purpose: str, details: Mapping[str, Any] = ...
    ) -> None: ...


class Log(Protocol):
    """A room's log, for writing. Accepts in the order of the calls; resolves when durable (I1–I4).

    Resolves to the first message of the same (room, sender, client id), or raises Closed where
    the room takes nothing from this sender, Unavailable where the database is away or full.
    """

    def append(self, draft: Draft) -> Awaitable[Message]: ...


class LogReader(Protocol):
    """A room's log, for reading. Everything acknowledged is found; pages are in seq order."""

    async def one(self, room: str, seq: int) -> Message | None: ...

    async def after(self, room: str, seq: int, limit: int) -> list[Message]: ...

    async def before(self, room: str, seq: int | None, limit: int) -> list[Message]: ...

    async def heads(self, rooms: Collection[str]) -> dict[str, Head]: ...

    async def recalled(self, room: str, first: int, last: int) -> set[int]: ...

    async def unread(self, user: str, marks: Mapping[str, int]) -> dict[str, int]: ...

    async def activity(self, rooms: Collection[str]) -> dict[str, Activity]: ...

    async def fence_seq(self, room: str, version: int) -> int | None: ...

    async def search(
        self, rooms: Collection[str], text: str, before: str | None, limit: int
    ) -> list[Message]: ...


class ConsultationStore(Protocol):
    """Keeps consultations. A change and its effects are stored together or not at all."""

    async def create(self, consultation: Consultation, outgoing: Outgoing) -> Consultation: ...

    async def replace(
        self, before: Consultation, after: Consultation, outgoing: Outgoing
    ) -> bool: ...

    async def postpone(self, consultation: Consultation, check_at: datetime) -> None: ...

    async def get(self, consultation_id: str) -> Consultation | None: ...

    async def requested(self, request: str) -> Consultation | None: ...

    async def of_room(self, room: str) -> Consultation | None: ...

    async def page(
        self, caller: Caller, states: list[State] | None, before: str | None, limit: int
    ) -> list[Consultation]: ...

    async def counts(self, caller: Caller) -> dict[str, int]: ...

    async def waiting(self, doctor: str) -> list[Consultation]: ...

    async def ahead(self, consultation: Consultation) -> int: ...

    async def claim_due(self, now: datetime, until: datetime) -> Consultation | None: ...

    async def next_check(self) -> datetime | None: ...

    async def server_time(self) -> datetime: ...

    async def all_of(self, caller: Caller) -> list[Consultation]: ...


class OutboxStore(Protocol):
    """Keeps effects until they are done. A claimed row is nobody else's until its lease ends.

    `put_off` keeps what failed for a later try, and says whether it was the last one.
    """

    async def claim_own(self, outgoing_id: str) -> Outgoing | None: ...

    async def claim_left(self) -> Outgoing | None: ...

    async def before(self, outgoing_id: str) -> list[Outgoing]: ...

    async def done(self, outgoing_id: str) -> None: ...

    async def put_off(self, outgoing_id: str, left: Sequence[Effect], error: str) -> bool: ...


class PaymentStore(Protocol):
    """Keeps payments. `step`, `paid` and `refunded` say whether this very call made the change.

    `claim_ask` gives a payment to nobody else for the lease.
    """

    async def ensure(self, payment: Payment) -> Payment: ...

    async def get(self, payment_id: str) -> Payment | None: ...

    async def of(self, subject: Subject) -> Payment | None: ...

    async def of_all(self, consultations: Collection[str]) -> Mapping[str, Payment]: ...

    async def numbered(self, out_trade_no: str) -> Payment | None: ...

    async def paid(self, payment: Payment, now: datetime) -> bool: ...

    async def refunded(self, payment: Payment, now: datetime) -> bool: ...

    async def step(self, payment: Payment, state: PaymentState, **fields: Any) -> bool: ...

    async def claim_ask(
        self, providers: Collection[str], now: datetime, lease: timedelta
    ) -> Payment | None: ...

    async def ask_again(
        self, payment: Payment, at: datetime | None, problem: str | None = None
    ) -> None: ...


class ReadMarkStore(Protocol):
    """Keeps how far each member has read. A mark never goes back."""

    async def advance(self, room: str, user: str, seq: int) -> bool: ...

    async def of_rooms(self, rooms: Collection[str]) -> dict[str, dict[str, int]]: ...


class FileUrls(Protocol):
    """Signs short-lived URLs for one viewer: `url` and, where asked for, `thumbnail_url`."""

    def urls(self, file: str, viewer: str, *, thumbnail: bool) -> dict[str, str]: ...


class AttachmentClaims(Protocol):
    """Binds an upload to the room it is first used in; only its owner may, and only once.

    Gives the message's body: `file`, `thumbnail`, and what was measured of it. Raises Forbidden.
    """

    async def claim(self, file: str, owner: str, room: str, kind: str) -> Mapping[str, Any]: ...


class OnlineUsers(Protocol):
    """Tells who of these is online: a live foreground socket on any node, or a recent heartbeat."""

    async def online(self, users: Collection[str]) -> set[str]: ...
