"""Put a stream's packets in order again and its frames together."""

from collections.abc import Iterator
from dataclasses import dataclass

from aiortc.codecs import depayload
from aiortc.rtcrtpparameters import RTCRtpCodecParameters

from signalling.media.recording.journal import Packet, Source
from signalling.media.recording.timing import CLOCK, Unwrapper

WINDOW = {"audio": 50, "video": 500}
"""How many packets are held for one that is late: about a second."""
SPS, IDR = 7, 5


@dataclass(frozen=True, slots=True)
class Frame:
    """`lost` counts the packets missing before it; `key` says that it stands alone."""

    timestamp: int
    data: bytes
    key: bool
    lost: int


class Assembler:
    """Give whole frames in order. After a loss video goes on with the next key frame."""

    def __init__(self, source: Source) -> None:
        self._video = source.kind == "video"
        self._window = WINDOW[source.kind]
        mime = f"{source.kind}/{source.codec}"
        self._codec = RTCRtpCodecParameters(mimeType=mime, clockRate=CLOCK[source.kind])
        self._seqs = Unwrapper(16)
        self._timestamps = Unwrapper(32)
        self._early: dict[int, tuple[int, Packet]] = {}
        self._next: int | None = None
        self._lost = 0
        self._parts: list[bytes] = []
        self._timestamp: int | None = None
        self._wait_for_key = self._video

    def add(self, packet: Packet) -> Iterator[Frame]:
        seq = self._seqs(packet.seq)
        timestamp = self._timestamps(packet.timestamp)
        if self._next is None:
            self._next = seq
        if seq < self._next:
            return
        self._early[seq] = timestamp, packet
        while self._next in self._early or len(self._early) > self._window:
            yield from self._step()

    def flush(self) -> Iterator[Frame]:
        """Give what waits for packets that won't come any more."""
        while self._early:
            yield from self._step()
        yield from self._whole()

    def _step(self) -> Iterator[Frame]:
        """Take the next packet, or give up those that are missing before it."""
        if self._next not in self._early:
            following = min(self._early)
            self._lose(following - (self._next or following))
            self._next = following
        timestamp, packet = self._early.pop(self._next)
        self._next += 1
        if timestamp != self._timestamp:
            yield from self._whole()
            self._timestamp = timestamp
        try:
            part = depayload(self._codec, packet.payload) if packet.payload else b""
        except ValueError:
            self._lose(1)
            return
        if part:
            self._parts.append(part)
        if packet.marker or not self._video:
            yield from self._whole()

    def _lose(self, count: int) -> None:
        self._lost += count
        if self._video:
            self._parts = []
            self._wait_for_key = True

    def _whole(self) -> Iterator[Frame]:
        data, self._parts = b"".join(self._parts), []
        if not data or self._timestamp is None:
            return
        key = not self._video or is_key(self._codec.name, data)
        if self._wait_for_key and not key:
            return
        self._wait_for_key = False
        yield Frame(self._timestamp, data, key, self._lost)
        self._lost = 0


def is_key(codec: str, data: bytes) -> bool:
    """Say whether a video frame, with its beginning, stands alone."""
    if codec == "VP8":
        # RFC 6386, 9.1: the frame tag, then the start code of key frames, then the size: 14 bits
        # each of width and height, without which no film can be begun
        return (
            len(data) >= 10
            and not data[0] & 1
            and data[3:6] == b"\x9d\x01\x2a"
            and all(int.from_bytes(data[at : at + 2], "little") & 0x3FFF for at in (6, 8))
        )
    kinds = {unit[0] & 0x1F for unit in data.split(b"\x00\x00\x01")[1:] if unit}
    return {SPS, IDR} <= kinds
