"""A hop between a guest and its room that loses datagrams, or has them come from elsewhere."""

import asyncio
import random
import re
from collections.abc import Callable
from typing import Any, cast

HOST = "127.0.0.1"
_CANDIDATE = re.compile(r"(a=candidate:\S+ 1 udp \d+) (\S+) (\d+) typ host.*", re.I)

Address = tuple[str, int]


class Datagrams(asyncio.DatagramProtocol):
    """A socket whose datagrams are handed on."""

    def __init__(self, take: Callable[[bytes, Address], None]) -> None:
        self._take = take

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.DatagramTransport, transport)
        self.address: Address = transport.get_extra_info("sockname")[:2]

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        self._take(data, addr[:2])

    @classmethod
    async def open(cls, take: Callable[[bytes, Address], None]) -> "Datagrams":
        loop = asyncio.get_running_loop()
        _, protocol = await loop.create_datagram_endpoint(lambda: cls(take), local_addr=(HOST, 0))
        return protocol


class Hop:
    """Carries a guest's datagrams to the room, and back. Descriptions go through it too."""

    def __init__(self, loss: float = 0.0, seed: int = 1) -> None:
        """`loss`: the part of the media's datagrams that get lost, each way."""
        self.loss, self._dice = loss, random.Random(seed)  # noqa: S311  # no secret
        self.lost = 0
        self.thief: Callable[[bytes, Address], None] | None = None
        """Takes the guest's media in the room's place, of whom it is told the address."""
        self._room: Address | None = None
        self._guest: Address | None = None

    async def open(self) -> None:
        self._near = await Datagrams.open(self._from_guest)
        self._far = await Datagrams.open(self._from_room)

    def close(self) -> None:
        self._near.transport.close()
        self._far.transport.close()

    def offer(self, sdp: str) -> str:
        """Pass a guest's offer on: its media come from here."""
        return _moved(sdp, self._far.address)[0]

    def answer(self, sdp: str) -> str:
        """Pass the room's answer on."""
        moved, candidates = _moved(sdp, self._near.address)
        self._room = next(one for one in candidates if ":" not in one[0])
        return moved

    def _from_guest(self, data: bytes, sender: Address) -> None:
        self._guest = sender
        if self._room is None or self._loses(data):
            return
        if self.thief and _is_media(data):
            self.thief(data, self._room)
        else:
            self._far.transport.sendto(data, self._room)

    def _from_room(self, data: bytes, sender: Address) -> None:
        self._room = sender
        if self._guest is not None and not self._loses(data):
            self._near.transport.sendto(data, self._guest)

    def _loses(self, data: bytes) -> bool:
        lost = bool(self.loss) and _is_media(data) and self._dice.random() < self.loss
        self.lost += lost
        return lost


def candidates(sdp: str) -> list[Address]:
    """List the addresses in a description."""
    found = (_CANDIDATE.fullmatch(line) for line in sdp.splitlines())
    return [(one[2], int(one[3])) for one in found if one]


def _moved(sdp: str, to: Address) -> tuple[str, list[Address]]:
    """Put one address in the place of all."""
    one = f"a=candidate:1 1 udp 2130706431 {to[0]} {to[1]} typ host"
    lines: list[str] = []
    for line in sdp.splitlines():
        if _CANDIDATE.fullmatch(line):
            if lines[-1] != one:
                lines.append(one)
        else:
            lines.append(line)
    return "\r\n".join([*lines, ""]), candidates(sdp)


def _is_media(data: bytes) -> bool:
    """Tell SRTP from STUN and DTLS (RFC 7983)."""
    return 127 < data[0] < 192
