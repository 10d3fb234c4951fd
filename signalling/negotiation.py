"""What is passed on between two browsers must look like SDP and ICE (V3; RFC 8866, RFC 8839).

Browsers parse it themselves; this keeps out what no browser says, before it reaches the other one.
"""

import re

from care.calls import Media
from care.errors import BadRequest, TooLarge

SDP_MAX = 32_768
"""Two media with every codec Chromium knows take about 8,000."""
CANDIDATE_MAX = 1024
SECTIONS_MAX = 4
RELAYED_SECTIONS_MAX = 8
"""Those of four sides."""

_LINE = re.compile(r"[a-z]=[^\x00-\x1f\x7f]*")
_CANDIDATE = re.compile(
    r"(a=)?candidate:[A-Za-z0-9+/]{1,32} [0-9]{1,5} (?i:udp|tcp) [0-9]{1,10} "
    r"[0-9A-Za-z.:_-]{1,255} [0-9]{1,5} typ (host|srflx|prflx|relay)( [^\x00-\x1f\x7f]*)?"
)
_NEEDED = ("a=ice-ufrag:", "a=ice-pwd:", "a=fingerprint:", "a=setup:")


def check_sdp(sdp: str, media: Media, *, relayed: bool = False) -> None:
    """Refuse what isn't a description of this call's media. Raises BadRequest, TooLarge."""
    if len(sdp.encode()) > SDP_MAX:
        raise TooLarge
    lines = sdp.replace("\r\n", "\n").removesuffix("\n").split("\n")
    if lines[0] != "v=0" or not all(_LINE.fullmatch(line) for line in lines):
        raise BadRequest.field("sdp", "不是有效的 SDP")
    sections = [line[2:].split(" ", 1)[0] for line in lines if line.startswith("m=")]
    allowed = {"audio", "video"} if media is Media.VIDEO else {"audio"}
    most = RELAYED_SECTIONS_MAX if relayed else SECTIONS_MAX
    if not sections or len(sections) > most or not allowed.issuperset(sections):
        raise BadRequest.field("sdp", "媒体类型与通话不符")
    if not all(any(line.startswith(part) for line in lines) for part in _NEEDED):
        raise BadRequest.field("sdp", "缺少 ICE 或 DTLS 参数")


def check_candidate(candidate: str) -> None:
    """Refuse what isn't an ICE candidate; an empty one ends them. Raises BadRequest, TooLarge."""
    if len(candidate) > CANDIDATE_MAX:
        raise TooLarge
    if candidate and not _CANDIDATE.fullmatch(candidate):
        raise BadRequest.field("candidate.candidate", "不是有效的 ICE candidate")
