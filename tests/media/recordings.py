"""Voice and video of each format, of any length, encoded on the spot."""

import io
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import av
from av.container import OutputContainer

from tests.media.pictures import SECRET, halves

SIDE_DATA = {"title": SECRET, "comment": SECRET, "location": "+31.2304+121.4737/"}


def voice(form: str, seconds: float, *, metadata: dict[str, str] | None = None) -> bytes:
    """Give a recording of silence: adts, mp3, amr or m4a (ipod)."""
    codec, rate = {
        "adts": ("aac", 16000),
        "ipod": ("aac", 16000),
        "mp3": ("libmp3lame", 16000),
        "amr": ("libopencore_amrnb", 8000),
    }[form]
    with _Target(form) as target:
        target.container.metadata.update(metadata or {})
        _write_silence(target.container, _add_sound(target.container, codec, rate), seconds)
    return target.bytes()


def video(
    seconds: float = 1,
    *,
    codec: str = "libx264",
    sound: bool = True,
    turn: int = 0,
    size: tuple[int, int] = (64, 32),
    form: str = "mp4",
    rate: int = 5,
    options: dict[str, str] | None = None,
) -> bytes:
    """Give an mp4 of a picture red on the left and blue on the right, with SECRET as metadata."""
    with _Target(form, options) as target:
        target.container.metadata.update(SIDE_DATA)
        stream = target.container.add_stream(codec, rate=rate, options=_QUIET.get(codec, {}))
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        track = _add_sound(target.container, "aac", 16000) if sound else None
        if turn:
            stream.set_display_rotation(turn)
        # PyAV's stub gives this one no types
        frame: av.VideoFrame = av.VideoFrame.from_image(halves(*size))  # type: ignore[no-untyped-call]
        for number in range(round(seconds * rate)):
            frame.pts = number
            target.container.mux(stream.encode(frame))
        target.container.mux(stream.encode())
        if track:
            _write_silence(target.container, track, seconds)
    return target.bytes()


def two_voices() -> bytes:
    """Give an m4a with two tracks."""
    with _Target("ipod") as target:
        for track in [_add_sound(target.container, "aac", 16000) for _ in range(2)]:
            _write_silence(target.container, track, 1)
    return target.bytes()


def repeating_m4a() -> bytes:
    """Give an m4a whose index names the same bytes for each of its samples."""
    data = bytearray(voice("ipod", 10))
    count = _number(data, b"stsz", 8)
    for sample in range(count):
        _write(data, b"stsz", 12 + 4 * sample, 1000)
    _write(data, b"stsc", 12, 1)
    _write(data, b"stco", 4, count)
    end = data.index(b"stco") + 16
    data[end:end] = data[end - 4 : end] * (count - 1)
    for box in (b"stco", b"stbl", b"minf", b"mdia", b"trak", b"moov"):
        _write(data, box, -8, _number(data, box, -8) + 4 * (count - 1))
    return bytes(data)


def hurried_m4a(seconds: float) -> bytes:
    """Give an m4a that claims that its samples take next to no time."""
    data = bytearray(voice("ipod", seconds))
    for entry in range(_number(data, b"stts", 4)):
        _write(data, b"stts", 12 + 8 * entry, 1)
    return bytes(data)


def _number(data: bytearray, box: bytes, offset: int) -> int:
    """Read a field of the one box of this name, counted from the end of the name."""
    at = data.index(box) + 4 + offset
    return int.from_bytes(data[at : at + 4], "big")


def _write(data: bytearray, box: bytes, offset: int, value: int) -> None:
    at = data.index(box) + 4 + offset
    data[at : at + 4] = value.to_bytes(4, "big")


_QUIET: dict[str, dict[str, str]] = {"libx265": {"x265-params": "log-level=none"}}


class _Target:
    def __init__(self, form: str, options: dict[str, str] | None = None) -> None:
        self._buffer = io.BytesIO()
        self.container: OutputContainer = av.open(
            self._buffer, "w", format=form, options=options or {}
        )

    def __enter__(self) -> "_Target":
        return self

    def __exit__(self, *_: Any) -> None:
        self.container.close()

    def bytes(self) -> bytes:
        return self._buffer.getvalue()


def _add_sound(container: OutputContainer, codec: str, rate: int) -> av.AudioStream:
    stream = container.add_stream(codec, rate=rate)
    assert isinstance(stream, av.AudioStream)
    stream.layout = "mono"
    return stream


def _write_silence(container: OutputContainer, track: av.AudioStream, seconds: float) -> None:
    for frame in _silence(track, seconds):
        container.mux(track.encode(frame))
    container.mux(track.encode())


def _silence(stream: av.AudioStream, seconds: float) -> Iterator[av.AudioFrame]:
    """Give the frames; an encoder that takes only whole ones leaves the last one to be padded."""
    rate, size = stream.codec_context.sample_rate, stream.codec_context.frame_size or 1024
    form = stream.codec_context.format.name
    samples = round(seconds * rate)
    for start in range(0, samples, size):
        frame = av.AudioFrame(format=form, layout="mono", samples=min(size, samples - start))
        for plane in frame.planes:
            plane.update(bytes(plane.buffer_size))
        frame.sample_rate = rate
        frame.time_base = Fraction(1, rate)
        frame.pts = start
        yield frame
