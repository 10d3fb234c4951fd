"""What can be set about payments."""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import PositiveFloat

from care.policy import Section


class WechatPaySettings(Section):
    """`serial` is our certificate's; `public_keys` are WeChat Pay's: serial or id, PEM file.

    The mini-program is the one of the section `wechat`.
    """

    mchid: str = ""
    serial: str = ""
    base_url: str = "https://api.mch.weixin.qq.com"
    notify_url: str = ""
    public_keys: Mapping[str, Path] = {}


class PaymentSettings(Section):
    provider: Literal["sandbox", "wechat"] = "sandbox"
    ask_seconds: PositiveFloat = 30.0
    wechat: WechatPaySettings = WechatPaySettings()
