"""One participant of a media room: the peer connection with it, and what is negotiated over it."""

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Mapping
from typing import Any

import structlog
from aiortc import (
    RTCBundlePolicy,
    RTCConfiguration,
    RTCPeerConnection,
    RTCRtpTransceiver,
    RTCSessionDescription,
)
from aiortc.rtcrtpparameters import RTCRtpParameters
from aiortc.sdp import SessionDescription

from care.errors import BadRequest, Conflict, Unavailable
from care.policy import MediaPolicy
from signalling.media import descriptions
from signalling.media.adapter import Wire, ssrcs, take_over
from signalling.media.descriptions import Codec, Dialect
from signalling.media.outbound import Outbound
from signalling.media.tap import PacketTap
from signalling.media.traffic import Traffic

REPORT_SECONDS = 1.0
ANSWER_SECONDS = 5.0

logger = structlog.get_logger(__name__)


class Slot:
    """A section of the description over which a side is sent another's stream."""

    def __init__(self, transceiver: RTCRtpTransceiver, outbound: Outbound, *, asked: bool) -> None:
        self.transceiver, self.outbound = transceiver, outbound
        self.asked = asked
        """The side itself offered it: it stays when the other one goes."""
        self.told: str | None = None
        """Whose stream the side was told it carries."""

    @property
    def kind(self) -> str:
        return self.outbound.kind

    @property
    def user(self) -> str | None:
        return self.outbound.source.user if self.outbound.source else None


