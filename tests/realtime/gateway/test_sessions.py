"""A live socket ends with its token (A9)."""

import asyncio
from typing import Any

import pytest
from structlog.testing import capture_logs

from care.record import wire_time
from realtime.gateway.connections import OUTSTANDING_MAX
from tests.realtime.gateway.conftest import Hub, Start, until

MINUTE = 60


async def test_an_expired_socket_is_closed_and_told_not_to_return(hub: Hub) -> None:
    ann = await hub.raw("ann")
    hub.clock.advance(5 * MINUTE)
    bob = await hub.raw("bob")
    hub.clock.advance(10 * MINUTE)
    await hub.guard.sweep()
    assert await ann.closed() == 1000
    assert "41" in ann.heard
    assert (await bob.call("nothing", {}))["ok"]


async def test_expiry_is_announced_once_a_minute_before(hub: Hub) -> None:
    raw = await hub.raw()
    (connection,) = hub.connections
    hub.clock.advance(14 * MINUTE - 1)
    await hub.guard.sweep()
    assert (await raw.call("nothing", {}))["ok"]
    hub.clock.advance(1)
    await hub.guard.sweep()
    await hub.guard.sweep()
    assert await raw.event() == (
        "session:expiring",
        {"expires_at": wire_time(connection.expires_at)},
    )
    assert (await raw.call("nothing", {}))["ok"]


async def test_a_refreshed_socket_stays_and_is_warned_again(hub: Hub) -> None:
    raw = await hub.raw("ann")
    hub.clock.advance(14 * MINUTE)
    await hub.guard.sweep()
    await raw.event()
    answer = await raw.call("session:refresh", {"token": "ann/patient/next"})
    (connection,) = hub.connections
    assert answer == {"ok": True, "expires_at": wire_time(connection.expires_at)}
    hub.clock.advance(14 * MINUTE)
    await hub.guard.sweep()
    assert (await raw.event())[0] == "session:expiring"


@pytest.mark.parametrize(
    ("token", "code"),
    [("bob", "forbidden"), ("ann/doctor", "forbidden"), ("forged", "unauthenticated")],
)
async def test_a_refresh_takes_only_a_token_of_the_same_user(
    hub: Hub, token: str, code: str
) -> None:
    raw = await hub.raw("ann")
    (connection,) = hub.connections
    before = connection.caller
    answer = await raw.call("session:refresh", {"token": token})
    assert answer["error"]["code"] == code
    assert connection.caller == before


async def test_a_revoked_session_is_closed_and_the_users_others_are_not(hub: Hub) -> None:
    phone, desktop = await hub.raw("ann/patient/phone"), await hub.raw("ann/patient/desktop")
    hub.connections.close_session("phone")
    assert await phone.closed() == 1000
    assert (await desktop.call("nothing", {}))["ok"]


async def test_a_revoked_socket_runs_nothing_more(hub: Hub) -> None:
    raw = await hub.raw("ann/patient/phone")
    await raw.emit(0, "hold", {"text": "before"})
    await raw.emit(1, "echo", {"text": "after"})
    await until(lambda: hub.book.ran == ["before"])
    hub.connections.close_session("phone")
    hub.book.gate.set()
    await raw.closed()
    await until(lambda: hub.sockets == 0)
    assert hub.book.ran == ["before"]


async def test_a_revoked_socket_runs_nothing_that_waited_for_its_place(hub: Hub) -> None:
    raw = await hub.raw("ann/patient/phone")
    for n in range(OUTSTANDING_MAX):
        await raw.emit(n, "later", {"text": "before"})
    await raw.emit(None, "echo", {"text": "after"})
    await until(lambda: len(hub.book.ran) == OUTSTANDING_MAX)
    hub.connections.close_session("phone")
    hub.book.future("before").set_result("before")
    await raw.closed()
    await until(lambda: hub.sockets == 0)
    assert "after" not in hub.book.ran


async def test_a_session_revoked_elsewhere_is_closed_by_the_sweep(start: Start) -> None:
    hub = await start(sweep_seconds=0.02)
    revoked, kept = await hub.raw("ann/patient/old"), await hub.raw("ann/patient/new")
    hub.signer.revoked.add("old")
    sweeping = asyncio.create_task(hub.guard.run())
    assert await revoked.closed() == 1000
    sweeping.cancel()
    assert (await kept.call("nothing", {}))["ok"]


async def test_after_a_refresh_the_new_session_counts(hub: Hub) -> None:
    raw = await hub.raw("ann/patient/old")
    await raw.call("session:refresh", {"token": "ann/patient/new"})
    hub.connections.close_session("old")
    assert (await raw.call("nothing", {}))["ok"]
    hub.connections.close_session("new")
    assert await raw.closed() == 1000


async def test_expiry_holds_while_revocations_cannot_be_asked_for(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(_sessions: Any) -> Any:
        raise ConnectionError

    monkeypatch.setattr(hub.guard, "_revoked_among", away)
    raw = await hub.raw()
    hub.clock.advance(15 * MINUTE)
    with capture_logs() as logs:
        await hub.guard.sweep()
    assert [entry["event"] for entry in logs if entry["log_level"] == "error"] == [
        "revocations_unknown"
    ]
    assert await raw.closed() == 1000
