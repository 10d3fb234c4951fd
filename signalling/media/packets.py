"""RTP as it is looked into without decoding: order, key frames, header extensions.

RFC 3550 (RTP), RFC 7741 (VP8), RFC 6184 (H.264), RFC 8285 (header extensions).
"""

from collections.abc import Iterable

from aiortc.rtcrtpparameters import RTCRtpHeaderExtensionParameters

HALF = 0x8000
SEQUENCE = 0xFFFF
TIMESTAMP = 0xFFFFFFFF

MID = "urn:ietf:params:rtp-hdrext:sdes:mid"
AUDIO_LEVEL = "urn:ietf:params:rtp-hdrext:ssrc-audio-level"
SEND_TIME = "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time"
ONE_BYTE = b"\xbe\xde"
ONE_BYTE_ID_MAX = 14

_H264_SPS, _H264_IDR, _H264_STAP_A, _H264_FU_A = 7, 5, 24, 28


def behind(newest: int, number: int) -> int:
    """Tell by how much a sequence number is older than the newest; newer ones are negative."""
    distance = (newest - number) & SEQUENCE
    return distance if distance < HALF else distance - SEQUENCE - 1


def begins_key_frame(codec: str, payload: bytes) -> bool:
    """Tell whether a decoder can begin with this packet."""
    if codec == "VP8":
        return _vp8_key(payload)
    if codec == "H264":
        return _h264_key(payload)
    return True


def _vp8_key(payload: bytes) -> bool:
    """Look for the first packet (S, partition 0) of a frame whose P bit is not set."""
    if not payload or payload[0] & 0x17 != 0x10:
        return False
    at = 1
    if payload[0] & 0x80:
        if len(payload) < 2:
            return False
        flags, at = payload[1], 2
        if flags & 0x80:  # the picture's number, of one byte or two
            at += 2 if len(payload) > at and payload[at] & 0x80 else 1
        at += bool(flags & 0x40) + bool(flags & 0x30)
    return len(payload) > at and not payload[at] & 1


def _h264_key(payload: bytes) -> bool:
    """Look for the parameter sets, which senders write before a key frame, or for its begin."""
    if len(payload) < 2:
        return False
    kind = payload[0] & 0x1F
    if kind == _H264_STAP_A:
        return len(payload) > 3 and payload[3] & 0x1F in {_H264_SPS, _H264_IDR}
    if kind == _H264_FU_A:
        return bool(payload[1] & 0x80) and payload[1] & 0x1F == _H264_IDR
    return kind in {_H264_SPS, _H264_IDR}


class Extensions:
    """Writes the header extensions one receiver agreed on."""

    def __init__(self, agreed: Iterable[RTCRtpHeaderExtensionParameters], mid: str) -> None:
        ids = {one.uri: one.id for one in agreed if 0 < one.id <= ONE_BYTE_ID_MAX}
        name = mid.encode()
        self._fixed = b""
        if MID in ids and 0 < len(name) <= 16:
            self._fixed = bytes([ids[MID] << 4 | len(name) - 1]) + name
        self._level, self._time = ids.get(AUDIO_LEVEL), ids.get(SEND_TIME)

    def write(self, level: tuple[bool, int] | None, send_time: int | None) -> bytes:
        """Give the extension block: the level in -dBov, the time in 6.18 seconds; or nothing."""
        data = self._fixed
        if level is not None and self._level:
            data += bytes([self._level << 4, level[0] << 7 | level[1]])
        if send_time is not None and self._time:
            data += bytes([self._time << 4 | 2]) + send_time.to_bytes(3, "big")
        if not data:
            return b""
        words = (len(data) + 3) // 4
        return ONE_BYTE + words.to_bytes(2, "big") + data.ljust(words * 4, b"\0")
