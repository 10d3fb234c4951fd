"""RTP looked into and rewritten: key frames, order, repetition, requests."""

import asyncio
from collections.abc import Callable

import pytest
import pytest_asyncio
from aiortc.rtcrtpparameters import (
    RTCRtpCodecParameters,
    RTCRtpHeaderExtensionParameters,
    RTCRtpParameters,
)
from aiortc.rtp import (
    HeaderExtensions,
    HeaderExtensionsMap,
    RtcpPacket,
    RtcpPsfbPacket,
    RtcpRtpfbPacket,
    RtpPacket,
    is_rtcp,
    unwrap_rtx,
)
from hypothesis import given
from hypothesis import strategies as st

from signalling.media.inbound import ASK_TIMES, Inbound, Missing
from signalling.media.outbound import HISTORY, REPEAT_SECONDS, REPEATS_MAX, Outbound
from signalling.media.packets import MID, SEND_TIME, Extensions, begins_key_frame, behind

VP8 = RTCRtpCodecParameters(mimeType="video/VP8", clockRate=90_000, payloadType=97)
RTX = RTCRtpCodecParameters(
    mimeType="video/rtx", clockRate=90_000, payloadType=98, parameters={"apt": 97}
)
AGREED = RTCRtpParameters(
    codecs=[VP8, RTX],
    headerExtensions=[RTCRtpHeaderExtensionParameters(4, MID)],
    muxId="1",
)
KEY = b"\x10\x00key"
DELTA = b"\x10\x01delta"


@pytest.mark.parametrize(
    ("codec", "payload", "key"),
    [
        ("VP8", b"\x10\x00", True),
        ("VP8", b"\x10\x01", False),
        ("VP8", b"\x00\x00", False),  # not the begin of its partition
        ("VP8", b"\x90\x80\x7f\x00", True),  # a picture number of one byte
        ("VP8", b"\x90\x80\x80\x01\x00", True),  # of two
        ("VP8", b"\x90\xe0\x80\x01\x05\x20\x00", True),  # and layers
        ("VP8", b"\x90\xe0\x80\x01\x05\x20\x01", False),
        ("VP8", b"\x90", False),
        ("VP8", b"", False),
        ("H264", b"\x67\x42", True),
        ("H264", b"\x65\x88", True),
        ("H264", b"\x41\x9a", False),
        ("H264", b"\x78\x00\x08\x67", True),  # several together, the parameters first
        ("H264", b"\x7c\x85", True),  # the first piece of a key frame
        ("H264", b"\x7c\x45", False),  # its last
        ("H264", b"\x67", False),
        ("opus", b"", True),
    ],
)
def test_a_key_frame_is_known_by_its_first_packet(codec: str, payload: bytes, key: bool) -> None:
    assert begins_key_frame(codec, payload) is key


@given(st.sampled_from(["VP8", "H264", "opus"]), st.binary(max_size=12))
def test_no_payload_confuses_the_look_for_key_frames(codec: str, payload: bytes) -> None:
    assert begins_key_frame(codec, payload) in {True, False}


@given(st.integers(0, 0xFFFF), st.integers(-0x7FFF, 0x7FFF))
def test_order_survives_the_wrap_of_sequence_numbers(newest: int, distance: int) -> None:
    assert behind(newest, (newest - distance) & 0xFFFF) == distance


@given(st.booleans(), st.integers(0, 127), st.integers(0, 0xFFFFFF), st.text("abc", min_size=1))
def test_header_extensions_read_as_they_were_written(
    voiced: bool, level: int, send_time: int, mid: str
) -> None:
    agreed = [
        RTCRtpHeaderExtensionParameters(number, uri)
        for number, uri in enumerate(
            [MID, "urn:ietf:params:rtp-hdrext:ssrc-audio-level", SEND_TIME], start=2
        )
    ]
    ids = HeaderExtensionsMap()
    ids.configure(RTCRtpParameters(headerExtensions=agreed))

    block = Extensions(agreed, mid[:16]).write((voiced, level), send_time)

    assert ids.get(0xBEDE, block[4:]) == HeaderExtensions(
        mid=mid[:16], audio_level=(voiced, level), abs_send_time=send_time
    )


