"""Keys of the hospital: from the environment or from files, never from config.yaml.

For each secret, first found wins: WENZHEN_SECRET_NAME, the file WENZHEN_SECRET_NAME_FILE names, the
file `name` in the secrets folder. With the embedded database a missing one is made once.
"""

import base64
import binascii
import json
import os
import secrets
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

KEY_BYTES = 32
ENVIRONMENT = "WENZHEN_SECRET_"


class ConfigError(Exception):
    """The settings or secrets are wrong: one line for the operator for each mistake."""

    def __init__(self, *lines: str) -> None:
        self.lines = lines
        super().__init__("\n".join(lines))


@dataclass(frozen=True, slots=True)
class Secrets:
    jwt_keys: Mapping[str, bytes]
    """Every key id that still verifies; `jwt_current` is the one that signs."""
    jwt_current: str
    data_key: bytes
    """Encrypts personal data at rest. Without it that data is lost."""
    index_key: bytes
    """Keys the digests by which encrypted values are looked up."""
    url_key: bytes
    """Signs the short-lived addresses of files."""
    optional: Mapping[str, str] = field(default_factory=dict)
    """What other houses gave us, by the names of OPTIONAL; the absent ones are absent here."""

    def __repr__(self) -> str:
        return f"Secrets(jwt_current={self.jwt_current!r})"


def new_key() -> str:
    return base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode()


def new_key_set() -> str:
    kid = secrets.token_hex(4)
    return json.dumps({"current": kid, "keys": {kid: new_key()}})


MAKERS: Mapping[str, Callable[[], str]] = {
    "jwt_keys": new_key_set,
    "data_key": new_key,
    "index_key": new_key,
    "url_key": new_key,
}
OPTIONAL = frozenset(
    {
        "sms_secret_id",  # Tencent Cloud's SecretId and SecretKey
        "sms_secret_key",
        "turn_secret",  # coturn's static-auth-secret
        "wechat_pay_api_key",  # APIv3 密钥
        "wechat_pay_key",  # the merchant certificate's private key, PEM
        "wechat_secret",  # the mini-program's app secret
    }
)
"""Secrets nobody can make: where one is absent, what needs it is off."""
SECRET_NAMES = frozenset(MAKERS) | OPTIONAL
IRREPLACEABLE = frozenset({"data_key", "index_key"})


def load_secrets(
    folder: Path, environ: Mapping[str, str], *, make_missing: bool, database: Path | None = None
) -> Secrets:
    """Read every secret, making the missing ones where allowed. Raises ConfigError.

    A missing key that `database`, when it exists, was encrypted with is never made anew: the data
    would be unreadable, and nobody would know before it is read.
    """
    refuse_unknown(environ)
    values = {name: find(name, folder, environ) for name in MAKERS}
    missing = [name for name, value in values.items() if value is None]
    lost = sorted(IRREPLACEABLE.intersection(missing)) if database and database.exists() else []
    if lost:
        raise ConfigError(
            f"{', '.join(lost)}: missing from {folder}, though the data in {database} was "
            "encrypted with it: bring the file back, or move the data folder away."
        )
    if missing and not make_missing:
        raise ConfigError(*(how_to_give(name, folder) for name in missing))
    for name in missing:
        values[name] = create(folder / name, MAKERS[name]())
    given = {name: find(name, folder, environ) for name in sorted(OPTIONAL)}
    return parse(
        {name: value for name, value in values.items() if value is not None},
        {name: value for name, value in given.items() if value},
    )


def refuse_unknown(environ: Mapping[str, str]) -> None:
    for variable in sorted(environ):
        name = variable.removeprefix(ENVIRONMENT).lower().removesuffix("_file")
        if variable.startswith(ENVIRONMENT) and name not in SECRET_NAMES:
            raise ConfigError(f"{variable}: unknown secret in the environment")


def how_to_give(name: str, folder: Path) -> str:
    example = "openssl rand -base64 32"
    if name == "jwt_keys":
        example = '{"current": "a", "keys": {"a": "<openssl rand -base64 32>"}}'
    variable = f"{ENVIRONMENT}{name.upper()}"
    return (
        f"{name}: missing; a database of your own needs secrets of your own: set {variable} or "
        f"{variable}_FILE, or write {folder / name} ({example})"
    )


def find(name: str, folder: Path, environ: Mapping[str, str]) -> str | None:
    variable = f"{ENVIRONMENT}{name.upper()}"
    if value := environ.get(variable):
        return value
    named = environ.get(f"{variable}_FILE")
    path = Path(named) if named else folder / name
    try:
        return path.read_text().strip()
    except (FileNotFoundError, NotADirectoryError) as error:
        if named:
            raise ConfigError(f"{variable}_FILE: {path} doesn't exist") from error
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{name}: {path} can't be read") from error


def create(path: Path, value: str) -> str:
    """Write a new secret file, or read the one another process was quicker to write."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor, draft = tempfile.mkstemp(dir=path.parent)  # 0600 from the start
        try:
            with os.fdopen(descriptor, "w") as file:
                file.write(f"{value}\n")
                file.flush()
                os.fsync(descriptor)
            # a link appears whole or not at all, and never over an existing file
            path.hardlink_to(draft)
        except FileExistsError:
            return path.read_text().strip()
        finally:
            Path(draft).unlink()
        sync_folder(path.parent)
    except OSError as error:
        raise ConfigError(
            f"{path.name}: {path} can't be written ({error.strerror}): "
            "give --data or secrets_dir a folder this user may write to"
        ) from error
    return value


def sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def parse(values: Mapping[str, str], optional: Mapping[str, str]) -> Secrets:
    current, keys = parse_key_set(values["jwt_keys"])
    return Secrets(
        jwt_keys=keys,
        jwt_current=current,
        data_key=parse_key("data_key", values["data_key"]),
        index_key=parse_key("index_key", values["index_key"]),
        url_key=parse_key("url_key", values["url_key"]),
        optional=optional,
    )


def parse_key(name: str, value: object) -> bytes:
    try:
        key = base64.b64decode(str(value), validate=True)
    except binascii.Error:
        key = b""
    if len(key) != KEY_BYTES:
        raise ConfigError(f"{name}: must be {KEY_BYTES} bytes in base64 (openssl rand -base64 32)")
    return key


def parse_key_set(value: str) -> tuple[str, dict[str, bytes]]:
    try:
        content = json.loads(value)
        current, encoded = content["current"], dict(content["keys"])
        encoded[current]
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            'jwt_keys: must be {"current": id, "keys": {id: key}}, with the current id among them'
        ) from error
    return current, {kid: parse_key(f"jwt_keys.keys.{kid}", key) for kid, key in encoded.items()}
