"""WeChat Pay's signatures and encryption (API v3): WECHATPAY2-SHA256-RSA2048 and AES-256-GCM."""

import base64
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256

from care.ports import Clock

SCHEME = "WECHATPAY2-SHA256-RSA2048"
SKEW = timedelta(minutes=5)


class Forged(Exception):
    """What came isn't from WeChat Pay, isn't for us, or is a replay of something old."""


def signed_text(*lines: str) -> bytes:
    """Join what is signed: each line ends in a newline, the last one too."""
    return "".join(f"{line}\n" for line in lines).encode()


class Signer:
    """Signs for the merchant."""

    def __init__(self, mchid: str, serial: str, key: RSAPrivateKey, clock: Clock) -> None:
        self.mchid = mchid
        self._serial = serial
        self._key = key
        self._clock = clock

    def authorization(self, method: str, target: str, body: str) -> str:
        """Give the Authorization header; `target` is the path with its query as it is sent."""
        stamp, nonce = self.stamp()
        signature = self.sign(method, target, stamp, nonce, body)
        return (
            f'{SCHEME} mchid="{self.mchid}",nonce_str="{nonce}",signature="{signature}",'
            f'timestamp="{stamp}",serial_no="{self._serial}"'
        )

    def stamp(self) -> tuple[str, str]:
        """Give the time in Unix seconds and a number used once."""
        return str(int(self._clock.now().timestamp())), secrets.token_hex(16)

    def sign(self, *lines: str) -> str:
        signature = self._key.sign(signed_text(*lines), PKCS1v15(), SHA256())
        return base64.b64encode(signature).decode()


class Verifier:
    """Knows WeChat Pay's public keys by their serial numbers; several are good during a change."""

    def __init__(self, keys: Mapping[str, RSAPublicKey], clock: Clock) -> None:
        self._keys = keys
        self._clock = clock

    def check(self, headers: Mapping[str, str], body: bytes) -> None:
        """Check the signature over the bytes as they came. Raises Forged."""
        stamp, nonce = headers.get("Wechatpay-Timestamp", ""), headers.get("Wechatpay-Nonce", "")
        key = self._keys.get(headers.get("Wechatpay-Serial", ""))
        if key is None:
            raise Forged("unknown serial")
        self._check_time(stamp)
        try:
            signature = base64.b64decode(headers.get("Wechatpay-Signature", ""), validate=True)
            text = signed_text(stamp, nonce) + body + b"\n"
            key.verify(signature, text, PKCS1v15(), SHA256())
        except (ValueError, InvalidSignature):
            raise Forged("wrong signature") from None

    def _check_time(self, stamp: str) -> None:
        try:
            at = datetime.fromtimestamp(int(stamp), UTC)
        except (ValueError, OverflowError, OSError):
            raise Forged("no timestamp") from None
        if abs(self._clock.now() - at) > SKEW:
            raise Forged("too old or from the future")


def decrypt(key: bytes, nonce: str, associated_data: str, ciphertext: str) -> bytes:
    """Open a notification's resource. Raises Forged."""
    try:
        sealed = base64.b64decode(ciphertext, validate=True)
        return AESGCM(key).decrypt(nonce.encode(), sealed, associated_data.encode())
    except (ValueError, InvalidTag):
        raise Forged("resource can't be decrypted") from None
