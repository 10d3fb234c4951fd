"""Accepted in order, acknowledged when durable, and finished whatever becomes of the client."""

import asyncio

from care.errors import Unavailable
from realtime.gateway.connections import OUTSTANDING_MAX
from tests.realtime.gateway.conftest import Hub, Start, until


async def test_commands_are_accepted_in_order_without_waiting_for_each_other(hub: Hub) -> None:
    raw = await hub.raw()
    for n, text in enumerate("abc"):
        await raw.emit(n, "later", {"text": text})
    await until(lambda: hub.book.ran == ["a", "b", "c"])
    hub.book.future("b").set_result("b")
    assert await raw.acknowledgement() == (1, {"ok": True, "text": "b"})
    hub.book.future("c").set_result("c")
    hub.book.future("a").set_result("a")
    assert [(await raw.acknowledgement())[0] for _ in range(2)] == [2, 0]


async def test_a_thousand_pipelined_commands_keep_their_order(hub: Hub) -> None:
    client = await hub.client()
    texts = [str(n) for n in range(1000)]
    answers = await asyncio.gather(*(client.call("echo", {"text": text}) for text in texts))
    assert [answer["text"] for answer in answers] == texts
    assert hub.book.ran == texts


async def test_nothing_is_acknowledged_before_it_is_done(hub: Hub) -> None:
    raw = await hub.raw()
    await raw.emit(0, "later", {"text": "slow"})
    await raw.emit(1, "nothing", {})
    assert await raw.acknowledgement() == (1, {"ok": True})
    hub.book.future("slow").set_result("slow")
    assert await raw.acknowledgement() == (0, {"ok": True, "text": "slow"})


async def test_what_fails_after_acceptance_is_answered_with_its_error(hub: Hub) -> None:
    raw = await hub.raw()
    for n, text in enumerate(("away", "lost", "broken")):
        await raw.emit(n, "later", {"text": text})
    await until(lambda: len(hub.book.ran) == 3)
    hub.book.future("away").set_exception(Unavailable())
    hub.book.future("lost").cancel()
    hub.book.future("broken").set_exception(RuntimeError("a detail"))
    codes = [(await raw.acknowledgement())[1]["error"]["code"] for _ in range(3)]
    assert codes == ["unavailable", "unavailable", "internal"]


async def test_a_command_given_up_is_answered_before_its_socket_ends(hub: Hub) -> None:
    raw = await hub.raw()
    assert (await raw.call("given_up", {}))["error"]["code"] == "unavailable"
    await hub.gateway.drain()


async def test_a_client_far_ahead_of_its_acknowledgements_is_read_no_further(hub: Hub) -> None:
    raw, other = await hub.raw("ann"), await hub.raw("bob")
    for n in range(OUTSTANDING_MAX + 3):
        await raw.emit(n, "later", {"text": str(n)})
    await until(lambda: len(hub.book.ran) == OUTSTANDING_MAX)
    # another client's round trip: the server had every chance to read on
    assert (await other.call("nothing", {}))["ok"]
    assert len(hub.book.ran) == OUTSTANDING_MAX + 1
    hub.book.future("5").set_result("5")
    assert (await raw.acknowledgement())[0] == 5
    await until(lambda: hub.book.ran[-1] == str(OUTSTANDING_MAX))
    for n in range(OUTSTANDING_MAX + 3):
        if not hub.book.future(str(n)).done():
            hub.book.future(str(n)).set_result(str(n))
    heard = {(await raw.acknowledgement())[0] for _ in range(OUTSTANDING_MAX + 2)}
    assert heard == set(range(OUTSTANDING_MAX + 3)) - {5}


async def test_a_command_goes_on_when_its_client_is_gone(hub: Hub) -> None:
    raw = await hub.raw()
    await raw.emit(1, "hold", {"text": "write"})
    await until(lambda: hub.book.ran == ["write"])
    raw.vanish()
    hub.book.gate.set()
    await asyncio.wait_for(hub.book.finished.wait(), 1)
    await until(lambda: len(hub.connections) == 0)


async def test_a_command_goes_on_when_the_web_server_cancels_the_request(hub: Hub) -> None:
    raw = await hub.raw()
    await raw.emit(1, "hold", {"text": "write"})
    await until(lambda: hub.book.ran == ["write"])
    await hub.stop_serving()
    hub.book.gate.set()
    await asyncio.wait_for(hub.book.finished.wait(), 1)


async def test_drain_answers_what_was_accepted_and_refuses_the_rest(hub: Hub) -> None:
    raw = await hub.raw()
    await raw.emit(0, "later", {"text": "accepted"})
    await until(lambda: hub.book.ran == ["accepted"])
    draining = asyncio.create_task(hub.gateway.drain())
    await until(lambda: hub.gateway.draining)
    refused = await raw.call("nothing", {})
    assert (refused["error"]["code"], refused["error"]["retry"]) == ("unavailable", True)
    async with hub.http.get(f"http://{hub.host}/socket.io/?EIO=4&transport=websocket") as answer:
        assert answer.status == 503
    hub.book.future("accepted").set_result("accepted")
    assert await raw.acknowledgement() == (0, {"ok": True, "text": "accepted"})
    assert await raw.closed() == 1001
    # no DISCONNECT: with one, clients would not come back by themselves
    assert "41" not in raw.heard
    await draining
    assert hub.sockets == 0


async def test_drain_does_not_wait_for_ever(start: Start) -> None:
    hub = await start(drain_seconds=0.05)
    raw = await hub.raw()
    await raw.emit(0, "later", {"text": "never"})
    await until(lambda: hub.book.ran == ["never"])
    await asyncio.wait_for(hub.gateway.drain(), 2)
    assert await raw.closed() == 1001
