"""The signing keys collection: an Ed25519 pair a person, the private part sealed (X2)."""

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pymongo.errors import DuplicateKeyError

from care.ports import Vault
from storage.database import Database


class SigningKeyStore:
    """Makes a person's pair on the first need of it; it stays the same for ever."""

    def __init__(self, database: Database, vault: Vault) -> None:
        # read and written by `_id`, the account's: no further index
        self._keys = database["signing_keys"]
        self._vault = vault

    async def ensure(self, account: str) -> None:
        """Make the pair unless there is one."""
        pair = Ed25519PrivateKey.generate()
        document = {
            "_id": account,
            "public": pair.public_key().public_bytes_raw(),
            "private": self._vault.seal(pair.private_bytes_raw().hex()),
        }
        try:
            await self._keys.update_one({"_id": account}, {"$setOnInsert": document}, upsert=True)
        except DuplicateKeyError:
            # two at once: the other one's pair is there now
            return

    async def private(self, account: str) -> bytes:
        """Give the private part, made now for an account older than the keys."""
        document = await self._keys.find_one({"_id": account})
        if document is None:
            await self.ensure(account)
            return await self.private(account)
        return bytes.fromhex(self._vault.open(document["private"]))

    async def public(self, account: str) -> bytes | None:
        document = await self._keys.find_one({"_id": account}, {"public": 1})
        return bytes(document["public"]) if document else None
