"""The audit trail (S4): who touched whose data, when and why."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Protocol

from care.ports import Audit
from care.record import Record


class Entry(Record):
    id: str
    at: datetime
    actor: str
    action: str
    subject: str
    purpose: str
    details: dict[str, Any]


class Inspection(Audit, Protocol):
    """The trail for those who look after it. `record_all` takes each record's id and its owner."""

    async def record_all(
        self, actor: str, action: str, owners: Mapping[str, str], purpose: str
    ) -> None: ...

    async def page(self, subject: str, before: str | None, limit: int) -> list[Entry]: ...
