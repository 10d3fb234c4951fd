import pytest

from care.errors import RateLimited
from realtime.gateway import limits
from realtime.gateway.limits import RateLimiter
from realtime.gateway.settings import Limits, Rate


class Watch:
    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def limiter(watch: Watch) -> RateLimiter:
    settings = Limits(
        default=Rate(burst=2, per_second=1), commands={"often": Rate(burst=5, per_second=10)}
    )
    return RateLimiter(settings, watch)


def test_a_burst_passes_then_so_many_a_second() -> None:
    watch = Watch()
    bucket = limiter(watch)
    bucket.take("ann", "send")
    bucket.take("ann", "send")
    with pytest.raises(RateLimited) as refused:
        bucket.take("ann", "send")
    watch.seconds += refused.value.retry_after_ms / 1000
    bucket.take("ann", "send")
    with pytest.raises(RateLimited):
        bucket.take("ann", "send")


def test_a_long_rest_fills_no_more_than_the_burst() -> None:
    watch = Watch()
    bucket = limiter(watch)
    bucket.take("ann", "send")
    watch.seconds += 1_000
    bucket.take("ann", "send")
    bucket.take("ann", "send")
    with pytest.raises(RateLimited):
        bucket.take("ann", "send")


def test_users_and_commands_have_buckets_of_their_own() -> None:
    bucket = limiter(Watch())
    for user in ("ann", "bob"):
        bucket.take(user, "send")
        bucket.take(user, "send")
        for _ in range(5):
            bucket.take(user, "often")
        with pytest.raises(RateLimited):
            bucket.take(user, "often")


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "BUCKETS_MAX", 10)
    bucket = limiter(Watch())
    for n in range(100):
        bucket.take(f"user-{n}", "send")
    assert len(bucket._buckets) == 10
