"""Session descriptions (SDP) as the relay reads and writes them (RFC 8866, RFC 8829)."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any

from aiortc import RTCRtpReceiver, RTCSessionDescription
from aiortc.rtcicetransport import RTCIceCandidate
from aiortc.rtcrtpparameters import (
    RTCRtpCodecCapability,
    RTCRtpCodecParameters,
    RTCRtpParameters,
)
from aiortc.sdp import DIRECTIONS, SessionDescription, candidate_from_sdp

from care.errors import BadRequest
from care.policy import MediaPolicy

VIDEO_CODECS = {"video/vp8", "video/h264"}
CANDIDATES_MAX = 32
SECTIONS_MAX = 8
PORT_MAX = 65_535

_CANDIDATE = re.compile(
    r"a=candidate:\S+ 1 udp \d+ (\S+) (\d{1,5}) typ (?:host|srflx|relay)\b.*", re.I
)

Codec = RTCRtpCodecCapability


def read(sdp: str, kind: str) -> SessionDescription:
    """Parse what a side says of itself. Raises BadRequest."""
    try:
        description = SessionDescription.parse(sdp)
    except Exception:  # aiortc's parser raises whatever its reading of a bad line leads to
        raise BadRequest.field("sdp", "不是有效的 SDP") from None
    description.type = kind
    sections = description.media
    if not 0 < len(sections) <= SECTIONS_MAX or any(
        one.kind not in {"audio", "video"}
        or one.direction not in DIRECTIONS
        or one.ice is None
        or one.dtls is None
        or not one.dtls.fingerprints
        for one in sections
    ):
        raise BadRequest.field("sdp", "媒体类型与通话不符")
    if not _bundled(description):
        raise BadRequest.field("sdp", "需要 max-bundle")
    return description


def _bundled(description: SessionDescription) -> bool:
    """Tell whether all sections go over the transport of the first (RFC 8843)."""
    mids = [section.rtp.muxId for section in description.media]
    groups = [group.items for group in description.group if group.semantic == "BUNDLE"]
    if len(mids) == 1 and not groups:
        return True
    together = len(groups) == 1 and set(groups[0]) == set(mids)
    return together and groups[0][0] == mids[0] and len(set(mids)) == len(mids)


def without_names(sdp: str) -> str:
    """Leave out candidates that are no UDP addresses: nothing is looked up, nobody is flooded."""
    lines, candidates = [], 0
    for line in sdp.replace("\r\n", "\n").split("\n"):
        if line.startswith("a=candidate:"):
            candidates += 1
            found = _CANDIDATE.fullmatch(line)
            if found is None or not _is_usable(*found.groups()) or candidates > CANDIDATES_MAX:
                continue
        lines.append(line)
    return "\r\n".join(lines)


def read_candidate(said: Mapping[str, Any]) -> RTCIceCandidate | None:
    """Parse a trickled candidate; None for one that is of no use here, the end among them."""
    line = f"a={said.get('candidate', '')}".replace("a=a=", "a=", 1)
    found = _CANDIDATE.fullmatch(line)
    if found is None or not _is_usable(*found.groups()):
        return None
    candidate = candidate_from_sdp(line.removeprefix("a=candidate:"))
    candidate.sdpMid, candidate.sdpMLineIndex = said.get("sdpMid"), said.get("sdpMLineIndex")
    if candidate.sdpMid is None and candidate.sdpMLineIndex is None:
        candidate.sdpMLineIndex = 0
    return candidate


def ice_of(description: SessionDescription) -> str:
    """Name the ICE session, which is another one after a restart."""
    ice = description.media[0].ice
    return str(ice and ice.usernameFragment)


def video_codec(description: SessionDescription, allowed: Collection[str]) -> Codec | None:
    """Choose the first video codec offered that may be passed on, which fixes the call's."""
    for section in description.media:
        for offered in section.rtp.codecs:
            if offered.mimeType.lower() in VIDEO_CODECS and offered.name in allowed:
                for known in _known("video"):
                    if _same(known, offered):
                        return known
    return None


def preferences(kind: str, video: Codec | None) -> list[Codec]:
    """List what is agreed to: Opus, or the call's one video codec and its retransmissions."""
    known = _known(kind)
    if kind == "audio":
        return [one for one in known if one.mimeType.lower() == "audio/opus"]
    return [one for one in known if one == video or one.mimeType.lower() == "video/rtx"]


def _known(kind: str) -> list[Codec]:
    capabilities = RTCRtpReceiver.getCapabilities(kind)
    return capabilities.codecs if capabilities else []


