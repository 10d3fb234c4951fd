"""The packets of one peer connection: which stream each belongs to, and what RTCP says of it."""

import struct
from collections.abc import Iterable

from aiortc.rtcrtpparameters import RTCRtpParameters
from aiortc.rtp import (
    RTCP_PSFB_APP,
    RTCP_PSFB_FIR,
    RTCP_PSFB_PLI,
    RTCP_RTPFB_NACK,
    AnyRtcpPacket,
    HeaderExtensionsMap,
    RtcpPacket,
    RtcpPsfbPacket,
    RtcpRrPacket,
    RtcpRtpfbPacket,
    RtcpSrPacket,
    RtpPacket,
    pack_remb_fci,
    unpack_remb_fci,
)

from care.policy import MediaPolicy
from signalling.media.inbound import Inbound, Send
from signalling.media.outbound import Outbound
from signalling.media.tap import PacketTap

AUDIO_BPS = 64_000
"""Of what a way bears, so much is each sound's."""
MALFORMED = (ValueError, struct.error, IndexError)
"""What aiortc's parsers raise for a packet that lies about its lengths."""


class Traffic:
    """Routes what comes, and writes the reports of what came and went."""

    def __init__(
        self, user: str, send: Send, policy: MediaPolicy, taps: Iterable[PacketTap]
    ) -> None:
        self.sources: dict[str, Inbound] = {}
        self.outbounds: list[Outbound] = []
        self._user, self._send, self._policy, self._taps = user, send, policy, taps
        self._extensions = HeaderExtensionsMap()

    def open_source(self, kind: str, own_ssrc: int) -> Inbound:
        source = Inbound(self._user, kind, own_ssrc, self._send, self._taps)
        self.sources[kind] = source
        return source

    def open_outbound(self, kind: str, ssrc: int, rtx_ssrc: int) -> Outbound:
        self.outbounds.append(Outbound(kind, ssrc, rtx_ssrc, self._send))
        return self.outbounds[-1]

    def agree(self, source: Inbound, agreed: RTCRtpParameters) -> None:
        """Take the source's packets from now on."""
        source.agree(agreed.codecs)
        self._extensions.configure(agreed)

    def close(self) -> None:
        for outbound in self.outbounds:
            outbound.attach(None)
        for source in self.sources.values():
            source.close()

    def take_rtp(self, data: bytes) -> None:
        try:
            packet = RtpPacket.parse(data, self._extensions)
        except MALFORMED:
            return
        for source in self.sources.values():
            if source.knows(packet.payload_type):
                source.take(packet)
                return

    def take_rtcp(self, data: bytes) -> None:
        try:
            packets = RtcpPacket.parse(data)
        except MALFORMED:
            return
        for packet in packets:
            self._take(packet)

    def report(self) -> None:
        """Send what RTCP has to say, once a second."""
        for outbound in self.outbounds:
            if (report := outbound.sender_report()) is not None:
                self._send(bytes(report))
        for source in self.sources.values():
            info = source.receiver_info()
            if info is None:
                continue
            self._send(bytes(RtcpRrPacket(ssrc=source.own_ssrc, reports=[info])))
            if source.kind == "video" and (limit := source.limit) is not None:
                self._send(self._estimate(source, limit))

    def _estimate(self, source: Inbound, limit: int) -> bytes:
        """Ask a side to send no more than the poorest of the ways its pictures go (REMB)."""
        least, most = self._policy.min_kbps * 1_000, self._policy.max_kbps * 1_000
        fci = pack_remb_fci(max(least, min(limit, most)), [source.ssrc or 0])
        return bytes(RtcpPsfbPacket(fmt=RTCP_PSFB_APP, ssrc=source.own_ssrc, media_ssrc=0, fci=fci))

    def _take(self, packet: AnyRtcpPacket) -> None:
        if isinstance(packet, RtcpSrPacket):
            for source in self.sources.values():
                if source.ssrc == packet.ssrc:
                    source.take_report(packet)
        if isinstance(packet, RtcpSrPacket | RtcpRrPacket):
            for report in packet.reports:
                if outbound := self._outbound(report.ssrc):
                    outbound.take_report(report)
        elif isinstance(packet, RtcpRtpfbPacket) and packet.fmt == RTCP_RTPFB_NACK:
            if outbound := self._outbound(packet.media_ssrc):
                outbound.send_again(packet.lost)
        elif isinstance(packet, RtcpPsfbPacket):
            self._take_wish(packet)

    def _take_wish(self, packet: RtcpPsfbPacket) -> None:
        if packet.fmt == RTCP_PSFB_APP:
            try:
                self._share_out(unpack_remb_fci(packet.fci)[0])
            except MALFORMED:
                return
        elif packet.fmt in {RTCP_PSFB_PLI, RTCP_PSFB_FIR}:
            # whom a FIR means stands inside (RFC 5104, 4.3.1)
            inside = packet.fmt == RTCP_PSFB_FIR
            ssrc = int.from_bytes(packet.fci[:4], "big") if inside else packet.media_ssrc
            if outbound := self._outbound(ssrc):
                outbound.ask_key_frame()

    def _share_out(self, downlink: int) -> None:
        """Divide what the way to this side bears among the pictures that go over it."""
        active = [outbound for outbound in self.outbounds if outbound.source is not None]
        pictures = [outbound for outbound in active if outbound.kind == "video"]
        left = max(downlink - AUDIO_BPS * (len(active) - len(pictures)), 0)
        for outbound in pictures:
            outbound.limit = left // len(pictures)

    def _outbound(self, ssrc: int) -> Outbound | None:
        return next((one for one in self.outbounds if one.ssrc == ssrc), None)
