"""The ways out of the hospital, joined to who carries the messages: WeChat, an SMS house."""

from collections.abc import Mapping

from care.notices import TEMPLATES, SubscriptionMessages
from care.ports import Clock, Sms
from companion.contacts import AccountContacts
from companion.sandbox_messages import SandboxMessages
from companion.sms import SandboxSms
from companion.tencent_sms import TencentSms
from companion.wechat import WechatClient
from companion.wechat_messages import WechatMessages
from realtime.rooms.notices import Outside
from realtime.secrets import ConfigError, Secrets
from realtime.settings import Settings
from storage.accounts import AccountStore


def join_sms(settings: Settings, secrets: Secrets, clock: Clock) -> SandboxSms | TencentSms:
    """Join the SMS house that is set. Raises ConfigError when its secrets are missing."""
    if settings.sms.provider == "sandbox":
        return SandboxSms()
    names = ("sms_secret_id", "sms_secret_key")
    missing = [name for name in names if name not in secrets.optional]
    if missing:
        raise ConfigError(*(f"{name}: missing; sms.provider needs it" for name in missing))
    secret_id, secret_key = (secrets.optional[name] for name in names)
    return TencentSms(settings.sms, secret_id, secret_key, clock)


def join_outside(
    settings: Settings, accounts: AccountStore, wechat: WechatClient | None, sms: Sms
) -> Outside:
    """Join the ways out; without a mini-program a demo notes what it would send."""
    templates: Mapping[str, str] = settings.wechat.templates
    messages: SubscriptionMessages = SandboxMessages()
    if wechat is not None:
        messages = WechatMessages(wechat, settings.wechat.state)
    else:
        templates = {n: n for n, t in TEMPLATES.items() if t.fields} if settings.demo else {}
    return Outside(AccountContacts(accounts), messages, sms, templates)
