"""One server for the tests of this folder."""

from tests.server import server

__all__ = ["server"]
