"""What the adapter takes from aiortc's inside is still there, and does what it is used for."""

import asyncio
import threading

import pytest
from aiortc import RTCBundlePolicy, RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.rtcrtpparameters import RTCRtpParameters
from aiortc.rtp import RtcpPacket, RtpPacket

from signalling.media.adapter import UnknownVersion, Wire, check_version, ssrcs, take_over
from tests.signalling.media.guests import Guest, until


class Heard:
    """Counts what a wire brings."""

    def __init__(self) -> None:
        self.rtp: list[RtpPacket] = []
        self.rtcp: list[object] = []

    def take_rtp(self, data: bytes) -> None:
        self.rtp.append(RtpPacket.parse(data))

    def take_rtcp(self, data: bytes) -> None:
        self.rtcp.extend(RtcpPacket.parse(data))


def test_the_installed_aiortc_is_the_one_the_adapter_was_written_for() -> None:
    check_version()


@pytest.mark.parametrize(
    ("installed", "sentence"),
    [
        ({"aiortc": "1.17.0", "aioice": "0.13.0"}, r"aiortc 1\.17\.0 is installed, but .* 1\.16\."),
        ({"aiortc": "1.16.1", "aioice": "0.14.0"}, r"aioice 0\.14\.0 is installed, but .* 0\.13\."),
    ],
)
def test_another_version_is_refused_in_a_clear_sentence(
    installed: dict[str, str], sentence: str
) -> None:
    with pytest.raises(UnknownVersion, match=sentence):
        check_version(installed)


async def test_a_wire_brings_packets_and_aiortc_decodes_nothing() -> None:
    guest = Guest("doctor", 440, None)
    here = RTCPeerConnection(
        RTCConfiguration(iceServers=[], bundlePolicy=RTCBundlePolicy.MAX_BUNDLE)
    )
    heard, agreed = Heard(), asyncio.Event()
    threads = {thread.name for thread in threading.enumerate()}

    async def agree(parameters: RTCRtpParameters) -> None:
        if parameters.codecs:
            agreed.set()

    try:
        transceiver = here.addTransceiver("audio", direction="sendrecv")
        wire = Wire(here)
        wire.open_to(heard)
        take_over(transceiver, receiving=agree, sending=agree)
        await here.setRemoteDescription(RTCSessionDescription(await guest.offer(), "offer"))
        await here.setLocalDescription(await here.createAnswer())
        await guest.take_answer(here.localDescription.sdp)

        await until(lambda: len(heard.rtp) > 5 and len(heard.rtcp) > 0, "packets come")
        assert agreed.is_set()
        assert wire.open
        assert wire.candidate in {"host", "prflx"}
        assert f"a=ssrc:{ssrcs(transceiver)[0]}" in here.localDescription.sdp
        mine = RtpPacket(payload_type=96, ssrc=ssrcs(transceiver)[0], payload=b"\xf8\xff\xfe")
        wire.send(mine.serialize())
        started = {thread.name for thread in threading.enumerate()} - threads
        # the guest's own decoder is the only one
        assert len([name for name in started if name.endswith("-decoder")]) <= 1
    finally:
        await here.close()
        await guest.close()
    # a closed wire loses what it is given
    wire.send(mine.serialize())
