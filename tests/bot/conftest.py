"""The servers for the tests of this folder: one in real time, one on a virtual clock."""

from tests.server import clocked, server

__all__ = ["clocked", "server"]
