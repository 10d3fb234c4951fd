"""Media workers as processes of their own: calls through them, limits, deaths."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest
import pytest_asyncio

from bench.processes import children_running
from care.errors import BadRequest, Conflict, Unavailable
from care.media import RecordingState, SideStats
from care.policy import MediaPolicy
from realtime.media_workers import MediaWorkerProcesses, socket_paths
from realtime.settings import LogSettings
from signalling.media.client import MediaWorkers
from tests.signalling.media.guests import Guest, until


@dataclass
class Events:
    """Notes what the relay tells."""

    lost_at: dict[str, float] = field(default_factory=dict)
    stats: dict[tuple[str, str], SideStats] = field(default_factory=dict)
    others: list[tuple[object, ...]] = field(default_factory=list)

    def offered(self, call: str, user: str, sdp: str) -> None:
        self.others.append((call, user, sdp))

    def measured(self, call: str, stats: SideStats) -> None:
        self.stats[call, stats.user] = stats

    def lost(self, call: str, worker: str) -> None:
        assert worker
        self.lost_at[call] = asyncio.get_running_loop().time()

    def recording(self, call: str, recording: str, state: RecordingState, problem: str) -> None:
        self.others.append((call, recording, state, problem))


@dataclass
class Relay:
    workers: MediaWorkers
    events: Events
    guests: list[Guest] = field(default_factory=list)

    async def join(self, worker: str, call: str, user: str, hertz: int) -> Guest:
        guest = Guest(user, hertz)
        self.guests.append(guest)
        answer = await self.workers.join(worker, call, user, await guest.offer())
        await guest.take_answer(answer)
        return guest

    async def talk(self, worker: str, call: str) -> tuple[Guest, Guest]:
        """Bring two sides together and see that media flow both ways."""
        doctor = await self.join(worker, call, "doctor", 440)
        patient = await self.join(worker, call, "patient", 660)
        await until(partial(doctor.hears, 660), "the doctor hears the patient")
        await until(partial(patient.hears, 440), "the patient hears the doctor")
        await until(partial(doctor.sees, 1), "the doctor sees the patient")
        return doctor, patient

    async def hang_up(self) -> None:
        while self.guests:
            await self.guests.pop().close()


@asynccontextmanager
async def relaying(policy: MediaPolicy, folder: Path) -> AsyncIterator[Relay]:
    processes, events = MediaWorkerProcesses(policy, LogSettings(), folder), Events()
    sockets = socket_paths(processes.start(), policy.workers)
    relay = Relay(MediaWorkers(sockets, events), events)
    try:
        yield relay
    finally:
        await relay.hang_up()
        await relay.workers.stop()
        await processes.stop()


@pytest_asyncio.fixture(scope="module")
async def relay(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Relay]:
    folder = tmp_path_factory.mktemp("recordings")
    async with relaying(MediaPolicy(workers=2, calls_max=2), folder) as relay:
        yield relay


def worker_pids() -> list[int]:
    """List the worker processes of these tests."""
    return children_running(os.getpid(), "realtime.media_worker")


async def test_two_sides_talk_through_a_worker_process(relay: Relay) -> None:
    worker = await relay.workers.place()
    await relay.talk(worker, "talk")
    await until(lambda: ("talk", "doctor") in relay.events.stats, "it is measured", 10)
    stats = relay.events.stats["talk", "doctor"]
    # two sides need no further offer
    assert relay.events.others == []
    assert stats.candidate in {"host", "prflx"}
    assert stats.loss == 0
    assert stats.bitrate_kbps is not None
    await relay.workers.close(worker, "talk")
    await relay.hang_up()


async def test_a_dead_workers_calls_are_lost_at_once_and_begin_anew(relay: Relay) -> None:
    worker = await relay.workers.place()
    await relay.talk(worker, "moved")
    await relay.hang_up()
    for pid in worker_pids():
        os.kill(pid, signal.SIGKILL)
    killed = asyncio.get_running_loop().time()
    await until(lambda: "moved" in relay.events.lost_at, "the call is lost")
    assert relay.events.lost_at["moved"] - killed < 1
    assert not relay.workers.runs(worker)
    with pytest.raises(Unavailable):
        await relay.workers.join(worker, "moved", "doctor", "v=0")

    another = await relay.workers.place()

    assert another != worker
    await relay.talk(another, "moved")
    assert asyncio.get_running_loop().time() - killed < 10
    await relay.workers.close(another, "moved")
    await relay.hang_up()


async def test_a_worker_that_hangs_is_given_up(relay: Relay) -> None:
    worker = await relay.workers.place()
    await relay.join(worker, "hung", "doctor", 440)
    pids = worker_pids()
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        await until(lambda: "hung" in relay.events.lost_at, "the call is lost", 30)
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
    await relay.hang_up()


async def test_workers_take_so_many_calls_and_no_more(tmp_path: Path) -> None:
    async with relaying(MediaPolicy(workers=2, calls_max=1), tmp_path) as relay:
        placed = {await relay.workers.place(), await relay.workers.place()}
        assert len(placed) == 2, "each call goes where there is the least to do"
        with pytest.raises(Unavailable):
            await relay.workers.place()
        first = placed.pop()
        await relay.join(first, "one", "doctor", 440)
        guest = Guest("doctor", 440)
        relay.guests.append(guest)
        with pytest.raises(Unavailable):
            await relay.workers.join(first, "two", "doctor", await guest.offer())


async def test_what_is_no_offer_is_refused_and_harms_nobody(relay: Relay) -> None:
    worker = await relay.workers.place()
    await relay.talk(worker, "good")
    good = relay.guests[0].pc.localDescription.sdp
    for bad in (
        "", "v=0", good.replace("m=audio", "m=application"), good.replace("opus", "none"),
        good.replace("VP8", "AV1"), good.replace("a=setup", "a=set"),
        good.replace("a=ice-pwd", "a=ice-none"), good.replace("sendrecv", "sideways"),
    ):  # fmt: skip
        with pytest.raises(BadRequest):
            await relay.workers.join(worker, "bad", "doctor", bad)
    with pytest.raises(Conflict):
        await relay.workers.take_answer(worker, "good", "doctor", good)
    for candidate in ("candidate:1 1 udp 1 printer.local 9 typ host", "candidate:1 1 tcp", ""):
        said = {"candidate": candidate, "sdpMid": "0"}
        await relay.workers.take_candidate(worker, "good", "doctor", said)
    heard = sum(ear.frames for ear in relay.guests[0].ears)
    await until(lambda: sum(e.frames for e in relay.guests[0].ears) > heard, "the talk goes on")
    await relay.workers.close(worker, "good")
    await relay.workers.close(worker, "bad")
    await relay.hang_up()


async def test_an_end_with_another_certificate_hears_nothing(relay: Relay) -> None:
    worker = await relay.workers.place()
    talker = await relay.join(worker, "false", "doctor", 440)
    thief = Guest("patient", 660)
    relay.guests.append(thief)
    offer = await thief.offer()
    at = offer.index("a=fingerprint:sha-256 ") + len("a=fingerprint:sha-256 ")
    other = "00" if offer[at : at + 2] != "00" else "11"
    mark = offer[at : at + 95]
    answer = await relay.workers.join(
        worker, "false", "patient", offer.replace(mark, other + mark[2:])
    )
    await thief.take_answer(answer)

    honest = await relay.join(worker, "false", "surgeon", 880)
    await until(partial(honest.hears, 440), "another one hears the talker")
    assert [ear.frames for ear in thief.ears] in ([], [0])
    assert not any(one.hears(660) for one in (talker, honest))
    await relay.workers.close(worker, "false")
    await relay.hang_up()
