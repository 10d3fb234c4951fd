"""Walk a file's own structure to where it ends: what stands behind belongs to another file.

A polyglot is a file that two programs read as two formats. Every walk below accounts for each byte
of the file; only zero padding may follow.
"""

import re
from collections.abc import Callable

from care.errors import BadRequest

Data = bytes

AMR_FRAME_BYTES = (13, 14, 16, 18, 20, 21, 27, 32, 6)
"""By frame type, header included (RFC 4867, section 5; the storage format pads to bytes)."""
AMR_NO_DATA = 15

HEADER_BYTES = 7
"""Fewer than these are the rest of a header that was cut off; the frames are kept without it."""

_MPEG1_KBIT = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_MPEG2_KBIT = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_MP3_HZ = (44100, 48000, 32000)

_JPEG_MARKER_IN_SCAN = re.compile(rb"\xff+[^\x00\xff\xd0-\xd7]", re.DOTALL)


def damaged() -> BadRequest:
    return BadRequest.field("file", "文件已损坏或不完整，请重新选择")


def trailing() -> BadRequest:
    return BadRequest.field("file", "文件末尾含有其他数据，请重新拍摄或录制（拍照请关闭动态照片）")


def check_jpeg(data: Data) -> None:
    """Accept one JPEG, or several in a row: the multi-picture format of phones (CIPA DC-007).

    Only the first is kept. Raises BadRequest.
    """
    end = _end_of_jpeg(data, 0)
    while (following := _skip_zeros(data, end)) < len(data):
        if data[following : following + 3] != b"\xff\xd8\xff":
            raise trailing()
        end = _end_of_jpeg(data, following)


def _end_of_jpeg(data: Data, start: int) -> int:
    at = start + 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:
            at += 1
            continue
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if marker == 0xDA:
            found = _JPEG_MARKER_IN_SCAN.search(data, at)
            if found is None:
                raise damaged()
            if data[found.end() - 1] == 0xD9:
                return found.end()
            at = found.end() - 2
    raise damaged()


def check_png(data: Data) -> None:
    """Walk the chunks to IEND. Raises BadRequest, for an animation too."""
    at, name = 8, b""
    while name != b"IEND":
        if at + 12 > len(data):
            raise damaged()
        name = data[at + 4 : at + 8]
        if name == b"acTL":
            raise BadRequest.field("file", "不支持动图，请上传静态图片")
        at += 12 + int.from_bytes(data[at : at + 4], "big")
    _check_end(data, at)


def check_webp(data: Data) -> None:
    """Hold the RIFF size against the file's. Raises BadRequest."""
    _check_end(data, 8 + int.from_bytes(data[4:8], "little"))


def check_mp4(data: Data) -> None:
    """Walk the top-level boxes; they must cover the file exactly. Raises BadRequest."""
    at, seen = 0, set[bytes]()
    while at < len(data):
        if at + 8 > len(data):
            raise _not_covered(data, at)
        size, name, header = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8], 8
        if size == 1:
            size, header = int.from_bytes(data[at + 8 : at + 16], "big"), 16
        if size == 0 and name == b"mdat":
            size = len(data) - at
        if size < header or at + size > len(data):
            raise _not_covered(data, at)
        seen.add(name)
        at += size
    if not {b"ftyp", b"moov", b"mdat"} <= seen:
        raise damaged()


def _not_covered(data: Data, at: int) -> BadRequest:
    """Tell a file that was cut off from one that something was put behind."""
    return trailing() if b"moov" in data[:at] and b"mdat" in data[:at] else damaged()


def after_id3(data: Data) -> int:
    """Give the offset behind an ID3v2 tag, 0 without one; its size has 7 bits a byte."""
    if data[:3] != b"ID3" or len(data) < 10:
        return 0
    size = 0
    for byte in data[6:10]:
        size = size << 7 | byte & 0x7F
    return 10 + size + (10 if data[5] & 0x10 else 0)


def adts_frames(data: Data) -> Data:
    """Give the AAC frames alone, tags left out. Raises BadRequest for anything between them."""
    return _frames(data, after_id3(data), _adts_frame_length)


def mp3_frames(data: Data) -> Data:
    """Give the MP3 frames alone, tags left out. Raises BadRequest for anything between them."""
    if data[-128:-125] == b"TAG":
        data = data[:-128]
    return _frames(data, after_id3(data), _mp3_frame_length)


def amr_frames(data: Data) -> Data:
    """Give the magic number and the speech frames. Raises BadRequest for anything between them."""
    return data[:6] + _frames(data, 6, _amr_frame_length)


def _frames(data: Data, start: int, length_of: Callable[[Data, int], int]) -> Data:
    """Walk frames to the end; 0 for a length means that no frame begins there."""
    at = start
    while length := length_of(data, at):
        if at + length > len(data):
            # a recorder that was stopped in the middle of its last frame: that one is left out
            data = data[:at]
            break
        at += length
    if at == start:
        raise damaged()
    if len(data) - at >= HEADER_BYTES:
        _check_end(data, at)
    return data[start:at]


def _adts_frame_length(data: Data, at: int) -> int:
    """Read it from an ADTS header (ISO 13818-7, 6.2)."""
    header = data[at : at + 7]
    if len(header) < 7 or header[0] != 0xFF or header[1] & 0xF6 != 0xF0:
        return 0
    length = (header[3] & 3) << 11 | header[4] << 3 | header[5] >> 5
    return length if length > 7 else 0


def _mp3_frame_length(data: Data, at: int) -> int:
    """Work it out from a layer III header (ISO 11172-3, 2.4.2.3); free format has none."""
    header = data[at : at + 4]
    if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE6 != 0xE2:
        return 0
    version, rate = header[1] >> 3 & 3, header[2] >> 2 & 3
    kbit, padding = header[2] >> 4, header[2] >> 1 & 1
    if version == 1 or rate == 3 or kbit in (0, 15):
        return 0
    if version == 3:
        return 144_000 * _MPEG1_KBIT[kbit] // _MP3_HZ[rate] + padding
    hz = _MP3_HZ[rate] // (2 if version == 2 else 4)
    return 72_000 * _MPEG2_KBIT[kbit] // hz + padding


def _amr_frame_length(data: Data, at: int) -> int:
    """Read it from a frame's type; the bits around that are zero."""
    if at >= len(data) or data[at] & 0x83:
        return 0
    kind = data[at] >> 3 & 15
    if kind == AMR_NO_DATA:
        return 1
    return AMR_FRAME_BYTES[kind] if kind < len(AMR_FRAME_BYTES) else 0


def _check_end(data: Data, end: int) -> None:
    if end > len(data):
        raise damaged()
    if _skip_zeros(data, end) < len(data):
        raise trailing()


def _skip_zeros(data: Data, at: int) -> int:
    rest = data[at:].lstrip(b"\0")
    return len(data) - len(rest)
