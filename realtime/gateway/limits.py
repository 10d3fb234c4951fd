"""How often a user may call each command."""

import time
from collections import OrderedDict
from collections.abc import Callable

from care.errors import RateLimited
from realtime.gateway.settings import Limits, Rate

BUCKETS_MAX = 100_000


class RateLimiter:
    """A token bucket for each user and command. The longest unused is forgotten, so counts full."""

    def __init__(self, limits: Limits, now: Callable[[], float] = time.monotonic) -> None:
        self._limits = limits
        self._now = now
        self._buckets: OrderedDict[tuple[str, str], tuple[float, float]] = OrderedDict()

    def take(self, user: str, command: str) -> None:
        """Take one token. Raises RateLimited with the time until there is one."""
        rate = self._limits.commands.get(command, self._limits.default)
        key = (user, command)
        now = self._now()
        tokens, at = self._buckets.get(key, (float(rate.burst), now))
        tokens = min(rate.burst, tokens + (now - at) * rate.per_second)
        if tokens < 1:
            raise RateLimited(_milliseconds(1 - tokens, rate))
        self._buckets[key] = (tokens - 1, now)
        self._buckets.move_to_end(key)
        if len(self._buckets) > BUCKETS_MAX:
            self._buckets.popitem(last=False)


def _milliseconds(missing: float, rate: Rate) -> int:
    return int(missing / rate.per_second * 1000) + 1
