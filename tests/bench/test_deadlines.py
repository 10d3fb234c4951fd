"""The measurement of the clocks waits with consultations that are what the server stores."""

from datetime import UTC, datetime

import pytest

from bench.deadlines import HALF_WAITED, QUEUE, WAITED_OUT, WrongError, add_waiting, check
from care.consultation import State
from care.deadlines import deadline
from care.policy import ConsultationPolicy
from care.rooms import Activity
from storage.consultations import INDEXES, from_document
from storage.database import Database
from tests.care.test_consultation import consultation

COUNT = 3 * QUEUE
EXAMPLE = consultation(State.IN_PROGRESS)


async def test_those_that_wait_are_as_the_rules_would_have_them(database: Database) -> None:
    kept = database["consultations"]
    await kept.create_indexes(INDEXES)
    await add_waiting(kept, EXAMPLE, COUNT, HALF_WAITED)
    await add_waiting(kept, EXAMPLE, COUNT, WAITED_OUT)
    stored = [from_document(d) async for d in kept.find({})]
    now, due = datetime.now(UTC), 0
    for c in stored:
        clock = deadline(c, Activity(), ConsultationPolicy())
        assert clock is not None
        assert c.check_at == clock.at
        due += clock.at <= now
    assert (len(stored), due) == (2 * COUNT, COUNT)


async def test_one_that_was_closed_too_early_is_missed(database: Database) -> None:
    kept = database["consultations"]
    await add_waiting(kept, EXAMPLE, COUNT, HALF_WAITED)
    await check(kept, waiting=COUNT, expired=0)
    await kept.update_one({}, {"$set": {"state": State.EXPIRED.value}})
    with pytest.raises(WrongError, match=f"{COUNT} should wait"):
        await check(kept, waiting=COUNT, expired=0)
