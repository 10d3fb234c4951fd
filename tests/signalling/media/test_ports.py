"""The UDP ports of media: in the range that a firewall lets through, and free again."""

import random
import re
from pathlib import Path

import pytest
from aioice.ice import get_host_addresses
from pydantic import ValidationError

from care.errors import Unavailable
from care.policy import MediaPolicy
from tests.signalling.media.guests import Guest
from tests.signalling.media.test_workers import Relay, relaying


def some_ports(count: int) -> tuple[int, int]:
    """Choose a range that the system gives to nobody by itself."""
    first = random.randrange(20_000, 32_000 - count)  # noqa: S311  # no secret
    return first, first + count - 1


async def bound(relay: Relay, worker: str, call: str, user: str) -> set[tuple[str, int]]:
    """Let a guest join; give the addresses and ports that the answer tells."""
    guest = Guest(user, 440)
    relay.guests.append(guest)
    answer = await relay.workers.join(worker, call, user, await guest.offer())
    found = re.findall(r"^a=candidate:\S+ 1 udp \d+ (\S+) (\d+)", answer, re.MULTILINE)
    # each section of the description tells them
    return {(host, int(port)) for host, port in found}


async def test_media_keep_to_the_range_which_workers_share(tmp_path: Path) -> None:
    first, last = ports = some_ports(4)
    async with relaying(MediaPolicy(workers=2, ports=ports), tmp_path) as relay:
        workers = [await relay.workers.place() for _ in range(2)]
        assert len(set(workers)) == 2
        await relay.talk(workers[0], "one")
        await relay.workers.close(workers[0], "one")
        used: set[tuple[str, int]] = set()
        for call, worker in enumerate(workers):
            for user in ("doctor", "patient"):
                used |= await bound(relay, worker, f"call {call}", user)
        hosts = get_host_addresses(use_ipv4=True, use_ipv6=True)
        assert used == {(host, port) for host in hosts for port in range(first, last + 1)}


async def test_a_range_that_is_used_up_refuses_until_a_call_ends(tmp_path: Path) -> None:
    policy = MediaPolicy(ports=some_ports(2))
    async with relaying(policy, tmp_path) as relay:
        worker = await relay.workers.place()
        await relay.talk(worker, "first")
        with pytest.raises(Unavailable, match="通话线路繁忙"):
            await bound(relay, worker, "second", "doctor")
        await relay.workers.close(worker, "first")
        await relay.hang_up()
        await relay.talk(worker, "second")


@pytest.mark.parametrize("ports", [(80, 90), (2000, 1999), (60_000, 65_536), (2000,)])
def test_a_range_that_is_none_is_refused(ports: tuple[int, ...]) -> None:
    with pytest.raises(ValidationError, match="ports"):
        MediaPolicy.model_validate({"ports": ports})
