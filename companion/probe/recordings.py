"""Measure voice and video by their packets, and keep nothing of the file but the packets.

Headers lie or are missing: the duration is what the packets add up to. The demuxer is always
named, never guessed by FFmpeg, and reads one local file: a playlist can't make it read another.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from av.container import InputContainer
from av.packet import Packet
from av.stream import Stream
from av.video.frame import VideoFrame
from PIL import Image

from care.attachments import FileKind, max_bytes, max_duration_ms
from care.errors import BadRequest, TooLarge
from care.policy import FilePolicy
from companion.probe import walks
from companion.probe.images import write_thumbnail
from companion.probe.sniff import ACCEPTED, Format

FRAMES = {
    Format.AAC: walks.adts_frames,
    Format.MP3: walks.mp3_frames,
    Format.AMR: walks.amr_frames,
}
VOICE_MIMES = {Format.AAC: "audio/aac", Format.MP3: "audio/mpeg", Format.AMR: "audio/amr"}
CODECS = {Format.AAC: {"aac"}, Format.MP3: {"mp3"}, Format.AMR: {"amr_nb"}}
MP4_AUDIO, MP4_VIDEO = {"aac"}, {"h264", "hevc"}

FIRST_PACKETS = 64
"""How many packets may pass before one decodes: a stream may start between two key frames."""
AAC_SAMPLES = 1024


def clean_voice(data: bytes, form: Format, content: Path, policy: FilePolicy) -> dict[str, Any]:
    """Write the frames without tags; give type and duration. Raises BadRequest or TooLarge."""
    _check_size(data, FileKind.VOICE, policy)
    content.write_bytes(FRAMES[form](data))
    with _open(content, form.value) as source:
        streams = _expect(source, CODECS[form], set())
        length = _measure(source, streams, FileKind.VOICE, policy)
    _decode_first(content, form.value)
    return {"kind": FileKind.VOICE, "mime": VOICE_MIMES[form], "duration_ms": length}


def clean_mp4(
    data: bytes, upload: Path, content: Path, thumbnail: Path, policy: FilePolicy
) -> dict[str, Any]:
    """Copy the packets into a new file without metadata; give type, duration and size of picture.

    Raises BadRequest, TooLarge, or whatever FFmpeg makes of a damaged file.
    """
    walks.check_mp4(data)
    with _open(upload, "mp4") as source:
        streams = _expect(source, MP4_AUDIO, MP4_VIDEO)
        video = any(stream.type == "video" for stream in streams)
        kind = FileKind.VIDEO if video else FileKind.VOICE
        _check_size(data, kind, policy)
        _check_picture(streams, policy)
        length = _copy(source, streams, content, len(data), kind, policy)
    first = _decode_first(content, "mp4")
    found = {"kind": kind, "mime": "video/mp4" if video else "audio/mp4", "duration_ms": length}
    return found | (_make_poster(first, thumbnail, policy) if video else {})


def _open(path: Path, demuxer: str) -> InputContainer:
    return av.open(
        str(path),
        "r",
        format=demuxer,
        # an mp4 may name other files its samples are in; those two defaults stay as they are
        container_options={
            "protocol_whitelist": "file",
            **({"enable_drefs": "0", "use_absolute_path": "0"} if demuxer == "mp4" else {}),
        },
    )


def _check_size(data: bytes, kind: FileKind, policy: FilePolicy) -> None:
    limit = max_bytes(policy, kind)
    if len(data) > limit:
        name = "语音" if kind is FileKind.VOICE else "视频"
        raise TooLarge(f"{name}不能超过 {limit // 2**20} MB")


def _expect(source: InputContainer, audio: set[str], video: set[str]) -> Sequence[Stream]:
    """Give the streams: at most one of each allowed type, and no other. Raises BadRequest."""
    streams = list(source.streams)
    kinds = [stream.type for stream in streams]
    allowed = {"audio": audio, "video": video}
    for stream in streams:
        codec = stream.codec.canonical_name if stream.type in allowed else ""
        if codec not in allowed.get(stream.type, set()):
            raise BadRequest.field("file", f"文件内的编码不受支持：{ACCEPTED}")
    if not streams or len(set(kinds)) < len(kinds):
        raise BadRequest.field("file", "文件应只含一路声音和至多一路画面")
    return streams


def _check_picture(streams: Sequence[Stream], policy: FilePolicy) -> None:
    for stream in streams:
        if isinstance(stream, av.VideoStream):
            pixels = stream.codec_context.width * stream.codec_context.height
            if pixels > policy.image_max_pixels:
                raise TooLarge("视频画面过大")


@dataclass(slots=True)
class _Length:
    """How long one stream plays: the span of its packets, or their sum if that is longer."""

    first: Fraction | None = None
    last: Fraction = field(default_factory=Fraction)
    total: Fraction = field(default_factory=Fraction)
    packets: int = 0

    def count(self, packet: "Packet[Any]") -> None:
        duration = (packet.duration or 0) * packet.time_base
        self.total += duration
        self.packets += 1
        if packet.pts is not None:
            start = packet.pts * packet.time_base
            self.first = start if self.first is None else min(self.first, start)
            self.last = max(self.last, start + duration)

    def seconds(self, stream: Stream) -> Fraction:
        span = self.last - (self.first or 0)
        played = Fraction(0)
        if isinstance(stream, av.AudioStream) and stream.codec.canonical_name == "aac":
            # players count samples; a container may claim that they take no time
            played = Fraction(self.packets * AAC_SAMPLES, stream.codec_context.sample_rate or 1)
        return max(span, self.total, played)


def _measure(
    source: InputContainer, streams: Sequence[Stream], kind: FileKind, policy: FilePolicy
) -> int:
    """Give the duration in milliseconds. Raises BadRequest when it is none, or over the limit."""
    lengths = {stream.index: _Length() for stream in streams}
    for packet in source.demux(streams):
        if packet.size:
            lengths[packet.stream_index].count(packet)
    return _judge(streams, lengths, kind, policy)


def _copy(
    source: InputContainer,
    streams: Sequence[Stream],
    content: Path,
    size: int,
    kind: FileKind,
    policy: FilePolicy,
) -> int:
    """Copy the packets and measure them on the way; the index comes first, for playing at once."""
    lengths = {stream.index: _Length() for stream in streams}
    copied = 0
    with av.open(str(content), "w", format="mp4", options={"movflags": "faststart"}) as target:
        copies = {stream.index: target.add_stream_from_template(stream) for stream in streams}
        for packet in source.demux(streams):
            if not packet.size or packet.dts is None:
                continue
            copied += packet.size
            if copied > size:
                # an index that names the same bytes over and over
                raise walks.damaged()
            lengths[packet.stream_index].count(packet)
            packet.stream = copies[packet.stream_index]
            target.mux_one(packet)
    return _judge(streams, lengths, kind, policy)


def _judge(
    streams: Sequence[Stream], lengths: dict[int, _Length], kind: FileKind, policy: FilePolicy
) -> int:
    length = round(max(lengths[s.index].seconds(s) for s in streams) * 1000)
    if not all(found.packets for found in lengths.values()) or length <= 0:
        raise walks.damaged()
    if length > max_duration_ms(policy, kind):
        if kind is FileKind.VOICE:
            raise BadRequest.field("file", f"语音不能超过 {policy.voice_max_seconds} 秒")
        raise BadRequest.field("file", f"视频不能超过 {policy.video_max_seconds} 秒")
    return length


def _decode_first(path: Path, demuxer: str) -> VideoFrame | None:
    """Decode the first frame of each stream; give the video's. Raises BadRequest if one has none.

    Not more: what a player makes of the rest is the player's affair, and costs no time here.
    """
    picture = None
    with _open(path, demuxer) as source:
        for stream in source.streams:
            if isinstance(stream, av.AudioStream | av.VideoStream):
                stream.codec_context.thread_count = 1
        waiting = {stream.index: FIRST_PACKETS for stream in source.streams}
        for packet in source.demux():
            if packet.stream_index not in waiting:
                continue
            waiting[packet.stream_index] -= 1
            if frames := _decode(packet):
                del waiting[packet.stream_index]
                picture = next((f for f in frames if isinstance(f, VideoFrame)), picture)
            if not waiting or 0 in waiting.values():
                break
    if waiting:
        raise walks.damaged()
    return picture


def _decode(packet: "Packet[Any]") -> Sequence[Any]:
    """Give the packet's frames, none when it needs what came before it."""
    try:
        return packet.decode()
    except av.error.InvalidDataError:
        return ()


def _make_poster(first: VideoFrame | None, thumbnail: Path, policy: FilePolicy) -> dict[str, Any]:
    """Write the first picture as its viewer sees it: phones film sideways and note the turn."""
    if first is None:
        raise walks.damaged()
    # PyAV's stub gives this one no types
    picture: Image.Image = first.to_image()  # type: ignore[no-untyped-call]
    if first.rotation:
        picture = picture.rotate(first.rotation, expand=True)
    write_thumbnail(picture, thumbnail, policy)
    return {"width": picture.width, "height": picture.height}
