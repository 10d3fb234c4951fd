"""Consents are spent once for a notice, and never more often than they were given (N1)."""

import asyncio
from datetime import UTC, datetime

from care.notices import Delivered, Notice, Way
from storage.database import Database
from storage.notices import Notices
from storage.outbox import Outbox
from storage.subscriptions import Consents
from tests.clock import ManualClock

TEMPLATE = "consultation_started"
NOW = datetime(2026, 11, 22, 8, 0, tzinfo=UTC)


async def stores(database: Database) -> tuple[Notices, Consents]:
    consents = Consents(database)
    notices = Notices(database, Outbox(database, ManualClock()), consents)
    await consents.ensure_indexes()
    await notices.ensure_indexes()
    return notices, consents


async def told(notices: Notices, key: str) -> Notice:
    notice = Notice(id=key, user="p1", template=TEMPLATE, values={}, at=NOW)
    await notices.add(notice)
    return notice


async def test_of_two_processes_one_gets_the_last_consent(database: Database) -> None:
    ours, consents = await stores(database)
    theirs, _ = await stores(database)
    await consents.add("p1", TEMPLATE, 1)
    wanted = [await told(ours, f"n{i}") for i in range(10)]
    spent = await asyncio.gather(
        *((ours if i % 2 else theirs).spend(notice) for i, notice in enumerate(wanted))
    )
    assert sum(spent) == 1
    assert await consents.left("p1") == {TEMPLATE: 0}
    for notice, got in zip(wanted, spent, strict=True):
        kept = await ours.get(notice.id)
        assert kept is not None
        assert kept.deliveries == {Way.WECHAT: Delivered.SENDING if got else Delivered.NO_CONSENT}


async def test_a_notice_spends_one_consent_however_often_it_is_sent(database: Database) -> None:
    notices, consents = await stores(database)
    await consents.add("p1", TEMPLATE, 3)
    notice = await told(notices, "n1")
    assert all(await asyncio.gather(*(notices.spend(notice) for _ in range(5))))
    assert await consents.left("p1") == {TEMPLATE: 2}
    await notices.note(notice.id, Way.WECHAT, Delivered.SENT)
    assert await notices.spend(notice) is False


async def test_a_key_is_kept_once(database: Database) -> None:
    notices, _ = await stores(database)
    notice = Notice(id="n1", user="p1", template=TEMPLATE, values={}, at=NOW)
    assert sorted(await asyncio.gather(*(notices.add(notice) for _ in range(5)))) == [
        False, False, False, False, True,
    ]  # fmt: skip
    assert await notices.unread("p1") == 1


async def test_a_consent_is_given_back_once_and_can_be_spent_again(database: Database) -> None:
    notices, consents = await stores(database)
    theirs, _ = await stores(database)
    await consents.add("p1", TEMPLATE, 2)
    notice = await told(notices, "n1")
    assert await notices.spend(notice)
    await asyncio.gather(*(each.give_back(notice) for each in (notices, theirs) for _ in range(5)))
    assert await consents.left("p1") == {TEMPLATE: 2}
    assert await notices.spend(notice)
    assert await consents.left("p1") == {TEMPLATE: 1}


async def test_what_was_sent_gives_no_consent_back(database: Database) -> None:
    notices, consents = await stores(database)
    await consents.add("p1", TEMPLATE, 1)
    notice = await told(notices, "n1")
    await notices.spend(notice)
    await notices.note(notice.id, Way.WECHAT, Delivered.SENT)
    await notices.give_back(notice)
    assert await consents.left("p1") == {TEMPLATE: 0}
