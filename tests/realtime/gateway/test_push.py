"""Pushing: to the right sockets, in order, once encoded, and never waiting for a receiver."""

import asyncio

from tests.realtime.gateway.conftest import Hub, Raw, Start, until


async def test_a_push_reaches_every_device_of_the_users_but_the_skipped(hub: Hub) -> None:
    sender, phone, bob, cid = [await hub.raw(name) for name in ("ann", "ann", "bob", "cid")]
    skipped = next(iter(hub.connections.of("ann"))).id
    hub.fanout.push(["ann", "bob", "nobody"], "message:new", {"seq": 1}, skip=skipped)
    hub.fanout.push(["ann", "bob", "cid"], "message:new", {"seq": 2})
    assert await phone.event() == ("message:new", {"seq": 1})
    assert await bob.event() == ("message:new", {"seq": 1})
    for raw in (sender, phone, bob, cid):
        assert await raw.event() == ("message:new", {"seq": 2})


async def test_pushes_keep_their_order(hub: Hub) -> None:
    client = await hub.client()
    seen: list[int] = []
    client.on("message:new", lambda data: seen.append(data["seq"]))
    for seq in range(500):
        hub.fanout.push(["ann"], "message:new", {"seq": seq})
    await until(lambda: len(seen) == 500)
    assert seen == list(range(500))


async def test_a_socket_that_left_a_room_gets_nothing_of_it(hub: Hub) -> None:
    raw = await hub.raw()
    (connection,) = hub.connections
    connection.left.add("r1")
    hub.fanout.push(["ann"], "typing", {"room": "r1"})
    hub.fanout.push(["ann"], "typing", {"room": "r2"})
    assert await raw.event() == ("typing", {"room": "r2"})


async def test_text_that_orjson_cannot_write_is_pushed_all_the_same(hub: Hub) -> None:
    raw = await hub.raw()
    hub.fanout.push(["ann"], "notice:new", {"text": "半个\ud83d", "big": 2**70})
    assert await raw.event() == ("notice:new", {"text": "半个\ud83d", "big": 2**70})


async def test_a_slow_client_is_cut_at_once_and_the_others_get_everything(start: Start) -> None:
    hub = await start(outbound_max_bytes=200_000)
    deaf = await hub.raw("ann")
    (cut,) = hub.connections
    quick = await hub.raw("ann")
    (kept,) = set(hub.connections) - {cut}
    hearing = asyncio.create_task(_count_until_end(quick))
    pushed = 0
    # the kernel's buffers fill first, so this takes some megabytes
    while cut in hub.connections.of("ann"):
        hub.fanout.push(["ann"], "message:new", {"text": "x" * 30_000})
        pushed += 1
        await until(lambda: kept.wire.queued_bytes == 0)
    hub.fanout.push(["ann"], "end", {})
    assert await hearing == pushed
    assert hub.counted("wenzhen_slow_clients_total") == 1
    # cut without a goodbye, which would have had to wait for it
    assert await deaf.closed() is None


async def test_an_answer_over_the_bound_is_sent_to_a_client_that_reads(hub: Hub) -> None:
    raw = await hub.raw()
    for number in range(3):
        await raw.emit(number, "large", {})
    for number in range(3):
        assert (await raw.acknowledgement())[0] == number
    assert hub.counted("wenzhen_slow_clients_total") == 0


async def test_a_client_that_reads_no_answers_is_read_no_further(hub: Hub) -> None:
    raw, other = await hub.raw("ann"), await hub.raw("bob")
    for number in range(50):
        await raw.emit(number, "large", {})
    await until(lambda: hub.counted("wenzhen_outbound_bytes") > 1_000_000)
    assert (await other.call("nothing", {}))["ok"]
    assert hub.counted("wenzhen_outbound_bytes") < 3_000_000
    assert hub.book.ran.count("large") < 20
    for number in range(50):
        assert (await raw.acknowledgement())[0] == number


async def test_the_outbound_bytes_are_measured(hub: Hub) -> None:
    await hub.raw()
    hub.fanout.push(["ann"], "message:new", {"text": "x" * 1000})
    assert hub.counted("wenzhen_outbound_bytes") > 1000
    await until(lambda: hub.counted("wenzhen_outbound_bytes") == 0)


async def test_connections_are_counted_by_device(hub: Hub) -> None:
    raw = await hub.raw(device="mini_program")
    assert hub.counted("wenzhen_connections", device="mini_program") == 1
    await raw.ws.close()
    await until(lambda: hub.counted("wenzhen_connections", device="mini_program") == 0)


async def _count_until_end(raw: Raw) -> int:
    count = 0
    while (await raw.event())[0] != "end":
        count += 1
    return count
