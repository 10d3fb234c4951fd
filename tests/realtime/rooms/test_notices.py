"""A delivery made again, as after a crash, and one that comes too late, send nothing (N1)."""

from collections.abc import Collection, Mapping
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from care.notices import Deliver, Notify
from realtime.rooms.notices import NoticeService, Outside
from storage.database import Database
from storage.notices import Notices
from storage.outbox import Outbox
from storage.subscriptions import Consents
from tests.clock import ManualClock

TEMPLATE = "consultation_started"
VALUES = {
    "service": "医生接诊", "doctor": "小傅", "initiator": "炎帝",
    "started_at": "2036-11-24T00:00:00.000Z", "note": "可以问诊了",
}  # fmt: skip


class World:
    """Everybody outside, who are all away; keeps what reached them."""

    def __init__(self) -> None:
        self.sent: list[str] = []

    async def openid(self, user: str) -> str | None:
        return f"openid-{user}"

    async def phone(self, user: str) -> str | None:
        return f"phone-{user}"

    async def send(self, to: str, *_message: object) -> None:
        self.sent.append(to)

    async def close(self) -> None:
        """Do nothing: there is no connection."""

    async def online(self, _users: Collection[str]) -> set[str]:
        return set()

    def push(
        self,
        users: Collection[str],
        event: str,
        data: Mapping[str, Any],
        *,
        skip: str | None = None,
        only: str | None = None,
    ) -> None:
        """Reach nobody: all are away."""


def notice_service(
    database: Database, clock: ManualClock, world: World, ledger: Consents
) -> NoticeService:
    notices = Notices(database, Outbox(database, clock), ledger)
    outside = Outside(world, world, world, {TEMPLATE: "WX"})
    return NoticeService(notices, ledger, outside, world, world, clock, ZoneInfo("Asia/Shanghai"))


@pytest.mark.rule("N1")
@pytest.mark.parametrize(("consents", "reached"), [(2, "openid-p1"), (0, "phone-p1")])
async def test_a_delivery_made_twice_reaches_its_user_once(
    database: Database, consents: int, reached: str
) -> None:
    world, ledger = World(), Consents(database)
    service = notice_service(database, ManualClock(), world, ledger)
    await ledger.add("p1", TEMPLATE, consents)
    await service.notify(Notify(user="p1", key="n1", template=TEMPLATE, values=VALUES))
    for _ in range(2):
        await service.deliver(Deliver(notice="n1"))
    assert world.sent == [reached]


@pytest.mark.rule("N1", "V1")
@pytest.mark.parametrize(("seconds", "reached"), [(60, ["phone-p1"]), (61, [])])
async def test_nobody_is_sent_a_call_that_rings_no_more(
    database: Database, seconds: int, reached: list[str]
) -> None:
    clock, world = ManualClock(), World()
    service = notice_service(database, clock, world, Consents(database))
    values = {
        "service": "视频问诊", "doctor": "小傅", "called_at": VALUES["started_at"],
        "note": "您有新的视频通话，是否接听？",
    }  # fmt: skip
    await service.notify(Notify(user="p1", key="n1", template="incoming_call", values=values))
    clock.advance(seconds)

    await service.deliver(Deliver(notice="n1"))

    assert world.sent == reached
