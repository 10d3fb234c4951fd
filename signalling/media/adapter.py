"""All that Wenzhen knows of aiortc's inside: the one place that names its private attributes.

aiortc decodes what it receives and encodes what it sends. Here its peer connections do ICE, DTLS
and SRTP alone: a `Wire` takes the packets before its receivers and sends past its senders, which
are never started.
"""

import importlib.metadata
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from aiortc import RTCDtlsTransport, RTCPeerConnection, RTCRtpTransceiver
from aiortc.rtcrtpparameters import RTCRtpParameters
from pylibsrtp import Error as SrtpError

WRITTEN_FOR = "1.16."


class UnknownVersion(Exception):
    """Another aiortc is installed than this file was written for."""


class Receiver(Protocol):
    """Takes what a wire brings: decrypted, and otherwise as the other end wrote it."""

    async def take_rtp(self, data: bytes) -> None: ...

    async def take_rtcp(self, data: bytes) -> None: ...


def check_version(installed: str | None = None) -> None:
    """Refuse an aiortc whose private attributes may have changed. Raises UnknownVersion."""
    installed = installed or importlib.metadata.version("aiortc")
    if not installed.startswith(WRITTEN_FOR):
        raise UnknownVersion(
            f"aiortc {installed} is installed, but signalling/media/adapter.py is written for "
            f"{WRITTEN_FOR}*: read the change log of aiortc, run tests/signalling/media, and then "
            "name the new version here and in pyproject.toml."
        )


class Wire:
    """The packets of one peer connection, which must have one transport: MAX_BUNDLE."""

    def __init__(self, connection: RTCPeerConnection) -> None:
        self._connection = connection
        self._dtls: RTCDtlsTransport | None = None

    def open_to(self, receiver: Receiver) -> None:
        """Bring what comes to the receiver, from when the connection has a transceiver."""
        self._dtls = self._connection.getTransceivers()[0].receiver.transport

        async def rtp(data: bytes, arrival_time_ms: int) -> None:  # noqa: ARG001  # aiortc's name
            await receiver.take_rtp(data)

        self._dtls._handle_rtp_data = rtp  # type: ignore[method-assign]  # that is the point
        self._dtls._handle_rtcp_data = receiver.take_rtcp  # type: ignore[method-assign]  # as above

    @property
    def open(self) -> bool:
        return self._dtls is not None and self._dtls.state == "connected"

    async def send(self, data: bytes) -> None:
        """Send RTP or RTCP; what the wire can't take is lost, as on any network."""
        if self._dtls is None:
            return
        try:
            await self._dtls._send_rtp(data)
        except (ConnectionError, SrtpError):
            # it is not open yet, or no more
            return

    @property
    def candidate(self) -> str | None:
        """The kind of the other end's ICE candidate in use."""
        pair = self._dtls.transport._connection._nominated.get(1) if self._dtls else None
        return pair.remote_candidate.type if pair else None


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
