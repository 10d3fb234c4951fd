"""Personal data at rest: AES-256-GCM, with the key's id in front so that keys can change (P3)."""

import hashlib
import hmac
import secrets
from collections.abc import Mapping

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_BYTES = 32
NONCE_BYTES = 12
SEPARATOR = b":"


class Vault:
    """Seals with the current key and opens with any; implements `care.ports.Vault`.

    The index key can't change without rewriting every index, so it is a key of its own.
    """

    def __init__(self, keys: Mapping[str, bytes], current: str, index_key: bytes) -> None:
        if any(len(key) != KEY_BYTES for key in (*keys.values(), index_key)):
            raise ValueError(f"each key of the vault has {KEY_BYTES} bytes")
        if current not in keys or any(SEPARATOR in key_id.encode() for key_id in keys):
            raise ValueError(f"no such key of the vault: {current}")
        self._keys = {key_id.encode(): AESGCM(key) for key_id, key in keys.items()}
        self._current = current.encode()
        self._index_key = index_key

    def seal(self, clear: str) -> bytes:
        nonce = secrets.token_bytes(NONCE_BYTES)
        # the key's id is authenticated too, so that nobody moves a value under another key
        sealed = self._keys[self._current].encrypt(nonce, clear.encode(), self._current)
        return self._current + SEPARATOR + nonce + sealed

    def open(self, sealed: bytes) -> str:
        """Open a sealed value. Raises KeyError for a lost key, InvalidTag for a changed value."""
        key_id, _, rest = sealed.partition(SEPARATOR)
        nonce, content = rest[:NONCE_BYTES], rest[NONCE_BYTES:]
        return self._keys[key_id].decrypt(nonce, content, key_id).decode()

    def index(self, clear: str) -> str:
        return hmac.new(self._index_key, clear.encode(), hashlib.sha256).hexdigest()
