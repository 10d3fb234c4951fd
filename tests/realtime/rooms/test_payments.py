"""What WeChat Pay is asked about a payment, and when its last word was said (M1, M2)."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from care.consultation import State
from care.effects import Settle
from care.payments import Payment, PaymentState, RefundNews
from care.policy import BookingPolicy
from companion.wechat_pay.client import WechatPayClient
from companion.wechat_pay.provider import WechatPay
from companion.wechat_pay.signing import Signer, Verifier
from realtime.rooms.payments import PaymentService, ProviderMissing
from storage.cancellations import Cancellations
from storage.consultations import Consultations, to_document
from storage.database import Database
from storage.doctors import Doctors
from storage.files import Files
from storage.outbox import Outbox
from storage.payments import Payments
from storage.people import People
from storage.slots import Slots
from storage.vault import Vault
from tests.care.test_consultation import consultation
from tests.clock import START, ManualClock
from tests.standins import wechat_pay as standins
from tests.standins.wechat_pay import API_KEY, APPID, MCHID, MERCHANT_SERIAL, PLATFORM_SERIAL

NUMBER = "20361124000001"
BEGUN = Payment(
    id="p1", consultation="c1", payer="u1", provider="wechat", out_trade_no=NUMBER, amount=100,
    created_at=START, ask_at=START,
)  # fmt: skip
CANCELLED = Settle(consultation="c1", refund=True)
DONE = RefundNews(out_trade_no=NUMBER, out_refund_no=f"R{NUMBER}", amount=100, done=True)
MONTH = 30 * 24


class DyingProcess:
    """Carries nothing out: what is stored is all there is."""

    async def carry_out(self, outgoing_id: str) -> None:
        """Leave it to the outbox."""

    async def paid(self, consultation_id: str) -> Any:
        raise AssertionError(consultation_id)


@dataclass
class Till:
    """`elsewhere` is the same hospital after its settings lost WeChat Pay."""

    service: PaymentService
    elsewhere: PaymentService
    payments: Payments
    provider: WechatPay
    standin: standins.WechatPay
    clock: ManualClock

    async def stored(self) -> Payment:
        payment = await self.payments.get(BEGUN.id)
        assert payment is not None
        return payment

    async def refunding(self) -> None:
        """Let the money arrive, the consultation be cancelled, and the refund be under way."""
        await self.provider.prepare(BEGUN)
        self.standin.pay(NUMBER)
        await self.service.ask_for_missing()
        self.standin.refund_status = "PROCESSING"
        await self.service.settle(CANCELLED)
        assert (await self.stored()).state is PaymentState.REFUNDING

    async def asked_in(self, hours: int) -> list[str]:
        """Let time pass; give what WeChat Pay was asked in it."""
        self.standin.calls.clear()
        for _ in range(hours):
            self.clock.advance(3600)
            await self.service.ask_for_missing()
        return self.standin.calls


@asynccontextmanager
async def wechat_pay_of(
    standin: standins.WechatPay, clock: ManualClock
) -> AsyncIterator[WechatPay]:
    signer = Signer(MCHID, MERCHANT_SERIAL, standin.merchant_key, clock)
    verifier = Verifier({PLATFORM_SERIAL: standin.key.public_key()}, clock)

    async def openid(user: str) -> str | None:
        return f"openid-{user}"

    client = WechatPayClient(standin.url, signer, verifier)
    provider = WechatPay(APPID, "https://x", API_KEY, client, signer, verifier, openid, 900)
    yield provider
    await provider.close()


@pytest.fixture
async def till(database: Database) -> AsyncIterator[Till]:
    clock = ManualClock()
    outbox = Outbox(database, clock)
    payments = Payments(database, outbox)
    await payments.ensure_indexes()
    await payments.ensure(BEGUN)
    people = People(database, Vault({"1": b"d" * 32}, "1", b"i" * 32))
    doctors, files = Doctors(database, "node", clock), Files(database)
    consultations = Consultations(
        database, outbox, people, doctors, files, Slots(database),
        Cancellations(database, BookingPolicy()),
    )  # fmt: skip
    async with (
        standins.serve_wechat_pay(lambda: clock.now().timestamp()) as standin,
        wechat_pay_of(standin, clock) as provider,
    ):
        service, elsewhere = (
            PaymentService(payments, consultations, joined, "wechat", clock, 1.0)
            for joined in ({"wechat": provider}, {})
        )
        for each in (service, elsewhere):
            each.serve(DyingProcess(), DyingProcess())
        yield Till(service, elsewhere, payments, provider, standin, clock)


@pytest.mark.rule("M2")
async def test_a_refund_under_way_is_asked_after_ever_more_rarely_until_it_ends(till: Till) -> None:
    await till.refunding()
    assert 5 < len(await till.asked_in(MONTH)) < 40

    till.standin.end_refund(DONE.out_refund_no)
    await till.asked_in(MONTH)

    assert (await till.stored()).state is PaymentState.REFUNDED
    assert list(till.standin.refunds) == [DONE.out_refund_no]


@pytest.mark.rule("M2")
@pytest.mark.parametrize("problem", [None, "ABNORMAL", "CLOSED"])
async def test_what_was_said_before_a_refunds_end_changes_nothing_after_it(
    till: Till, problem: str | None
) -> None:
    await till.refunding()
    await till.service.refund_told("wechat", DONE)
    ended = await till.stored()
    assert ended.state is PaymentState.REFUNDED

    await till.service.refund_told("wechat", DONE.changed(done=False, problem=problem))

    assert await till.stored() == ended
    assert await till.asked_in(MONTH) == []


@pytest.mark.rule("M2")
async def test_a_refund_that_ends_badly_says_why_until_it_ends_well(till: Till) -> None:
    await till.refunding()
    till.standin.end_refund(DONE.out_refund_no, "ABNORMAL")
    await till.service.refund_told("wechat", DONE.changed(done=False, problem="ABNORMAL"))
    assert (await till.stored()).problem == "ABNORMAL"

    till.standin.end_refund(DONE.out_refund_no)
    await till.service.give_back(await till.stored())

    ended = await till.stored()
    assert (ended.state, ended.problem) == (PaymentState.REFUNDED, None)
    assert list(till.standin.refunds) == [DONE.out_refund_no]


@pytest.mark.rule("M2")
async def test_a_payment_whose_provider_is_set_no_more_fails_and_is_settled_once_it_is_again(
    till: Till,
) -> None:
    await till.refunding()
    till.standin.end_refund(DONE.out_refund_no)
    till.standin.calls.clear()

    await till.elsewhere.ask_for_missing()
    with pytest.raises(ProviderMissing):
        await till.elsewhere.settle(CANCELLED)
    assert till.standin.calls == []
    await till.asked_in(1)

    assert (await till.stored()).state is PaymentState.REFUNDED


@pytest.mark.rule("M1")
async def test_a_closed_order_is_asked_about_once_more_however_long_nobody_was_there(
    till: Till,
) -> None:
    await till.provider.prepare(BEGUN)
    till.standin.trouble[NUMBER] = [500]
    await till.service.settle(CANCELLED)
    till.clock.advance(MONTH * 3600)

    asked = await till.asked_in(1)

    assert [call.split(" ")[0] for call in asked] == ["POST", "GET"]
    assert await till.asked_in(MONTH) == []


@pytest.mark.rule("M1")
async def test_money_for_an_order_announced_while_it_was_closed_is_found(till: Till) -> None:
    await till.service.settle(CANCELLED)
    await till.provider.prepare(BEGUN)
    till.standin.pay(NUMBER)

    await till.asked_in(1)

    assert (await till.stored()).state is PaymentState.PAID


@pytest.mark.rule("M1")
async def test_money_is_found_and_asked_about_again_though_its_order_is_not_closed(
    till: Till,
) -> None:
    await till.provider.prepare(BEGUN)
    till.standin.trouble[NUMBER], till.standin.code = [403], "USERPAYING"
    await till.service.settle(CANCELLED)
    assert (await till.stored()).state is PaymentState.CLOSED
    till.standin.pay(NUMBER)
    till.standin.trouble[NUMBER] = [403]

    await till.asked_in(1)

    assert (await till.stored()).state is PaymentState.PAID


@pytest.mark.rule("M1", "C3")
async def test_an_order_begun_while_its_consultation_closed_is_closed_though_the_server_died(
    till: Till, database: Database
) -> None:
    closed = consultation(State.CANCELLED).changed(id=BEGUN.consultation)
    await database["consultations"].insert_one(to_document(closed))
    await till.provider.prepare(BEGUN)

    await till.asked_in(1)

    assert (await till.stored()).state is PaymentState.CLOSED
    assert till.standin.orders[NUMBER]["trade_state"] == "CLOSED"
    assert await till.asked_in(MONTH) == []


@pytest.mark.rule("M1")
async def test_an_order_that_was_never_announced_is_not_asked_about_for_ever(till: Till) -> None:
    await till.service.settle(CANCELLED)

    assert 0 < len(await till.asked_in(4)) < 20
    assert await till.asked_in(MONTH) == []
