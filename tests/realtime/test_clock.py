from datetime import UTC, datetime, timedelta

from realtime.clock import SystemClock, VirtualClock

HOUR = timedelta(hours=1)
MOMENT = timedelta(seconds=30)


def test_the_system_clock_is_utc_cut_to_milliseconds() -> None:
    now = SystemClock().now()

    assert now.tzinfo is UTC
    assert now.microsecond % 1000 == 0
    assert abs(datetime.now(UTC) - now) < MOMENT


def test_a_jump_of_the_hosts_clock_moves_nothing() -> None:
    wall, steady = datetime(2026, 11, 22, 8, tzinfo=UTC), 500.0
    clock = SystemClock(lambda: wall, lambda: steady)
    began = clock.now()

    wall += HOUR
    steady += 1.5

    assert clock.now() == began + timedelta(seconds=1.5)


def test_the_virtual_clock_starts_at_the_systems_time() -> None:
    assert abs(SystemClock().now() - VirtualClock().now()) < MOMENT


def test_the_virtual_clock_goes_on_from_where_it_was_moved() -> None:
    clock = VirtualClock()
    later = clock.now() + HOUR

    clock.advance_to(later)

    assert later <= clock.now() < later + MOMENT
    assert clock.now().microsecond % 1000 == 0


def test_the_virtual_clock_never_goes_back() -> None:
    clock = VirtualClock()
    clock.advance_to(clock.now() + HOUR)
    before = clock.now()

    clock.advance_to(before - HOUR)

    assert clock.now() >= before
