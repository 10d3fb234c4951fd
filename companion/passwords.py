"""Hash passwords with argon2id, off the event loop."""

import asyncio
from functools import partial

from argon2 import PasswordHasher
from argon2.exceptions import VerifyMismatchError

PARALLEL = 2
"""Each hash takes 64 MiB and a core: more at once would only be slower, and starve the hub."""


class Passwords:
    def __init__(self, hasher: PasswordHasher | None = None) -> None:
        self._hasher = hasher or PasswordHasher()
        self._slots = asyncio.Semaphore(PARALLEL)
        self._nobodys = self._hasher.hash("")

    async def hash(self, password: str) -> str:
        async with self._slots:
            return await asyncio.to_thread(self._hasher.hash, password)

    async def matches(self, password: str, password_hash: str | None) -> bool:
        """Compare; without a hash take as long, so that nobody learns which accounts exist."""
        check = partial(self._verify, password_hash or self._nobodys, password)
        async with self._slots:
            same = await asyncio.to_thread(check)
        return same and password_hash is not None

    def _verify(self, password_hash: str, password: str) -> bool:
        try:
            return self._hasher.verify(password_hash, password)
        except VerifyMismatchError:
            return False
