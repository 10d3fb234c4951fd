"""Whether the MongoDB of `mongodb.uri` can carry the hospital's writes."""

from pymongo import AsyncMongoClient
from pymongo.errors import PyMongoError
from pymongo.errors import PyMongoError as DatabaseError
from pymongo.uri_parser import parse_uri

from storage.database import Document
from storage.mongod import MINIMUM

__all__ = ["DatabaseError", "ServerCheckError", "check_server"]


class ServerCheckError(Exception):
    """The server doesn't fit: one sentence for the operator, without the URI's password."""


async def check_server(
    uri: str, *, minimum: tuple[int, int] = MINIMUM, seconds: float = 5.0
) -> str:
    """Give the server's version. Raises ServerCheckError: bad URI, away, too old, standalone."""
    try:
        hosts = ", ".join(f"{host}:{port}" for host, port in parse_uri(uri)["nodelist"])
    except (PyMongoError, ValueError) as error:
        raise ServerCheckError(f"mongodb.uri isn't a MongoDB address: {error}.") from error
    try:
        async with AsyncMongoClient[Document](
            uri, serverSelectionTimeoutMS=int(seconds * 1000)
        ) as client:
            hello = await client.admin.command("hello")
            build = await client.admin.command("buildInfo")
    except PyMongoError as error:
        reason = str(error).partition(",")[0]
        raise ServerCheckError(f"MongoDB at {hosts} can't be used ({reason}).") from error
    if tuple(build["versionArray"][:2]) < minimum:
        needed = ".".join(map(str, minimum))
        raise ServerCheckError(
            f"MongoDB at {hosts} is version {build['version']}: {needed} or newer is needed."
        )
    if "setName" not in hello and hello.get("msg") != "isdbgrid":
        raise ServerCheckError(
            f"MongoDB at {hosts} is a standalone server, without transactions: "
            "start it as a replica set (one member is enough)."
        )
    return str(build["version"])
