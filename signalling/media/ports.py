"""A range of UDP ports for media, as a firewall lets them through."""

import asyncio
import errno
import itertools
import random
from collections.abc import Callable
from typing import Any

import uvloop


class PortLoop(uvloop.Loop):
    """Binds UDP sockets that ask for any port to one of a range: aioice asks for any.

    Processes may share the range. A used one is tried again last, when its late packets are gone.
    """

    def __init__(self, first: int, last: int) -> None:
        super().__init__()
        self._count = last - first + 1
        ports = random.sample(range(first, last + 1), self._count)
        self._ports = itertools.cycle(ports)

    async def create_datagram_endpoint(  # type: ignore[override]  # what aioice gives
        self,
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        local_addr: tuple[str, int] | None = None,
        **more: Any,
    ) -> tuple[Any, Any]:
        """Raises OSError when every port of the range is in use at the address."""
        bind = super().create_datagram_endpoint
        if local_addr is None or local_addr[1]:
            return await bind(protocol_factory, local_addr=local_addr, **more)
        for port in itertools.islice(self._ports, self._count):
            try:
                return await bind(protocol_factory, local_addr=(local_addr[0], port), **more)
            except OSError:  # uvloop doesn't tell why
                continue
        raise OSError(errno.EADDRINUSE, "no port of the range is free")
