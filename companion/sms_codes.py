"""Send SMS codes and take them back, once (A10)."""

import secrets
from datetime import timedelta
from zoneinfo import ZoneInfo

from care.accounts import Purpose
from care.errors import RateLimited
from care.policy import AccountPolicy
from care.ports import Clock, Sms, Vault
from storage.sms_codes import SmsCodeStore


class SmsCodes:
    """`fixed_code` is for demonstrations, where no phone is at hand."""

    def __init__(
        self,
        store: SmsCodeStore,
        sms: Sms,
        vault: Vault,
        clock: Clock,
        policy: AccountPolicy,
        zone: ZoneInfo,
        *,
        fixed_code: str | None = None,
    ) -> None:
        self._store = store
        self._sms = sms
        self._vault = vault
        self._clock = clock
        self._policy = policy
        self._zone = zone
        self._fixed_code = fixed_code

    async def send(self, phone: str, purpose: Purpose) -> None:
        """Send a new code; the phone's earlier one is void. Raises RateLimited.

        Whether the phone has an account makes no difference here, so nobody can ask.
        """
        now = self._clock.now()
        code = self._fixed_code or f"{secrets.randbelow(10**6):06d}"
        key = self._vault.index(phone)
        day = now.astimezone(self._zone).date().isoformat()
        if not await self._store.put(key, purpose, self._digest(phone, code), now, day):
            raise RateLimited(await self._wait_ms(key), "验证码发送过于频繁，请稍后再试")
        minutes = self._policy.sms_code_seconds // 60
        await self._sms.send(phone, "sms_code", {"code": code, "minutes": str(minutes)})

    async def redeem(self, phone: str, purpose: Purpose, code: str) -> bool:
        """Use a code up; say whether it was the right one."""
        key = self._vault.index(phone)
        return await self._store.redeem(key, purpose, self._digest(phone, code), self._clock.now())

    def _digest(self, phone: str, code: str) -> str:
        # keyed: a million plain digests are tried in no time
        return self._vault.index(f"{phone}:{code}")

    async def _wait_ms(self, key: str) -> int:
        """Tell how long until the phone may ask again: a minute, or the hospital's midnight."""
        now = self._clock.now()
        sent_at, count = await self._store.asked(key) or (now, 0)
        again = sent_at + timedelta(seconds=self._policy.sms_interval_seconds)
        if count >= self._policy.sms_daily_limit:
            local = sent_at.astimezone(self._zone) + timedelta(days=1)
            again = local.replace(hour=0, minute=0, second=0, microsecond=0)
        return max(1000, int((again - now).total_seconds() * 1000))
