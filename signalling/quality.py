"""The quality of calls as both sides measure it (V9)."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Protocol

from care.calls import Report
from care.ports import Clock

RELAY = "relay:"
"""Before a user, in the key of what the server measured of his media."""


class QualityStore(Protocol):
    """Sums reports up, one row a side of a call; `of` gives each side's sums by its user."""

    async def add(self, call: str, user: str, report: Report, at: datetime) -> None: ...

    async def of(self, call: str) -> Mapping[str, Mapping[str, Any]]: ...


class QualityService:
    def __init__(
        self, store: QualityStore, clock: Clock, observe: Callable[[str, Report], None]
    ) -> None:
        """`observe` is told of each report, and of who measured: a client or the relay."""
        self._store = store
        self._clock = clock
        self._observe = observe

    async def report(self, user: str, call: str, report: Report) -> None:
        self._observe("client", report)
        await self._store.add(call, user, report, self._clock.now())

    async def report_relay(self, call: str, user: str, report: Report) -> None:
        """Add what the server measured of what it gets from a side."""
        self._observe("relay", report)
        await self._store.add(call, RELAY + user, report, self._clock.now())

    async def of(self, call: str) -> dict[str, Any]:
        """Tell for each side: how many reports, the last one, the averages and the worst.

        Where the media went through the server, what it measured stands in the side's `relay`.
        """
        rows = {user: _summed_up(row) for user, row in (await self._store.of(call)).items()}
        sides = {user: row for user, row in rows.items() if not user.startswith(RELAY)}
        for user, row in sides.items():
            row["relay"] = rows.get(RELAY + user)
        return sides


def _summed_up(row: Mapping[str, Any]) -> dict[str, Any]:
    averages = {
        name: round(total / row["counts"][name], 3) for name, total in row["totals"].items()
    }
    return {
        "reports": row["reports"],
        "last": row["last"],
        "average": averages,
        "worst": row["worst"],
    }
