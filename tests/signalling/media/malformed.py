"""Genuine packets and descriptions, and how they are damaged."""

import random
import struct
from collections.abc import Callable

from aiortc.rtp import (
    RTCP_PSFB_APP,
    RTCP_PSFB_FIR,
    RTCP_PSFB_PLI,
    RTCP_RTPFB_NACK,
    RtcpByePacket,
    RtcpPsfbPacket,
    RtcpReceiverInfo,
    RtcpRrPacket,
    RtcpRtpfbPacket,
    RtcpSdesPacket,
    RtcpSenderInfo,
    RtcpSourceInfo,
    RtcpSrPacket,
    pack_remb_fci,
)

from bench.packet_bots import PacketBot

EXTREMES = [0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0xFFFFFFFF]
NUMBERS = ["0", "-1", "65536", "4294967296", "999999999999999999999", "1e9", "", "x", "٣"]
MTU = 1_400


def genuine_rtp(bot: PacketBot) -> list[bytes]:
    """Give packets such as the bot sends, with its payload types and header extensions."""
    packets = []
    for transceiver in bot.pc.getTransceivers():
        for codec in transceiver._codecs:
            payload = b"\x90\x80\x01" + b"\x10\x00\x00\x9d\x01\x2a" + bytes(200)
            for extension in (
                struct.pack("!HH", 0xBEDE, 2) + bytes([0x10, 0x30, 0x32, 1, 2, 3, 0, 0]),
                struct.pack("!HH", 0x1000, 2) + bytes([1, 1, 0x30, 2, 3, 1, 2, 3]),
                b"",
            ):
                head = struct.pack(
                    "!BBHLL", 0x90 if extension else 0x80, codec.payloadType, 7, 9_000, 77
                )
                packets.append(head + extension + payload)
    return packets


def genuine_rtcp(bot: PacketBot) -> list[bytes]:
    """Give reports, requests and wishes about what the bot is sent and sends."""
    mine, theirs = 77, next(iter(bot.traffic.streams), 1)
    report = RtcpReceiverInfo(theirs, 3, 5, 900, 12, 7, 8)
    said: list[object] = [
        RtcpSrPacket(mine, RtcpSenderInfo(1 << 40, 9_000, 4, 5), [report]),
        RtcpRrPacket(mine, [report, report]),
        RtcpSdesPacket([RtcpSourceInfo(mine, [(1, b"somebody")])]),
        RtcpByePacket([mine]),
        RtcpRtpfbPacket(RTCP_RTPFB_NACK, mine, theirs, [1, 2, 9, 30]),
        RtcpRtpfbPacket(15, mine, theirs, [1, 2, 9, 30]),
        RtcpPsfbPacket(RTCP_PSFB_PLI, mine, theirs),
        RtcpPsfbPacket(RTCP_PSFB_FIR, mine, 0, struct.pack("!LL", theirs, 1 << 24)),
        RtcpPsfbPacket(RTCP_PSFB_APP, mine, 0, pack_remb_fci(500_000, [theirs])),
    ]
    packets = [bytes(one) for one in said]  # type: ignore[call-overload]  # they all write themselves
    return [*packets, b"".join(packets)]


def damaged(dice: random.Random, data: bytes) -> bytes:
    """Damage a packet in one to three places."""
    for _ in range(dice.randint(1, 3)):
        data = dice.choice(DAMAGES)(dice, data)
    return data[:MTU]


def damaged_text(dice: random.Random, text: str) -> str:
    """Damage a description or a candidate in one to three places."""
    for _ in range(dice.randint(1, 3)):
        text = dice.choice(SLIPS)(dice, text)
    return text


def _flip(dice: random.Random, data: bytes) -> bytes:
    copy = bytearray(data)
    for _ in range(dice.randint(1, 4)):
        if copy:
            copy[dice.randrange(min(len(copy), 40))] ^= 1 << dice.randrange(8)
    return bytes(copy)


def _cut(dice: random.Random, data: bytes) -> bytes:
    return data[: dice.randint(0, len(data))]


def _stretch(dice: random.Random, data: bytes) -> bytes:
    return data + dice.randbytes(dice.choice([1, 3, 4, 64, 1_000]))


def _extreme(dice: random.Random, data: bytes) -> bytes:
    """Write the least or the most into a field."""
    size = dice.choice([1, 2, 4])
    at = dice.randrange(0, max(min(len(data), 48) - size, 1))
    value = dice.choice(EXTREMES) & (1 << 8 * size) - 1
    return data[:at] + value.to_bytes(size, "big") + data[at + size :]


def _renumber(dice: random.Random, data: bytes) -> bytes:
    """Jump in the sequence, the time, or to another source."""
    return (
        data[:2] + dice.randbytes(dice.choice([2, 6, 10])) + data[12:] if len(data) > 12 else data
    )


def _junk(dice: random.Random, data: bytes) -> bytes:
    return data[:2] + dice.randbytes(dice.randint(0, 200))


def _join(dice: random.Random, data: bytes) -> bytes:
    at = dice.randint(0, len(data))
    return data[at:] + data[:at]


DAMAGES: list[Callable[[random.Random, bytes], bytes]] = [
    _flip, _cut, _stretch, _extreme, _renumber, _junk, _join,
]  # fmt: skip


def _drop_line(dice: random.Random, text: str) -> str:
    lines = text.split("\r\n")
    del lines[dice.randrange(len(lines))]
    return "\r\n".join(lines)


def _double_line(dice: random.Random, text: str) -> str:
    lines = text.split("\r\n")
    at = dice.randrange(len(lines))
    return "\r\n".join([*lines[:at], *[lines[at]] * dice.choice([2, 200]), *lines[at:]])


def _move_line(dice: random.Random, text: str) -> str:
    lines = text.split("\r\n")
    line = lines.pop(dice.randrange(len(lines)))
    lines.insert(dice.randint(0, len(lines)), line)
    return "\r\n".join(lines)


def _word(dice: random.Random, text: str) -> str:
    """Replace a word by a number out of range, by another word, or by nothing."""
    lines = text.split("\r\n")
    at = dice.randrange(len(lines))
    words = lines[at].split(" ")
    others = [*NUMBERS, *dice.choice(lines).split(" ")]
    words[dice.randrange(len(words))] = dice.choice(others)
    lines[at] = " ".join(words)
    return "\r\n".join(lines)


def _letter(dice: random.Random, text: str) -> str:
    at = dice.randint(0, len(text))
    return text[:at] + dice.choice("\0\n\r:=/ é\U0001f4a9\ud7ff%s0") + text[at + 1 :]


def _end(dice: random.Random, text: str) -> str:
    return text[: dice.randint(0, len(text))]


def _swap(dice: random.Random, text: str) -> str:
    """Say another thing that descriptions know."""
    known = [
        "sendrecv", "recvonly", "inactive", "active", "passive", "actpass", "audio", "video",
        "VP8", "opus", "rtx", "96", "97", "98", "111", "0", "1", "sha-256", "BUNDLE", "mid", "ssrc",
    ]  # fmt: skip
    return text.replace(dice.choice(known), dice.choice(known), dice.choice([1, -1]))


SLIPS: list[Callable[[random.Random, str], str]] = [
    _drop_line, _double_line, _move_line, _word, _letter, _end, _swap,
]  # fmt: skip
