"""The wechat_tokens collection: one document an app, so that all processes share one token.

WeChat voids the token before when it gives a new one, so exactly one process may ask: the one
whose conditional write takes the lease.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from pymongo.errors import DuplicateKeyError

from care.ports import Vault
from storage.database import Database

LEASE = timedelta(seconds=15)
"""How long a process has to fetch the token before another one may: longer than its time-outs."""
MARGIN = timedelta(seconds=60)
"""How long before its end a token counts as old; WeChat makes the next one five minutes before."""


@dataclass(frozen=True, slots=True)
class HeldToken:
    value: str
    expires_at: datetime
    refused: bool

    def fresh(self, now: datetime) -> bool:
        return not self.refused and self.expires_at > now + MARGIN

    def usable(self, now: datetime) -> bool:
        return not self.refused and self.expires_at > now


class WechatTokens:
    def __init__(self, database: Database, vault: Vault) -> None:
        self._tokens = database["wechat_tokens"]
        self._vault = vault

    async def read(self, appid: str) -> HeldToken | None:
        document = await self._tokens.find_one({"_id": appid, "sealed": {"$ne": None}})
        if document is None:
            return None
        value = self._vault.open(document["sealed"])
        return HeldToken(value, document["expires_at"], document["refused"])

    async def claim(self, appid: str, now: datetime) -> bool:
        """Take the right to fetch the next token; no while one is good or another process has it.

        An upsert whose filter misses an existing document fails on its `_id`: that is the no.
        """
        old = [{"refused": True}, {"expires_at": {"$lte": now + MARGIN}}]
        may = {"_id": appid, "leased_until": {"$lte": now}, "$or": old}
        first = {"sealed": None, "expires_at": now, "refused": False}
        lease = {"$set": {"leased_until": now + LEASE}, "$setOnInsert": first}
        try:
            await self._tokens.update_one(may, lease, upsert=True)
        except DuplicateKeyError:
            return False
        return True

    async def keep(self, appid: str, value: str, expires_at: datetime, now: datetime) -> None:
        """Store a token that was fetched, for every process, and give the lease back."""
        fetched = {
            "sealed": self._vault.seal(value),
            "index": self._vault.index(value),
            "expires_at": expires_at,
            "refused": False,
            "leased_until": now,
        }
        await self._tokens.update_one({"_id": appid}, {"$set": fetched})

    async def release(self, appid: str, now: datetime) -> None:
        """Give the lease back without a token: fetching failed."""
        await self._tokens.update_one({"_id": appid}, {"$set": {"leased_until": now}})

    async def refuse(self, appid: str, value: str) -> None:
        """Note that WeChat refused this token, unless another one has taken its place."""
        held = {"_id": appid, "index": self._vault.index(value)}
        await self._tokens.update_one(held, {"$set": {"refused": True}})
