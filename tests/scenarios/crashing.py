"""Consultations that stand at a step of their money when the server is killed, seen afterwards."""

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import Awaitable
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from bot.errors import NoServer
from storage.database import Database
from tests.scenarios.people import User, add_person, form
from tests.scenarios.records import read_whole
from tests.scenarios.test_payments import Till
from tests.scenarios.wire import Wire, log_in
from tests.standins.wechat_pay import Hold

AROUND_SECONDS = 0.12
"""Within so long before the kill begins what is killed at a random moment of it."""
STAND_SECONDS = 8.0
"""How long a step may take: a lease of the outbox is longer, so nothing is done twice before."""

OPEN = frozenset({"awaiting_payment", "awaiting_doctor", "in_progress"})
PAID, REFUNDED = "paid", "refunded"
TOLD = {
    "cancelled_by_patient": [],
    "cancelled_by_staff": ["consultation_closed"],
    "declined_by_doctor": ["consultation_refused"],
    "no_reply": ["consultation_started", "consultation_refused"],
}
"""What a patient is told beside the refund, by why it closed."""

chance = random.Random(20261124)  # noqa: S311  moments and ways: the same in every run


@dataclass
class Case:
    """A patient, and in each life of the server one consultation of his."""

    till: Till
    database: Database
    operator: User
    patient: User
    token: str
    person: str
    consultation: Any = None
    wanted: str = REFUNDED
    """What our payment's state is in the end."""
    left: list["asyncio.Task[bool]"] = field(default_factory=list)
    wires: list[Wire] = field(default_factory=list)
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    """Where the step is met at which the server is to be killed."""
    crashed: asyncio.Event = field(default_factory=asyncio.Event)

    @classmethod
    async def of(cls, till: Till, database: Database, operator: User) -> "Case":
        patient = await till.patient()
        token = (await log_in(till.http, till.server.url, patient.phone))["access_token"]
        person = await add_person(patient)
        return cls(till, database, operator, patient, token, person)

    @property
    def order(self) -> str:
        return str(self.consultation["order_no"])

    async def connect(self) -> None:
        self.wires.append(await Wire.enter(self.till.http, self.till.server.url, self.token))

    async def begin(self) -> None:
        """Begin anew: what was told until now is read."""
        for wire in self.wires:
            await wire.close()
        self.wires, self.left, self.wanted = [], [], REFUNDED
        self.ready, self.crashed = asyncio.Event(), asyncio.Event()
        await self.patient.post("/notices/read-all")

    async def ask(self) -> None:
        wanted = form(self.till.doctor.id, self.person)
        self.consultation = await self.patient.post("/consultations", wanted)

    async def begin_payment(self) -> None:
        await self.patient.post(f"/consultations/{self.consultation['id']}/pay")

    async def pay(self) -> None:
        """Let the patient pay; nobody has told us of it."""
        await self.ask()
        await self.begin_payment()
        self.till.standin.pay(self.order)

    async def tell_paid(self) -> None:
        told = self.till.standin.notification(self.order)
        assert await self.till.notify(told) == (204, None)

    async def paid(self) -> None:
        await self.pay()
        await self.tell_paid()

    async def close(self) -> None:
        """Let whoever may do so close it, in a way after which the money goes back."""
        one = self.consultation["id"]
        reason = {"reason": "医生临时有手术"}
        match chance.randrange(3):
            case 0:
                await self.patient.post(f"/consultations/{one}/cancel")
            case 1:
                await self.till.doctor.post(f"/consultations/{one}/decline", reason)
            case _:
                await self.operator.post(f"/operator/consultations/{one}/cancel", reason)

    async def close_until(self, booked: bool) -> Hold:
        """Close it, and have the refund's request or its answer kept by WeChat."""
        hold = self.till.standin.hold("refunds", self.order, booked=booked)
        self.leave(self.close())
        await asyncio.wait_for(hold.reached.wait(), STAND_SECONDS)
        return hold

    async def refund_slowly(self) -> None:
        """Close it, and have WeChat accept the refund but not end it yet."""
        hold = await self.close_until(booked=True)
        self.till.standin.refunds[self.refunds[0]]["status"] = "PROCESSING"
        self.till.standin.holds.remove(hold)
        hold.released.set()
        await asyncio.gather(*self.left)

    @property
    def refunds(self) -> list[str]:
        return self.till.refunds(self.order)

    async def tell_refunded(self) -> None:
        number = self.refunds[0]
        self.till.standin.end_refund(number)
        told = self.till.standin.refund_notification(number)
        assert await self.till.notify(told) == (204, None)

    def leave(self, doing: Awaitable[object]) -> None:
        """Let it go on until it is done or the server is killed."""
        self.left.append(asyncio.ensure_future(survive(doing)))

    async def until_noted(self, state: str) -> None:
        """Return as soon as the database has our payment in this state, or the server is gone."""
        payments = self.database["payments"]
        noted = {"consultation": self.consultation["id"], "state": state}
        while not (self.crashed.is_set() or await payments.count_documents(noted)):
            # no pause: what follows the note takes a few milliseconds
            pass

    async def look(self) -> Any:
        """Give what its patient sees. What was given back never belongs to an open one."""
        shown = await self.patient.get(f"/consultations/{self.consultation['id']}")
        money = shown["payment"] and shown["payment"]["state"]
        if shown["state"] in OPEN:
            assert money in {None, "pending", PAID}, (shown["state"], money)
            assert not self.refunds, shown["state"]
        self.consultation = shown
        return shown

    async def check(self) -> None:
        """See that all agree on what became of it, and that the patient was told once."""
        shown = await self.look()
        order = self.till.standin.orders[self.order]
        assert order["trade_state"] == "SUCCESS"
        if self.wanted == PAID:
            assert (shown["state"], self.refunds) == ("awaiting_doctor", [])
            assert await self._closing_lines() == 0
            return
        assert shown["state"] not in OPEN
        assert len(self.refunds) == 1
        refund = self.till.standin.refunds[self.refunds[0]]
        assert (refund["status"], refund["amount"]["refund"]) == ("SUCCESS", shown["price"])
        assert await self._closing_lines() == 1
        await self._check_notices(shown["closed_reason"]["because"])

    async def check_all(self, consultations: int) -> None:
        """See that so many payments went back, each under one number, and were told of once."""
        shown = (await self.patient.get("/consultations?limit=100"))["items"]
        assert [one["payment"]["state"] for one in shown] == [REFUNDED] * consultations
        given = [self.till.refunds(one["order_no"]) for one in shown]
        assert [len(numbers) for numbers in given] == [1] * consultations
        notices = (await self.patient.get("/notices?limit=100"))["items"]
        told = [notice["template"] for notice in notices].count("refunded")
        assert told == consultations

    async def _closing_lines(self) -> int:
        """Count the lines that say why it closed; each other system line must be there once."""
        messages = await read_whole(self.database, self.consultation["room"])
        said = [str(m.body.get("card") or m.body.get("text")) for m in messages]
        assert len(set(said)) == len(said), said
        reason = self.consultation["closed_reason"]
        return said.count(reason["text"]) if reason else 0

    async def _check_notices(self, because: str) -> None:
        page = await self.patient.get("/notices?limit=100")
        new = [notice for notice in page["items"] if not notice["read"]]
        assert Counter(n["template"] for n in new) == Counter([*TOLD[because], "refunded"])
        assert page["unread_count"] == len(new)
        (listed,) = (notice["id"] for notice in new if notice["template"] == "refunded")
        assert {*self.pushed_refunds(), listed} == {listed}

    def pushed_refunds(self) -> list[str]:
        """List the refund's notices that reached a socket."""
        events = [event for wire in self.wires for event in wire.events]
        return [
            data["id"]
            for name, data in events
            if name == "notice:new" and data["template"] == "refunded"
        ]


async def survive(doing: Awaitable[object]) -> bool:
    """Do it; say whether it was answered before the server was gone."""
    with contextlib.suppress(aiohttp.ClientError, NoServer, TimeoutError):
        await doing
        return True
    return False


async def at_some_moment() -> None:
    await asyncio.sleep(chance.uniform(0, AROUND_SECONDS))
