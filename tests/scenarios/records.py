"""What the database holds of a room, read past the server."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from care.rooms import Head, Message, find_break
from storage.database import Database
from storage.embedded import running_uri
from storage.messages import Messages
from tests.server import ServerProcess

EVERYTHING = 10**6


@asynccontextmanager
async def database_of(server: ServerProcess) -> AsyncIterator[Database]:
    """Open the database that a running server owns."""
    uri = running_uri(server.data)
    assert uri is not None, "the server isn't running"
    database = Database(uri)
    try:
        yield database
    finally:
        await database.close()


async def read_whole(database: Database, room: str) -> list[Message]:
    """Read a room's log, which must be dense, chained, and hold each client id once."""
    messages = await Messages(database).after(room, 0, EVERYTHING)
    head = Head()
    for message in messages:
        assert find_break(head, message) is None, (room, message.seq)
        head = head.after(message)
    keys = {(m.sender.id, m.client_id) for m in messages}
    assert len(keys) == len(messages), "a message is there twice"
    return messages