class Side:
    """Negotiates with one device of a user. A device that begins anew is another side."""

    def __init__(
        self,
        user: str,
        codec: Codec | None,
        policy: MediaPolicy,
        taps: Iterable[PacketTap],
        offered: Callable[[str], None],
    ) -> None:
        """`offered` is told of each offer this end makes; its answer goes to `take_answer`."""
        self.user = user
        self.slots: list[Slot] = []
        self._codec, self._policy, self._offered = codec, policy, offered
        self._connection = RTCPeerConnection(
            RTCConfiguration(iceServers=[], bundlePolicy=RTCBundlePolicy.MAX_BUNDLE)
        )
        self._connection.on("connectionstatechange", self._stands)
        self._wire = Wire(self._connection)
        self.traffic = Traffic(user, self._wire.send, policy, taps)
        self._dialect = Dialect()
        self._lock = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._ice = ""
        self._changed = False
        self._overdue: asyncio.TimerHandle | None = None

    @property
    def open(self) -> bool:
        return self._wire.open

    @property
    def candidate(self) -> str | None:
        return self._wire.candidate

    def continues(self, offer: SessionDescription) -> bool:
        """Tell whether an offer is of the device's peer connection as it is known here.

        aiortc knows no ICE restart: one begins a new side, with a certificate of its own.
        """
        return descriptions.ice_of(offer) == self._ice

    async def answer(self, offer: SessionDescription, sdp: str) -> str:
        """Take an offer; give the answer.

        Raises BadRequest; Conflict while our own is out; Unavailable when no port is free.
        """
        async with self._lock:
            if self._connection.signalingState == "have-local-offer":
                raise Conflict("服务器的邀请还没有应答")
            if not self._ice:
                self._ice = descriptions.ice_of(offer)
                self._prepare([section.kind for section in offer.media])
            await self._apply(sdp, "offer")
            return self._written()

    async def take_answer(self, sdp: str) -> None:
        """Take the answer to our offer. Raises BadRequest; Conflict where there was none."""
        async with self._lock:
            if self._connection.signalingState != "have-local-offer":
                raise Conflict("没有等待应答的邀请")
            descriptions.read(sdp, "answer")
            await self._apply(sdp, "answer")
            if self._overdue:
                self._overdue.cancel()

    async def take_candidate(self, said: Mapping[str, Any]) -> None:
        candidate = descriptions.read_candidate(said)
        if candidate is not None and self._connection.remoteDescription is not None:
            await self._connection.addIceCandidate(candidate)

    def add_slot(self, kind: str) -> Slot:
        """Open another section to this side; `renegotiate` then."""
        transceiver = self._connection.addTransceiver(kind, direction="sendonly")
        transceiver.setCodecPreferences(descriptions.preferences(kind, self._codec))
        return self._take_over(transceiver, asked=False)

    def renegotiate(self) -> None:
        """Offer what has changed, as soon as the connection stands and nothing else is said."""
        self._changed = True
        self._begin(self._offer())

    def run(self) -> None:
        """Report each second, and offer what had to wait, until closed."""
        self._begin(self._run())

    async def close(self) -> None:
        self.traffic.close()
        if self._overdue:
            self._overdue.cancel()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._connection.close()

    def _prepare(self, kinds: list[str]) -> None:
        """Make the sections before the offer is applied: afterwards they would take any codec."""
        if "video" in kinds and self._codec is None:
            raise BadRequest.field("sdp", "没有可用的视频编码：需要 VP8 或 H.264")
        for number, kind in enumerate(kinds):
            # one stream a kind is taken from a side; further sections are for those of others
            direction = "sendonly" if kind in kinds[:number] else "sendrecv"
            transceiver = self._connection.addTransceiver(kind, direction=direction)
            transceiver.setCodecPreferences(descriptions.preferences(kind, self._codec))
            self._take_over(transceiver, asked=True)
        self._wire.open_to(self.traffic)

    def _take_over(self, transceiver: RTCRtpTransceiver, *, asked: bool) -> Slot:
        ssrc, rtx_ssrc = ssrcs(transceiver)
        outbound = self.traffic.open_outbound(transceiver.kind, ssrc, rtx_ssrc)
        takes = transceiver.direction == "sendrecv"
        source = self.traffic.open_source(transceiver.kind, ssrc) if takes else None

        async def receiving(agreed: RTCRtpParameters) -> None:
            if source is not None and not source.agreed:
                self.traffic.agree(source, agreed)

        async def sending(agreed: RTCRtpParameters) -> None:
            if not outbound.agreed:
                outbound.agree(agreed)

        take_over(transceiver, receiving=receiving, sending=sending)
        self.slots.append(Slot(transceiver, outbound, asked=asked))
        return self.slots[-1]

    async def _apply(self, sdp: str, kind: str) -> None:
        """Hand a description to aiortc, and answer an offer. Raises BadRequest where it refuses."""
        said = RTCSessionDescription(descriptions.without_names(sdp), kind)
        try:
            await self._connection.setRemoteDescription(said)
            if kind == "offer":
                await self._connection.setLocalDescription(await self._connection.createAnswer())
        except Unavailable:
            raise
        except Exception as error:  # what it raises depends on what is wrong with the text
            logger.info("description_refused", user=self.user, reason=type(error).__name__)
            raise BadRequest.field("sdp", "无法使用的 SDP") from None

    async def _offer(self) -> None:
        async with self._lock:
            if self._changed and self.open and self._connection.signalingState == "stable":
                self._changed = False
                await self._connection.setLocalDescription(await self._connection.createOffer())
                self._say_offer()

    def _say_offer(self) -> None:
        """Offer, and again until it is answered: the word may get lost with a socket."""
        if self._connection.signalingState == "have-local-offer":
            self._offered(self._written())
            self._overdue = asyncio.get_running_loop().call_later(ANSWER_SECONDS, self._say_offer)

    def _written(self) -> str:
        streams = {s.transceiver.mid: s.user for s in self.slots if s.transceiver.mid and s.user}
        for slot in self.slots:
            slot.told = slot.user
        said = self._connection.localDescription
        return descriptions.write(said, self._policy, self._dialect, streams)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(REPORT_SECONDS)
            if self.open:
                self.traffic.report()
                await self._offer()

    def _stands(self) -> None:
        if self._changed and self.open:
            self._begin(self._offer())

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