class Line:
    """A source and a subscriber of it, whose wires write down what is sent."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.asked: list[bytes] = []
        self.outbound = Outbound("video", 7, 8, self._send)
        self.outbound.agree(AGREED)

    def source(self, user: str = "doctor") -> Inbound:
        source = Inbound(user, "video", 9, self._ask, [])
        source.agree([VP8, RTX])
        return source

    @property
    def packets(self) -> list[RtpPacket]:
        return [RtpPacket.parse(data) for data in self.sent]

    def requests(self, kind: type) -> list[object]:
        said = [packet for data in self.asked for packet in RtcpPacket.parse(data)]
        return [packet for packet in said if isinstance(packet, kind)]

    def _send(self, data: bytes) -> None:
        assert not is_rtcp(data)
        self.sent.append(data)

    def _ask(self, data: bytes) -> None:
        self.asked.append(data)


def video(number: int, payload: bytes = DELTA, ssrc: int = 1, timestamp: int = 0) -> RtpPacket:
    return RtpPacket(97, 0, number & 0xFFFF, timestamp or number * 3_000, ssrc, payload)


@pytest_asyncio.fixture
async def line() -> Line:
    return Line()


async def test_packets_get_the_subscribers_headers(line: Line) -> None:
    source = line.source()
    line.outbound.attach(source)

    for number in (0xFFFE, 0xFFFF, 0x10000):
        source.take(video(number, KEY))

    first, second, third = line.packets
    assert (first.ssrc, first.payload_type, first.payload) == (7, 97, KEY)
    assert second.sequence_number == first.sequence_number + 1
    assert third.sequence_number == first.sequence_number + 2


async def test_pictures_begin_with_a_key_frame(line: Line) -> None:
    source = line.source()
    line.outbound.attach(source)

    for number, payload in enumerate([DELTA, DELTA, KEY, DELTA]):
        source.take(video(number, payload))

    assert [packet.payload for packet in line.packets] == [KEY, DELTA]


async def test_another_source_goes_on_where_the_last_one_stopped(line: Line) -> None:
    first, second = line.source("patient"), line.source("doctor")
    line.outbound.attach(first)
    for number in (100, 101, 102):
        first.take(video(number, KEY))
    line.outbound.attach(second)
    second.take(video(9_000, KEY, ssrc=2, timestamp=5))
    # late ones from before the change would take a number that is used already
    second.take(video(8_999, KEY, ssrc=2, timestamp=5))
    second.take(video(9_001, DELTA, ssrc=2, timestamp=3_005))

    numbers = [packet.sequence_number for packet in line.packets]
    assert numbers == list(range(numbers[0], numbers[0] + 5))
    third, fourth, fifth = line.packets[2:]
    assert 0 < (fourth.timestamp - third.timestamp) & 0xFFFFFFFF < 90_000
    assert fifth.timestamp == (fourth.timestamp + 3_000) & 0xFFFFFFFF


async def test_what_is_missed_is_sent_again_once_at_a_time(line: Line) -> None:
    source = line.source()
    line.outbound.attach(source)
    source.take(video(5, KEY))
    original = line.packets[0]
    await asyncio.sleep(REPEAT_SECONDS)

    line.outbound.send_again([original.sequence_number, original.sequence_number, 1])

    (again,) = line.packets[1:]
    assert (again.ssrc, again.payload_type) == (8, 98)
    assert unwrap_rtx(again, 97, 7).sequence_number == original.sequence_number
    assert unwrap_rtx(again, 97, 7).payload == KEY


async def test_nobody_makes_the_room_send_many_times_what_it_was_sent(line: Line) -> None:
    source = line.source()
    line.outbound.attach(source)
    for number in range(HISTORY):
        source.take(video(number, KEY))
    numbers = [packet.sequence_number for packet in line.packets]
    for _ in range(5):
        await asyncio.sleep(REPEAT_SECONDS)
        line.outbound.send_again(numbers)

    assert len(line.sent) == len(numbers) + REPEATS_MAX


async def test_a_gap_is_asked_for_at_once_and_mended_by_the_repetition(line: Line) -> None:
    source = line.source()
    line.outbound.attach(source)
    source.take(video(10, KEY))
    source.take(video(13))

    (nack,) = line.requests(RtcpRtpfbPacket)
    assert isinstance(nack, RtcpRtpfbPacket)
    assert nack.lost == [11, 12]

    rtx = RtpPacket(98, 0, 1, 33_000, 2, (11).to_bytes(2, "big") + b"\x00late")
    source.take(rtx)

    first, _, late = line.packets
    assert late.sequence_number == first.sequence_number + 1
    assert late.payload == b"\x00late"


def test_what_never_comes_is_given_up() -> None:
    missing = Missing()
    missing.note(0, 0.0)
    asked = [missing.note(2 + n, n * 1.0) for n in range(ASK_TIMES + 2)]

    assert asked == [[1]] * ASK_TIMES + [[], []]
    assert missing.given_up


async def test_key_frames_are_asked_for_at_most_every_half_second(line: Line) -> None:
    source = line.source()
    line.outbound.attach(source)
    source.take(video(1))
    for number in range(2, 200):
        line.outbound.ask_key_frame()
        source.take(video(number))
    await settled(lambda: len(line.requests(RtcpPsfbPacket)) == 2)

    # what is on its way is not asked for again
    line.outbound.ask_key_frame()
    source.take(video(200, KEY))
    await asyncio.sleep(0.6)
    assert len(line.requests(RtcpPsfbPacket)) == 2
    source.close()


async def test_the_poorest_subscriber_limits_the_source(line: Line) -> None:
    source = line.source()
    other = Outbound("video", 17, 18, line._send)
    line.outbound.attach(source)
    other.attach(source)
    assert source.limit is None

    line.outbound.limit, other.limit = 900_000, 300_000
    assert source.limit == 300_000

    other.attach(None)
    assert source.limit == 900_000


async def settled(holds: Callable[[], bool]) -> None:
    """Wait for what a timer does."""
    async with asyncio.timeout(5):
        while not holds():  # noqa: ASYNC110  # the wire tells nobody; bounded by the timeout
            await asyncio.sleep(0.01)
