"""WeChat's access token: fetched by one process, used by all, replaced before its end."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

from care.errors import Unavailable
from care.ports import Clock
from storage.wechat_tokens import HeldToken, WechatTokens

Fetch = Callable[[bool], Awaitable[tuple[str, int]]]
"""Ask WeChat for the token and its seconds; True makes it void the present one."""

POLL_SECONDS = 0.05
WAIT_SECONDS = 10.0


class AccessToken:
    def __init__(self, store: WechatTokens, appid: str, fetch: Fetch, clock: Clock) -> None:
        self._store = store
        self._appid = appid
        self._fetch = fetch
        self._clock = clock

    async def get(self) -> str:
        """Give a token that is good now. Raises Unavailable when nobody got one in time."""
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                while True:
                    if token := await self._held_or_fetched():
                        return token
                    # another process fetches it: there is nothing to await but its write
                    await asyncio.sleep(POLL_SECONDS)
        except TimeoutError:
            raise Unavailable from None

    async def refused(self, token: str) -> None:
        """Have a token replaced that WeChat takes no more."""
        await self._store.refuse(self._appid, token)

    async def _held_or_fetched(self) -> str | None:
        now = self._clock.now()
        held = await self._store.read(self._appid)
        if held is not None and held.fresh(now):
            return held.value
        if await self._store.claim(self._appid, now):
            return await self._replace(held)
        return held.value if held is not None and held.usable(now) else None

    async def _replace(self, held: HeldToken | None) -> str:
        try:
            token, seconds = await self._fetch(False)
            if held is not None and held.refused and token == held.value:
                # WeChat itself holds on to what it refuses
                token, seconds = await self._fetch(True)
        except BaseException:
            await self._store.release(self._appid, self._clock.now())
            raise
        now = self._clock.now()
        await self._store.keep(self._appid, token, now + timedelta(seconds=seconds), now)
        return token
