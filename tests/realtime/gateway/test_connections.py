"""What watchers are told."""

from realtime.gateway.connections import Connection
from tests.realtime.gateway.conftest import Hub, until


class Diary:
    def __init__(self) -> None:
        self.pages: list[tuple[str, str, bool]] = []

    def opened(self, connection: Connection, *, first: bool) -> None:
        self.pages.append(("opened", connection.user, first))

    def closed(self, connection: Connection, *, last: bool) -> None:
        self.pages.append(("closed", connection.user, last))

    def foreground_changed(self, connection: Connection) -> None:
        self.pages.append(("foreground", connection.user, connection.foreground))


async def test_the_first_and_the_last_socket_of_a_user_are_told_apart(hub: Hub) -> None:
    diary = Diary()
    hub.connections.watch(diary)
    phone, desktop = await hub.raw("ann"), await hub.raw("ann")
    await phone.ws.close()
    await until(lambda: len(hub.connections) == 1)
    await desktop.ws.close()
    await until(lambda: len(hub.connections) == 0)
    assert diary.pages == [
        ("opened", "ann", True),
        ("opened", "ann", False),
        ("closed", "ann", False),
        ("closed", "ann", True),
    ]


async def test_a_socket_closed_by_the_server_is_told_once(hub: Hub) -> None:
    diary = Diary()
    hub.connections.watch(diary)
    raw = await hub.raw("ann")
    (connection,) = hub.connections
    hub.connections.close(connection)
    assert not hub.connections.of("ann")
    hub.connections.close(connection)
    await raw.closed()
    await until(lambda: hub.sockets == 0)
    assert diary.pages == [("opened", "ann", True), ("closed", "ann", True)]


async def test_a_user_is_in_the_foreground_while_any_socket_is(hub: Hub) -> None:
    diary = Diary()
    await hub.raw("ann")
    await hub.raw("ann")
    hub.connections.watch(diary)
    phone, desktop = hub.connections
    hub.connections.set_foreground(phone, False)
    hub.connections.set_foreground(phone, False)
    assert hub.connections.foreground("ann")
    hub.connections.set_foreground(desktop, False)
    assert not hub.connections.foreground("ann")
    assert not hub.connections.foreground("nobody")
    assert diary.pages == [("foreground", "ann", False)] * 2
