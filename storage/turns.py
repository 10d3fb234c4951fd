"""One at a time in this process, for transactions that would meet in one document."""

import asyncio
from weakref import WeakValueDictionary


class Turns:
    """Locks by name, there as long as somebody holds or awaits them.

    The transactions are right without them. But of hundreds that count in one document at once all
    but one fail and begin again, over and over; waiting here costs nothing.
    """

    def __init__(self) -> None:
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def of(self, name: str) -> asyncio.Lock:
        return self._locks.setdefault(name, asyncio.Lock())
