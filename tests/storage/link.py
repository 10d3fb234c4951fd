"""A network link to the database that a test can break."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit

CHUNK = 1 << 16


class Link:
    """Forward TCP to a server; on demand lose its answer, so that nobody knows what it did."""

    def __init__(self, uri: str) -> None:
        self._server = urlsplit(uri)
        self._lose: bytes | None = None
        self.uri = ""

    def lose_answer(self, to: bytes) -> None:
        """Let nothing more come back on the connection of the next request that contains `to`."""
        self._lose = to

    async def connected(self, near: asyncio.StreamReader, to_near: asyncio.StreamWriter) -> None:
        far, to_far = await asyncio.open_connection(self._server.hostname, self._server.port)
        doomed = asyncio.Event()
        pumps = {
            asyncio.create_task(self._requests(near, to_far, doomed)),
            asyncio.create_task(self._answers(far, to_near, doomed)),
        }
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            for writer in (to_near, to_far):
                writer.close()
                with suppress(ConnectionError):
                    await writer.wait_closed()

    async def _requests(
        self, near: asyncio.StreamReader, to_far: asyncio.StreamWriter, doomed: asyncio.Event
    ) -> None:
        while chunk := await near.read(CHUNK):
            if self._lose and self._lose in chunk:
                self._lose = None
                doomed.set()
            to_far.write(chunk)

    async def _answers(
        self, far: asyncio.StreamReader, to_near: asyncio.StreamWriter, doomed: asyncio.Event
    ) -> None:
        while chunk := await far.read(CHUNK):
            if not doomed.is_set():
                to_near.write(chunk)


@asynccontextmanager
async def linked(uri: str) -> AsyncIterator[Link]:
    """Open a link to the server of this URI."""
    link = Link(uri)
    server = await asyncio.start_server(link.connected, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    link.uri = urlsplit(uri)._replace(netloc=f"{host}:{port}").geturl()
    try:
        yield link
    finally:
        server.close()
