"""The outbox keeps what changes cause until it is done, in the order of a record's changes."""

from care.effects import Outgoing, QueueMoved
from care.policy import OutboxPolicy
from storage.database import Database
from storage.outbox import EARLIEST_SHARE, LEASE, Outbox
from tests.clock import ManualClock


async def stored(database: Database, outbox: Outbox, *ids: str) -> None:
    async with database.transaction() as session:
        for each in ids:
            await outbox.add(session, Outgoing(id=each, effects=(QueueMoved(doctor=each),)))


async def test_what_earlier_changes_of_a_record_left_comes_in_their_order(
    database: Database,
) -> None:
    outbox = Outbox(database, ManualClock())
    await outbox.ensure_indexes()
    changes = [f"consultation:a:{version:06d}" for version in (10, 2, 9, 1, 11)]
    await stored(database, outbox, *changes, "consultation:b:000001", "payment:a:paid")
    found = await outbox.before("consultation:a:000011")
    assert [each.id[-2:] for each in found] == ["01", "02", "09", "10"]
    assert found[0].effects == (QueueMoved(doctor="consultation:a:000001"),)
    await outbox.done(found[0].id)
    assert len(await outbox.before("consultation:a:000011")) == 3
    assert await outbox.before("consultation:b:000001") == []


async def test_a_row_is_its_holders_until_the_lease_ends(database: Database) -> None:
    clock = ManualClock()
    outbox = Outbox(database, clock)
    await stored(database, outbox, "consultation:a:000001")
    assert await outbox.claim_left() is None
    own = await outbox.claim_own("consultation:a:000001")
    assert own is not None
    assert await outbox.claim_own("consultation:a:000001") is None
    clock.advance(LEASE.total_seconds() + 1)
    assert await outbox.claim_left() == own
    assert await outbox.claim_left() is None
    await outbox.done(own.id)
    assert await outbox.size() == 0


async def test_what_fails_waits_longer_each_time_and_then_for_the_operator(
    database: Database,
) -> None:
    clock = ManualClock()
    outbox = Outbox(database, clock, OutboxPolicy(attempts_max=3))
    await stored(database, outbox, "consultation:a:000001")
    row = await outbox.claim_own("consultation:a:000001")
    assert row is not None
    for longest in (2, 4):
        assert await outbox.put_off(row.id, row.effects, "Unavailable") is False
        clock.advance(longest * EARLIEST_SHARE - 0.01)
        assert await outbox.claim_left() is None
        clock.advance(longest * (1 - EARLIEST_SHARE) + 0.01)
        assert await outbox.claim_left() == row
    assert await outbox.put_off(row.id, row.effects, "Unavailable") is True
    assert await outbox.size() == 0
    (dead,) = await outbox.dead_letters(None, 10)
    assert (dead.id, dead.effects, dead.error, dead.failures) == (
        row.id, row.effects, "Unavailable", 3,
    )  # fmt: skip
    assert await outbox.revive(row.id) is True
    assert await outbox.revive(row.id) is False
    assert await outbox.dead_letters(None, 10) == []
    assert await outbox.claim_left() == row


async def test_only_what_failed_is_kept_for_the_next_time(database: Database) -> None:
    clock = ManualClock()
    outbox = Outbox(database, clock)
    effects = (QueueMoved(doctor="d1"), QueueMoved(doctor="d2"))
    async with database.transaction() as session:
        await outbox.add(session, Outgoing(id="consultation:a:000001", effects=effects))
    await outbox.put_off("consultation:a:000001", effects[1:], "Unavailable")
    clock.advance(LEASE.total_seconds())
    left = await outbox.claim_left()
    assert left is not None
    assert left.effects == effects[1:]
    await outbox.done(left.id)
    # a process that failed after another one finished has nothing to keep
    assert await outbox.put_off(left.id, left.effects, "Unavailable") is False
    assert await outbox.size() == 0
