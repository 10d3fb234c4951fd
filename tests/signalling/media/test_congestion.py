"""A lossy way between the sides and their room: what is repeated, asked for, and slowed down."""

import asyncio
from collections.abc import AsyncIterator
from typing import TypeVar

import pytest_asyncio
from aiortc.rtp import (
    RTCP_PSFB_APP,
    RTCP_PSFB_PLI,
    RTCP_RTPFB_NACK,
    RtcpPacket,
    RtcpPsfbPacket,
    RtcpRtpfbPacket,
    RtpPacket,
    unpack_remb_fci,
)

from bench.packet_bots import PacketBot, Tally
from care.policy import MediaPolicy
from signalling.media.inbound import KEY_FRAME_SECONDS, Inbound
from tests.signalling.media.guests import until
from tests.signalling.media.packets_of_bots import Talk

Request = TypeVar("Request", RtcpPsfbPacket, RtcpRtpfbPacket)

LOSS = 0.03
PACKETS = 1_000
LEAST_BPS = 50_000
REMAINING = 0.6
"""Of what was lost, what may be missing in the end: repetitions get lost too, or are on the way."""


@pytest_asyncio.fixture
async def talk() -> AsyncIterator[Talk]:
    talk = Talk("congested", MediaPolicy(min_kbps=LEAST_BPS // 1_000))
    yield talk
    await talk.close()


def part_lost(counted: Tally) -> float:
    return counted.lost / (counted.received + counted.lost)


class Requests:
    """Counts what the room asks a bot for."""

    def __init__(self, bot: PacketBot) -> None:
        self._said: list[bytes] = []
        bot.traffic.rtcp = self._said

    def of(self, kind: type[Request], fmt: int) -> list[Request]:
        said = [packet for data in self._said for packet in RtcpPacket.parse(data)]
        return [one for one in said if isinstance(one, kind) and one.fmt == fmt]

    @property
    def limits(self) -> list[int]:
        return [unpack_remb_fci(one.fci)[0] for one in self.of(RtcpPsfbPacket, RTCP_PSFB_APP)]


class Heard:
    """What came to the room of a side, healed."""

    def __init__(self) -> None:
        self.video, self.audio = Tally(), Tally()

    def on_rtp(self, user: str, kind: str, _codec: str, packet: RtpPacket, _arrival: float) -> None:
        if user == "doctor":
            (self.video if kind == "video" else self.audio).count(packet)

    def on_sender_report(self, user: str, kind: str, ssrc: int, ntp: int, rtp: int) -> None: ...

    def on_left(self, user: str) -> None: ...


async def test_lost_pictures_are_repeated_on_both_ways(talk: Talk) -> None:
    doctor = await talk.join("doctor", loss=LOSS)
    patient = await talk.join("patient", loss=LOSS)
    asked, heard = Requests(doctor), Heard()
    talk.room.attach(heard)
    await talk.flows()

    await until(lambda: doctor.sent > PACKETS, "enough was sent", 60)

    # sound isn't repeated, so it shows what was lost: once to the room, and again from it
    to_room, to_patient = part_lost(heard.audio), part_lost(*patient.tallies("audio"))
    assert to_room > LOSS / 2
    assert to_patient > LOSS
    assert part_lost(heard.video) < to_room * REMAINING
    assert part_lost(*patient.tallies("video")) < to_patient * REMAINING
    assert len(asked.of(RtcpRtpfbPacket, RTCP_RTPFB_NACK)) > 5
    assert all(hop.lost > 20 for hop in talk.hops)


async def test_who_asks_for_key_frames_all_the_time_gets_two_a_second(talk: Talk) -> None:
    doctor = await talk.join("doctor", loss=LOSS)
    patient = await talk.join("patient", loss=LOSS)
    await talk.flows()
    asked, (player,) = Requests(doctor), [one for one in doctor.players if one.kind == "video"]
    loop, before = asyncio.get_running_loop(), player.asked
    begun = loop.time()
    stream = next(ssrc for ssrc, one in patient.traffic.streams.items() if one.kind == "video")
    wish = bytes(RtcpPsfbPacket(fmt=RTCP_PSFB_PLI, ssrc=1, media_ssrc=stream))

    while loop.time() - begun < 3.0:
        patient.wire.send(wish)
        await asyncio.sleep(0.01)

    await until(lambda: len(asked.of(RtcpPsfbPacket, RTCP_PSFB_PLI)) >= 3, "some come")
    passed = loop.time() - begun
    requests = len(asked.of(RtcpPsfbPacket, RTCP_PSFB_PLI))
    assert requests <= passed / KEY_FRAME_SECONDS + 1
    assert player.asked - before == requests


async def test_the_slowest_receiver_decides_how_much_is_sent(talk: Talk) -> None:
    doctor = await talk.join("doctor", 2, loss=LOSS)
    await talk.join("patient", 2, loss=LOSS)
    slow = await talk.join("relative", 2)
    await talk.flows()
    asked = Requests(doctor)
    await until(lambda: asked.limits[-1:] > [2 * LEAST_BPS], "the room says what may be sent")

    # two pictures and two sounds go over the slow way
    for stream in slow.traffic.sources.values():
        stream.subscribers.append(Narrow(200_000))
    await until(lambda: asked.limits[-1] == LEAST_BPS, "the doctor is slowed down")

    await talk.room.leave("relative")
    await until(lambda: asked.limits[-1] > 2 * LEAST_BPS, "the others' ways count again")


class Narrow:
    """A subscriber whose way bears only so much."""

    def __init__(self, limit: int) -> None:
        self.limit: int | None = limit

    def forward(self, source: Inbound, packet: RtpPacket, codec: str) -> None: ...
