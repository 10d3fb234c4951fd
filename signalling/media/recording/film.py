"""Write frames into a Matroska file as they were sent, and its first picture beside it."""

import io
import struct
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path

import av
from av import CodecContext, Packet
from av.stream import Stream
from av.video.codeccontext import VideoCodecContext

from care.recordings import Track
from signalling.media.recording.frames import Frame
from signalling.media.recording.mix import RATE, Mixer

MILLISECOND = Fraction(1, 1000)
POSTER_SIDE = 640
EVERYBODY = "everybody"
"""The title of the track with everybody's sound; the others have their user's id."""
MIX_BPS = 48_000


class Film:
    """One file with a track for each side and codec; a track's frames come in order.

    A header needs of each video a frame that it `can_begin` with. WebM has no H264; browsers play
    both.
    """

    def __init__(self, path: Path, firsts: Mapping[Track, Frame]) -> None:
        codecs = {track.codec for track in firsts}
        kind = "video" if codecs - {"opus"} else "audio"
        layout = "matroska" if "H264" in codecs else "webm"
        self.mime = f"{kind}/{'x-matroska' if layout == 'matroska' else 'webm'}"
        self.end_ms = 0
        self._container = av.open(str(path), "w", format=layout)
        self._last: dict[Track, int] = {}
        self._mixer = self._mix() if sum(t.kind == "audio" for t in firsts) > 1 else None
        self._streams: dict[Track, Stream] = {}
        for track, first in firsts.items():
            stream = self._streams[track] = self._declare(track.codec, first.data)
            stream.metadata["title"] = track.user

    def _mix(self) -> Mixer:
        """Begin the track that is heard where only one is: the first."""
        stream = self._container.add_stream("libopus", rate=RATE, layout="mono")
        stream.bit_rate = MIX_BPS
        stream.metadata["title"] = EVERYBODY
        return Mixer(stream)

    def _declare(self, codec: str, first: bytes) -> Stream:
        if codec == "opus":
            # encodes nothing: it writes the header that decoders of opus want
            return self._container.add_stream("libopus", rate=48_000, layout="stereo")
        if codec == "VP8":
            width, height = struct.unpack_from("<HH", first, 6)
            return self._container.add_mux_stream(
                "vp8", rate=30, width=width & 0x3FFF, height=height & 0x3FFF
            )
        with av.open(io.BytesIO(first), format="h264") as probed:
            return self._container.add_stream_from_template(probed.streams.video[0])

    def write(self, track: Track, frame: Frame, at_ms: int) -> int:
        """Write a frame for its time; two never share one. Give the time it has in the film."""
        at_ms = max(at_ms, self._last.get(track, -1) + 1)
        self._last[track] = at_ms
        self.end_ms = max(self.end_ms, at_ms)
        packet = Packet(frame.data)
        packet.stream = self._streams[track]
        packet.time_base = MILLISECOND
        packet.pts = packet.dts = at_ms
        packet.is_keyframe = frame.key
        self._container.mux_one(packet)
        if self._mixer and track.kind == "audio":
            self._container.mux(list(self._mixer.add(track.user, frame.data, at_ms)))
        return at_ms

    def close(self) -> None:
        if self._mixer:
            self._container.mux(list(self._mixer.flush()))
        self._container.close()


def can_begin(codec: str, data: bytes) -> bool:
    """Tell whether a key frame says what a film's header must know; anybody may send anything."""
    if codec != "H264":
        return True
    try:
        with av.open(io.BytesIO(data), format="h264") as probed:
            return all(stream.width and stream.height for stream in probed.streams.video)
    except av.FFmpegError:
        return False


def poster(codec: str, data: bytes) -> bytes | None:
    """Decode one key frame to a JPEG; None when it can't be."""
    decoder = CodecContext.create({"VP8": "vp8", "H264": "h264"}[codec], "r")
    assert isinstance(decoder, VideoCodecContext)  # noqa: S101  # both are
    try:
        pictures = [*decoder.decode(Packet(data)), *decoder.decode(None)]
    except av.FFmpegError:
        return None
    if not pictures:
        return None
    image = pictures[0].to_image()  # type: ignore[no-untyped-call]  # of PyAV
    image.thumbnail((POSTER_SIDE, POSTER_SIDE))
    written = io.BytesIO()
    image.save(written, "JPEG", quality=80)
    return written.getvalue()
