"""All that Wenzhen knows of the inside of aiortc and aioice: the one place that names it.

aiortc decodes what it receives and encodes what it sends. Here its peer connections do ICE, DTLS
and the keys of SRTP alone: a `Wire` takes the packets at the sockets and sends them there, past
aiortc's receivers and senders, which are never started, and past its queue and task for each.
"""

import importlib.metadata
import struct
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from typing import Any, Protocol

import structlog
from aioice import stun
from aioice.ice import Connection, StunProtocol
from aiortc import RTCDtlsTransport, RTCPeerConnection, RTCRtpTransceiver
from aiortc.rtcdtlstransport import State
from aiortc.rtcrtpparameters import RTCRtpParameters
from pylibsrtp import Error as SrtpError

from care.errors import Unavailable
from care.media import BUSY

WRITTEN_FOR: Mapping[str, str] = {"aiortc": "1.16.", "aioice": "0.13."}
FAILURES_LOGGED = 3
"""Of each wire; who sends one such packet can send any number."""

Address = tuple[Any, ...]

logger = structlog.get_logger(__name__)


class UnknownVersion(Exception):
    """Another aiortc or aioice is installed than this file was written for."""


class Receiver(Protocol):
    """Takes what a wire brings: decrypted, and otherwise as the other end wrote it."""

    def take_rtp(self, data: bytes) -> None: ...

    def take_rtcp(self, data: bytes) -> None: ...


def check_version(installed: Mapping[str, str] | None = None) -> None:
    """Refuse libraries whose private attributes may have changed. Raises UnknownVersion."""
    for name, known in WRITTEN_FOR.items():
        version = installed[name] if installed else importlib.metadata.version(name)
        if not version.startswith(known):
            raise UnknownVersion(
                f"{name} {version} is installed, but signalling/media/adapter.py is written for "
                f"{known}*: read the change log of {name}, run tests/signalling/media, and then "
                "name the new version here and in pyproject.toml."
            )


class Wire:
    """The packets of one peer connection, which must have one transport: MAX_BUNDLE."""

    def __init__(self, connection: RTCPeerConnection) -> None:
        self._connection = connection
        self._dtls: RTCDtlsTransport | None = None
        self._ice: Connection | None = None
        self._receiver: Receiver | None = None
        self._peers: set[Address] = set()
        self._failures = 0

    def open_to(self, receiver: Receiver) -> None:
        """Bring what comes to the receiver.

        To be called when the connection has a transceiver, and before it has a local description.
        """
        self._receiver = receiver
        self._dtls = self._connection.getTransceivers()[0].receiver.transport
        ice = self._ice = self._dtls.transport._connection
        gather = ice.gather_candidates

        async def gather_and_listen() -> None:
            await gather()
            if not ice._protocols:
                raise Unavailable(BUSY)
            for protocol in ice._protocols:
                listen = partial(self._arrive, protocol, protocol.datagram_received)
                protocol.datagram_received = listen  # type: ignore[method-assign]  # the point

        ice.gather_candidates = gather_and_listen  # type: ignore[method-assign]  # sockets are there then

    @property
    def open(self) -> bool:
        return self._dtls is not None and self._dtls._state is State.CONNECTED

    def send(self, data: bytes) -> None:
        """Send RTP or RTCP; what the wire can't take is lost, as on any network."""
        dtls = self._dtls
        if dtls is None or self._ice is None or dtls._state is not State.CONNECTED:
            return
        pair = self._ice._nominated.get(1)
        if pair is None:
            return
        try:
            srtp = dtls._tx_srtp
            packet = srtp.protect_rtcp(data) if _is_rtcp(data) else srtp.protect(data)
        except (SrtpError, ValueError):
            return  # a number used before, or longer than libsrtp's buffer
        pair.protocol.transport.sendto(packet, pair.remote_addr)

    @property
    def candidate(self) -> str | None:
        """The kind of the other end's ICE candidate in use."""
        pair = self._ice._nominated.get(1) if self._ice else None
        return pair.remote_candidate.type if pair else None

    def _arrive(
        self, protocol: StunProtocol, check: Callable[[bytes, Address], None],
        data: bytes, sender: Address,
    ) -> None:  # fmt: skip
        """Sort a datagram by its first byte (RFC 7983); `check` takes STUN."""
        if not data:
            return  # aiortc would look at its first byte, and close
        if data[0] < 4:
            if _is_stun(data):
                check(data, sender)
        elif not self._knows(sender):
            return
        elif 127 < data[0] < 192:
            self._open_packet(data)
        elif 19 < data[0] < 64:
            protocol.receiver.data_received(data, 1)

    def _knows(self, sender: Address) -> bool:
        """Tell whether ICE has to do with an address; aioice takes data from any."""
        address = sender[:2]
        if address in self._peers:
            return True
        pairs = self._ice._check_list if self._ice else []
        if all(pair.remote_addr != address for pair in pairs):
            return False
        self._peers.add(address)
        return True

    def _open_packet(self, data: bytes) -> None:
        srtp = self._dtls._rx_srtp if self._dtls else None
        if srtp is None or self._receiver is None or len(data) < 2:
            return
        try:
            if _is_rtcp(data):
                self._receiver.take_rtcp(srtp.unprotect_rtcp(data))
            else:
                self._receiver.take_rtp(srtp.unprotect(data))
        except SrtpError:
            return  # of another key, or seen already
        except Exception:  # whatever one packet leads to must cost that packet alone
            self._failures += 1
            if self._failures <= FAILURES_LOGGED:
                logger.exception("media_packet_failed")


def _is_rtcp(data: bytes) -> bool:
    """Tell RTCP from RTP on one transport (RFC 5761)."""
    return 192 <= data[1] <= 223


def _is_stun(data: bytes) -> bool:
    """Look before aioice does, which takes what is no STUN for media, and raises on some."""
    try:
        stun.parse_message(data)
    except (ValueError, struct.error):
        return False
    return True


def take_over(
    transceiver: RTCRtpTransceiver,
    *,
    receiving: Callable[[RTCRtpParameters], Coroutine[Any, Any, None]],
    sending: Callable[[RTCRtpParameters], Coroutine[Any, Any, None]],
) -> None:
    """Have these called in place of aiortc's receiver and sender, each time both ends agreed."""
    receiver, sender = transceiver.receiver, transceiver.sender
    receiver.receive = receiving  # type: ignore[method-assign, assignment]  # no decoder, no thread
    sender.send = sending  # type: ignore[method-assign, assignment]  # no encoder, no reports of its own
    receiver.stop = _nothing  # type: ignore[method-assign]  # it was never started
    sender.stop = _nothing  # type: ignore[method-assign]  # it was never started


def ssrcs(transceiver: RTCRtpTransceiver) -> tuple[int, int]:
    """Tell the SSRCs that the description promises: the stream's, and its retransmissions'."""
    return transceiver.sender._ssrc, transceiver.sender._rtx_ssrc


async def _nothing() -> None:
    return
