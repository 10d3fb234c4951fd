"""The ways money comes in and goes back: WeChat Pay, and the sandbox."""

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

from care.notices import Contacts
from care.ports import Clock
from companion.sandbox_payment import SandboxPayments
from companion.wechat_pay.client import WechatPayClient
from companion.wechat_pay.provider import WechatPay
from companion.wechat_pay.signing import Signer, Verifier
from realtime.secrets import ConfigError, Secrets
from realtime.settings import Settings

KEY_SECRET, API_SECRET = "wechat_pay_key", "wechat_pay_api_key"
API_KEY_BYTES = 32


Provider = SandboxPayments | WechatPay


def join_payments(
    settings: Settings, secrets: Secrets, contacts: Contacts, clock: Clock
) -> dict[str, Provider]:
    """Join the provider that is set, and the others that older payments may have begun with.

    Raises ConfigError for what the one that is set still needs.
    """
    chosen, missing = settings.payments.provider, _missing(settings, secrets)
    if chosen == "wechat" and missing:
        raise ConfigError(*(f"{name}: missing; payments.provider needs it" for name in missing))
    providers: dict[str, Provider] = {}
    if not missing:
        providers["wechat"] = _wechat(settings, secrets, contacts, clock)
    if chosen == "sandbox" or settings.demo:
        providers["sandbox"] = SandboxPayments()
    return providers


def _missing(settings: Settings, secrets: Secrets) -> list[str]:
    """List what WeChat Pay needs and hasn't got."""
    chosen = settings.payments.wechat
    needed = {
        "wechat.appid": settings.wechat.appid,
        "payments.wechat.mchid": chosen.mchid,
        "payments.wechat.serial": chosen.serial,
        "payments.wechat.notify_url": chosen.notify_url,
        "payments.wechat.public_keys": chosen.public_keys,
        KEY_SECRET: secrets.optional.get(KEY_SECRET),
        API_SECRET: secrets.optional.get(API_SECRET),
    }
    return [name for name, value in needed.items() if not value]


def _wechat(settings: Settings, secrets: Secrets, contacts: Contacts, clock: Clock) -> WechatPay:
    chosen = settings.payments.wechat
    signer = Signer(chosen.mchid, chosen.serial, _merchant_key(secrets), clock)
    verifier = Verifier(_public_keys(settings), clock)
    client = WechatPayClient(chosen.base_url, signer, verifier)
    return WechatPay(
        settings.wechat.appid or "", chosen.notify_url, _api_key(secrets), client, signer,
        verifier, contacts.openid, settings.consultations.payment_seconds,
    )  # fmt: skip


def _merchant_key(secrets: Secrets) -> RSAPrivateKey:
    try:
        key = load_pem_private_key(secrets.optional[KEY_SECRET].encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ConfigError(f"{KEY_SECRET}: must be a PEM private key without a password") from None
    if not isinstance(key, RSAPrivateKey):
        raise ConfigError(f"{KEY_SECRET}: must be an RSA key")
    return key


def _public_keys(settings: Settings) -> dict[str, RSAPublicKey]:
    keys = {}
    for serial, path in settings.payments.wechat.public_keys.items():
        name = f"payments.wechat.public_keys.{serial}"
        try:
            key = load_pem_public_key(path.read_bytes())
        except (OSError, ValueError, UnsupportedAlgorithm):
            raise ConfigError(f"{name}: {path} must be a PEM public key") from None
        if not isinstance(key, RSAPublicKey):
            raise ConfigError(f"{name}: must be an RSA key")
        keys[serial] = key
    return keys


def _api_key(secrets: Secrets) -> bytes:
    key = secrets.optional[API_SECRET].encode()
    if len(key) != API_KEY_BYTES:
        raise ConfigError(f"{API_SECRET}: must have {API_KEY_BYTES} characters")
    return key