def _same(known: Codec, offered: RTCRtpCodecParameters) -> bool:
    if known.mimeType.lower() != offered.mimeType.lower():
        return False
    names = ("packetization-mode", "profile-level-id")
    mine = [str(known.parameters.get(name, "")).lower()[:4] for name in names]
    theirs = [str(offered.parameters.get(name, "")).lower()[:4] for name in names]
    return mine == theirs


def _is_usable(host: str, port: str) -> bool:
    """Tell whether a socket can send there; asyncio closes one that is told of port 65536."""
    try:
        address = ip_address(host)
    except ValueError:
        return False
    return 0 < int(port) <= PORT_MAX and not (address.is_multicast or address.is_unspecified)


@dataclass
class Dialect:
    """The numbers one side gave to codecs and header extensions: they hold while it is here.

    aiortc numbers its own offers anew; a browser would take the same number for another codec.
    """

    types: dict[tuple[str, str, str], int] = field(default_factory=dict)
    extensions: dict[str, int] = field(default_factory=dict)

    def learn(self, agreed: RTCRtpParameters) -> None:
        """Take the numbers of an answer, which are those of the side's offer."""
        for key, codec in _keyed(agreed.codecs).items():
            if codec.payloadType is not None:
                self.types.setdefault(key, codec.payloadType)
        for extension in agreed.headerExtensions:
            self.extensions.setdefault(extension.uri, extension.id)

    def speak(self, said: RTCRtpParameters) -> None:
        """Replace aiortc's numbers by the side's; leave out what it has none for."""
        numbers: dict[int | None, int] = {}
        for key, codec in _keyed(said.codecs).items():
            if key in self.types:
                numbers[codec.payloadType] = self.types[key]
        said.codecs[:] = [one for one in said.codecs if one.payloadType in numbers]
        for codec in said.codecs:
            codec.payloadType = numbers[codec.payloadType]
            if "apt" in codec.parameters:
                codec.parameters["apt"] = numbers[codec.parameters["apt"]]  # type: ignore[index]  # apt is a number
        said.headerExtensions[:] = [
            one for one in said.headerExtensions if one.uri in self.extensions
        ]
        for extension in said.headerExtensions:
            extension.id = self.extensions[extension.uri]


def _keyed(
    codecs: list[RTCRtpCodecParameters],
) -> dict[tuple[str, str, str], RTCRtpCodecParameters]:
    """Name each codec by what it is, retransmissions by what they repeat."""
    plain = {codec.payloadType: codec for codec in codecs}
    keyed = {}
    for codec in codecs:
        apt = codec.parameters.get("apt")
        of = plain.get(int(apt)) if apt is not None else codec
        if of is not None:
            profile = str(of.parameters.get("profile-level-id", "")).lower()
            keyed[codec.mimeType.lower(), of.mimeType.lower(), profile] = codec
    return keyed


def write(
    said: RTCSessionDescription,
    policy: MediaPolicy,
    dialect: Dialect,
    streams: Mapping[str, str],
) -> str:
    """Finish what aiortc says of this end: addresses, bitrates, whose stream is in which section.

    `streams` names the user whose media a section carries, by its mid.
    """
    description = SessionDescription.parse(said.sdp)
    for section in description.media:
        if said.type == "answer":
            dialect.learn(section.rtp)
        else:
            dialect.speak(section.rtp)
            section.fmt = [codec.payloadType for codec in section.rtp.codecs]
        if user := streams.get(section.rtp.muxId):
            section.msid = f"{user} {user}-{section.kind}"
        for codec in section.rtp.codecs:
            _tune(codec, policy)
        if policy.announced is not None:
            _announce(section.ice_candidates, str(policy.announced))
            section.host = str(policy.announced)
    return str(description)


def _tune(codec: RTCRtpCodecParameters, policy: MediaPolicy) -> None:
    """Tell the sender at which rates to begin and to stay, and to send Opus with its repair."""
    if codec.name.lower() == "opus":
        codec.parameters |= {"minptime": 10, "useinbandfec": 1}
    elif codec.mimeType.lower() in VIDEO_CODECS:
        codec.parameters = codec.parameters | {
            "x-google-start-bitrate": str(policy.start_kbps),
            "x-google-min-bitrate": str(policy.min_kbps),
            "x-google-max-bitrate": str(policy.max_kbps),
        }


def _announce(candidates: list[RTCIceCandidate], address: str) -> None:
    """Show the address that the outside knows in place of this machine's own."""
    version = ip_address(address).version
    kept: dict[int, RTCIceCandidate] = {}
    for candidate in candidates:
        if ip_address(candidate.ip).version == version:
            candidate.ip = address
            kept.setdefault(candidate.port, candidate)
    candidates[:] = kept.values()
