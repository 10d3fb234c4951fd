"""Signatures of doctors and pharmacists: Ed25519 over a canonical text (X2)."""

import base64
import binascii

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from storage.signing_keys import SigningKeyStore


class Signing:
    def __init__(self, keys: SigningKeyStore) -> None:
        self._keys = keys

    async def sign(self, account: str, text: bytes) -> str:
        """Sign with the account's key; give the signature in base64."""
        private = Ed25519PrivateKey.from_private_bytes(await self._keys.private(account))
        return base64.b64encode(private.sign(text)).decode()

    async def public_key(self, account: str) -> str | None:
        public = await self._keys.public(account)
        return base64.b64encode(public).decode() if public else None

    async def holds(self, account: str, text: bytes, signature: str) -> bool:
        """Say whether the account's key made this signature over this very text."""
        public = await self._keys.public(account)
        if public is None:
            return False
        try:
            value = base64.b64decode(signature, validate=True)
            if base64.b64encode(value).decode() != signature:
                return False  # base64 has more than one way to write the last bits
            Ed25519PublicKey.from_public_bytes(public).verify(value, text)
        except (InvalidSignature, binascii.Error):
            return False
        return True
