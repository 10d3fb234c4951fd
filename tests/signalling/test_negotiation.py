"""What is passed on between browsers, and what is not."""

import pytest

from care.calls import Media
from care.errors import BadRequest, TooLarge
from signalling.negotiation import CANDIDATE_MAX, SDP_MAX, check_candidate, check_sdp

HEAD = ["v=0", "o=- 4611731400430051336 2 IN IP4 127.0.0.1", "s=-", "t=0 0"]
SECTION = [
    "c=IN IP4 0.0.0.0",
    "a=ice-ufrag:4ZcD",
    "a=ice-pwd:2/1muCWoOi3uLifh0NuRHlV3",
    "a=fingerprint:sha-256 " + ":".join(["AB"] * 32),
    "a=setup:actpass",
    "a=mid:0",
]
AUDIO = ["m=audio 9 UDP/TLS/RTP/SAVPF 111", *SECTION, "a=rtpmap:111 opus/48000/2"]
VIDEO = ["m=video 9 UDP/TLS/RTP/SAVPF 96", *SECTION, "a=rtpmap:96 VP8/90000"]


def sdp(*parts: list[str], end: str = "\r\n") -> str:
    return "".join(line + end for part in (HEAD, *parts) for line in part)


@pytest.mark.parametrize(
    ("text", "media"),
    [
        (sdp(AUDIO), Media.AUDIO),
        (sdp(AUDIO), Media.VIDEO),
        (sdp(AUDIO, VIDEO), Media.VIDEO),
        (sdp(AUDIO, VIDEO, end="\n"), Media.VIDEO),
    ],
)
def test_what_browsers_say_is_passed_on(text: str, media: Media) -> None:
    check_sdp(text, media)


@pytest.mark.parametrize(
    "text",
    [
        "hello",
        "v=1\r\n",
        sdp(),
        sdp(AUDIO, VIDEO),  # a picture in a voice call
        sdp(AUDIO, ["m=application 9 UDP/DTLS/SCTP webrtc-datachannel", *SECTION]),
        sdp(AUDIO, AUDIO, AUDIO, AUDIO, AUDIO),
        sdp([line for line in AUDIO if "ice-ufrag" not in line]),
        sdp([line for line in AUDIO if "fingerprint" not in line]),
        sdp(AUDIO).replace("a=mid:0", "a=mid:0\0"),
        sdp(AUDIO).replace("a=mid:0", "what is this"),
        "\r\n" + sdp(AUDIO),
        sdp(AUDIO) + "\r\n\r\n",
    ],
)
def test_what_no_browser_says_is_refused_by_name(text: str) -> None:
    with pytest.raises(BadRequest) as refused:
        check_sdp(text, Media.AUDIO)
    assert "sdp" in refused.value.fields


def test_a_description_has_its_bound() -> None:
    long = sdp(AUDIO, [f"a=x:{'y' * SDP_MAX}"])
    with pytest.raises(TooLarge):
        check_sdp(long, Media.AUDIO)


@pytest.mark.parametrize(
    "candidate",
    [
        "",
        "candidate:1 1 udp 2122260223 192.168.1.7 53705 typ host",
        "candidate:842163049 1 udp 1677729535 203.0.113.7 46154 typ srflx raddr 0.0.0.0 rport 0",
        "candidate:1 1 UDP 1 2001:db8::1 9 typ host tcptype active generation 0 ufrag 4ZcD",
        "candidate:2 2 tcp 1518280447 4bd1c7ec-1a5c-4b1c-9b0e-5d2f0c1a2b3c.local 9 typ host",
        "candidate:3 1 udp 33562367 198.51.100.1 50000 typ relay raddr 1.2.3.4 rport 5",
    ],
)
def test_what_ice_says_is_passed_on(candidate: str) -> None:
    check_candidate(candidate)


@pytest.mark.parametrize(
    "candidate",
    [
        "hello",
        "candidate:1 1 udp 1 192.168.1.7 53705",
        "candidate:1 1 sctp 1 192.168.1.7 53705 typ host",
        "candidate:1 1 udp 1 192.168.1.7 53705 typ elsewhere",
        "candidate:1 1 udp 1 192.168.1.7 53705 typ host\r\na=evil",
        "candidate:1 1 udp x 192.168.1.7 53705 typ host",
    ],
)
def test_what_is_no_candidate_is_refused_by_name(candidate: str) -> None:
    with pytest.raises(BadRequest) as refused:
        check_candidate(candidate)
    assert "candidate.candidate" in refused.value.fields


def test_a_candidate_has_its_bound() -> None:
    with pytest.raises(TooLarge):
        check_candidate("candidate:1 1 udp 1 1.1.1.1 1 typ host " + "x" * CANDIDATE_MAX)
