"""A measurement fails when an acknowledged message is missing anywhere."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from bench.hub import Hub
from bench.load import Crowd, LostError, gather_crowd
from tests.server import ServerProcess, server

__all__ = ["server"]


@pytest_asyncio.fixture
async def crowd(server: ServerProcess) -> AsyncIterator[Crowd]:
    """Give two rooms whose members have talked, and fallen silent."""
    hub = Hub(server)
    crowd = await gather_crowd(hub, await hub.make_rooms(2))
    crowd.talk(2)
    await crowd.fall_silent()
    yield crowd
    crowd.close()


async def test_what_was_acknowledged_is_heard_and_read_back(crowd: Crowd) -> None:
    assert all(member.acknowledged for member in crowd.members)
    assert await crowd.check_rooms(2) == sum(len(m.acknowledged) for m in crowd.members)


async def test_a_message_nobody_heard_is_missed(
    crowd: Crowd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.load.ARRIVAL_SECONDS", 0.2)
    crowd.pairs[0].doctor.heard.popitem()
    with pytest.raises(LostError, match="1 acknowledged"):
        await crowd.fall_silent()


async def test_a_message_that_is_not_in_its_room_is_missed(crowd: Crowd) -> None:
    crowd.pairs[1].patient.acknowledged[10_000] = "never stored"
    with pytest.raises(LostError, match="isn't in its room"):
        await crowd.check_rooms(2)


async def test_an_acknowledgement_that_refuses_counts_for_nothing(crowd: Crowd) -> None:
    member = crowd.members[0]
    before = dict(member.acknowledged)
    crowd.tally.open = True
    member.room = "no room of his"
    member.talk(1)
    await crowd.fall_silent()
    assert member.acknowledged == before
    assert crowd.tally.latencies == []
    assert crowd.tally.refused >= 1
