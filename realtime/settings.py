"""Everything that can be set: flags over environment over config.yaml over the defaults here.

The hospital's rules come from care.policy and stand at the top level beside these sections.
"""

import os
from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import yaml
from pydantic import (
    Field,
    PositiveInt,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, EnvSettingsSource, SettingsConfigDict
from pydantic_settings.exceptions import SettingsError

from care.policy import Policy, Section
from companion.sms import SmsSettings
from companion.wechat import WechatSettings
from companion.wechat_pay.settings import PaymentSettings
from realtime.gateway.settings import GatewaySettings
from realtime.secrets import SECRET_NAMES, ConfigError

__all__ = ["ConfigError", "Settings", "load_settings"]

DEFAULT_FILE = Path("config.yaml")
PREFIX = "WENZHEN_"
NOT_SETTINGS = ("WENZHEN_SECRET_", "WENZHEN_PASSWORD")


class ServerSettings(Section):
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8080
    workers: PositiveInt = 1
    reuse_port: bool = False
    media_sockets: Path | None = None

    @property
    def loopback(self) -> bool:
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"


class MongoSettings(Section):
    uri: str | None = None
    database: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,38}$")] = "wenzhen"
    cache_gb: Annotated[float, Field(ge=0.25, le=10_000)] = 0.5


class RedisSettings(Section):
    url: str | None = None


class LogSettings(Section):
    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["json", "console"] = "json"


class Settings(Policy):
    server: ServerSettings = ServerSettings()
    mongodb: MongoSettings = MongoSettings()
    redis: RedisSettings = RedisSettings()
    data: Path = Path("data")
    secrets_dir: Path | None = None
    gateway: GatewaySettings = GatewaySettings()
    log: LogSettings = LogSettings()
    wechat: WechatSettings = WechatSettings()
    sms: SmsSettings = SmsSettings()
    payments: PaymentSettings = PaymentSettings()
    demo: bool = False
    virtual_clock: bool = False

    @property
    def policy(self) -> Policy:
        """Give the hospital's rules alone, as the use cases take them."""
        return Policy(**{name: getattr(self, name) for name in Policy.model_fields})

    @property
    def recordings(self) -> Path:
        """Give the folder in which this host's media workers leave their journals."""
        return self.data.absolute() / "recordings"

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (KeyError, ValueError, OSError) as error:
            raise ValueError("unknown time zone") from error
        return name

    @model_validator(mode="after")
    def _virtual_clock_in_tests_alone(self) -> Self:
        alone = self.demo and self.server.loopback and self.server.workers == 1
        if self.virtual_clock and not alone:
            raise ValueError("virtual_clock: only with demo, on a loopback host, with one worker")
        return self


class _Environment(Settings, BaseSettings):
    """Tells pydantic-settings which variables to read; never built itself."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_nested_delimiter="__", env_ignore_empty=True
    )


def load_settings(file: Path | None = None, flags: Mapping[str, Any] | None = None) -> Settings:
    """Read the settings. Raises ConfigError with a line for each thing that is wrong."""
    tree = Settings().model_dump()
    for source in (read_file(file), read_environment(), flags or {}):
        tree = merged(tree, source)
    try:
        return Settings.model_validate(tree)
    except ValidationError as error:
        raise ConfigError(*(describe(dict(one)) for one in error.errors())) from None


def read_file(file: Path | None) -> dict[str, Any]:
    """Read the named file, or config.yaml where there is one. Refuses secrets in it."""
    path = file or DEFAULT_FILE
    if file is None and not path.exists():
        return {}
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except OSError as error:
        raise ConfigError(f"{path} can't be read: {error.strerror}.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} isn't YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path} must hold settings as `key: value`.")
    refuse_secrets(path, content)
    return content


def refuse_secrets(path: Path, content: dict[str, Any]) -> None:
    for name in sorted({*SECRET_NAMES, "secrets"} & content.keys()):
        raise ConfigError(
            f"{name}: a secret may not stand in {path}: set WENZHEN_SECRET_… in the environment, "
            "or put it in a file of the secrets folder."
        )
    for section, key in (("mongodb", "uri"), ("redis", "url")):
        values = content.get(section)
        address = values.get(key) if isinstance(values, dict) else None
        if isinstance(address, str) and urlsplit(address).password:
            raise ConfigError(
                f"{section}.{key}: a password may not stand in {path}: "
                f"set {PREFIX}{section.upper()}__{key.upper()} in the environment."
            )


def read_environment() -> dict[str, Any]:
    """Read WENZHEN_SECTION__KEY; a name that sets nothing is refused like an unknown key."""
    for name in sorted(os.environ):
        if name.startswith(PREFIX) and not name.startswith(NOT_SETTINGS):
            field = name.removeprefix(PREFIX).partition("__")[0].lower()
            if field not in Settings.model_fields:
                raise ConfigError(f"{name}: unknown setting in the environment")
    try:
        return EnvSettingsSource(_Environment)()
    except SettingsError as error:
        raise ConfigError(f"environment: {error}") from error


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Lay one tree of settings over another, key by key."""
    result = dict(below)
    for key, value in above.items():
        under = result.get(key)
        both = isinstance(value, Mapping) and isinstance(under, Mapping)
        result[key] = merged(under, value) if both else value  # type: ignore[arg-type]  # both are
    return result


def describe(error: Mapping[str, Any]) -> str:
    """Say which key is wrong and why, without the value: it may be one that nobody should see."""
    path = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        return f"{path}: unknown setting"
    why = str(error["msg"]).removeprefix("Value error, ")
    return f"{path}: {why}" if path else why
