"""The servers behind the hub: the operator's, or our own embedded ones for as long as we run."""

import errno
import os
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from care.policy import Relaying
from realtime.lifecycle import cancellable
from realtime.media_workers import MediaWorkerProcesses
from realtime.secrets import Secrets, load_secrets
from realtime.settings import Settings
from storage.embedded import EmbeddedMongo, running_uri
from storage.embedded_valkey import EmbeddedValkey
from storage.server_check import check_server


class PortError(Exception):
    """The server's address can't be had: one sentence for the operator."""


def read_secrets(settings: Settings) -> Secrets:
    """Read the keys; with the embedded database the missing ones are made once."""
    return load_secrets(
        settings.secrets_dir or settings.data / "secrets",
        os.environ,
        make_missing=settings.mongodb.uri is None,
        database=settings.data / "mongodb",
    )


def recordings_folder(settings: Settings) -> Path:
    """Give the folder where calls are recorded, before they are stored."""
    settings.recordings.mkdir(mode=0o700, parents=True, exist_ok=True)
    return settings.recordings


@asynccontextmanager
async def mongodb(settings: Settings) -> AsyncIterator[str]:
    """Give the URI of a database that fits."""
    if settings.mongodb.uri is not None:
        await cancellable(check_server(settings.mongodb.uri))
        yield settings.mongodb.uri
        return
    mongo = EmbeddedMongo(settings.data, cache_gb=settings.mongodb.cache_gb)
    await mongo.start()
    try:
        yield mongo.uri
    finally:
        await mongo.stop()


@asynccontextmanager
async def mongodb_beside_a_server(settings: Settings) -> AsyncIterator[str]:
    """Give the database to a command that may run while a server owns the data folder."""
    if settings.mongodb.uri is None and (uri := running_uri(settings.data)):
        yield uri
        return
    async with mongodb(settings) as uri:
        yield uri


@dataclass(frozen=True, slots=True)
class Servers:
    """Where they are."""

    mongo_uri: str
    redis_url: str | None
    """The fan-out's, where there are several workers."""
    media_sockets: Path | None
    """The folder of the media workers' sockets, where calls may be relayed."""


@asynccontextmanager
async def servers(settings: Settings) -> AsyncIterator[Servers]:
    """Run what is our own, for as long as we run."""
    async with AsyncExitStack() as stack:
        mongo_uri = await stack.enter_async_context(mongodb(settings))
        redis_url = settings.redis.url
        if redis_url is None and settings.server.workers > 1:
            valkey = EmbeddedValkey()
            await valkey.start()
            stack.push_async_callback(valkey.stop)
            redis_url = valkey.url
        media_sockets = settings.server.media_sockets
        if media_sockets is None and settings.calls.relay is not Relaying.NEVER:
            media = MediaWorkerProcesses(
                settings.calls.media, settings.log, recordings_folder(settings)
            )
            media_sockets = media.start()
            stack.push_async_callback(media.stop)
        yield Servers(mongo_uri, redis_url, media_sockets)


def check_address(host: str, port: int) -> None:
    """Find out early, before any server is started, whether we may listen. Raises PortError."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        raise address_error(host, port, error) from error


def address_error(host: str, port: int, error: OSError) -> PortError:
    if error.errno == errno.EADDRINUSE:
        return PortError(
            f"Port {port} on {host} is taken by another program: stop it, or choose another port "
            "with --port."
        )
    if error.errno == errno.EACCES:
        return PortError(
            f"Port {port} may not be used by this user: choose one above 1023 with --port."
        )
    return PortError(f"{host}:{port} can't be listened on ({error.strerror}): see --host.")
