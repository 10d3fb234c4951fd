"""The use cases of accounts: register, log in, passwords, the own profile, staff (A1–A11)."""

from typing import Any
from zoneinfo import ZoneInfo

from care.accounts import SIGNERS, Account, Caller, Purpose, Role, check_name, check_phone
from care.errors import BadRequest, Conflict, Forbidden, RateLimited, Unauthenticated
from care.passwords import check_password
from care.ports import Audit, Clock, Vault
from care.profiles import edit
from care.record import new_id
from companion.passwords import Passwords
from companion.sessions import Grant, Sessions
from companion.sms_codes import SmsCodes
from storage.accounts import AccountStore
from storage.login_failures import LoginFailureStore
from storage.signing_keys import SigningKeyStore

WRONG_LOGIN = "手机号、密码或验证码错误"
WRONG_CODE = "验证码错误或已过期"
CHANGED_MEANWHILE = "内容刚刚被修改过，请刷新后重试"


class Accounts:
    def __init__(
        self,
        store: AccountStore,
        failures: LoginFailureStore,
        sessions: Sessions,
        codes: SmsCodes,
        passwords: Passwords,
        vault: Vault,
        audit: Audit,
        keys: SigningKeyStore,
        clock: Clock,
        zone: ZoneInfo,
        *,
        terms_version: str,
    ) -> None:
        self._store = store
        self._failures = failures
        self._sessions = sessions
        self._codes = codes
        self._passwords = passwords
        self._vault = vault
        self._audit = audit
        self._keys = keys
        self._clock = clock
        self._zone = zone
        self._terms_version = terms_version

    async def register(
        self,
        phone: str,
        code: str,
        password: str,
        terms_version: str,
        name: str | None = None,
        device: str | None = None,
    ) -> Grant:
        """Make a patient's account and log it in (A1). Raises BadRequest, Conflict."""
        if terms_version != self._terms_version:
            raise BadRequest.field("terms_version", "服务条款已更新，请阅读后重新同意")
        await self._redeem(phone, Purpose.REGISTER, code)
        now = self._clock.now()
        account = Account(
            id=new_id(now),
            role=Role.PATIENT,
            name=name or f"用户{phone[-4:]}",
            phone=phone,
            password_hash=await self._passwords.hash(password),
            terms_version=terms_version,
            created_at=now,
        )
        await self._store.add(account)
        return await self._sessions.open(account, device)

    async def log_in_by_password(
        self, phone: str, password: str, device: str | None = None
    ) -> Grant:
        """Open a session (A3). Raises Unauthenticated, RateLimited."""
        await self._count_try(phone)
        account = await self._store.by_phone(phone)
        password_hash = account.password_hash if account else None
        known = await self._passwords.matches(password, password_hash)
        return await self._admit(account if known else None, phone, device)

    async def log_in_by_code(self, phone: str, code: str, device: str | None = None) -> Grant:
        """Open a session (A4). Raises Unauthenticated, RateLimited."""
        await self._count_try(phone)
        known = await self._codes.redeem(phone, Purpose.LOGIN, code)
        account = await self._store.by_phone(phone)
        return await self._admit(account if known else None, phone, device)

    async def reset_password(self, phone: str, code: str, password: str) -> None:
        """Set a forgotten password; every session of the account ends (A6). Raises BadRequest."""
        await self._redeem(phone, Purpose.PASSWORD_RESET, code)
        account = await self._store.by_phone(phone)
        if account is None:
            # what a wrong code is told: no word on who has an account (A10)
            raise BadRequest.field("code", WRONG_CODE)
        await self._set_password(account, password, keep=None)
        await self._failures.forgive(self._vault.index(phone))

    async def change_password(self, caller: Caller, old: str, new: str) -> None:
        """Change the own password; every other session ends (A7).

        Raises BadRequest, RateLimited.
        """
        account = await self.profile(caller)
        await self._count_try(account.phone)
        if not await self._passwords.matches(old, account.password_hash):
            raise BadRequest.field("old_password", "原密码错误")
        if new == old:
            raise BadRequest.field("new_password", "新密码不能与原密码相同")
        await self._set_password(account, new, keep=caller.session)
        await self._failures.forgive(self._vault.index(account.phone))

    async def profile(self, caller: Caller) -> Account:
        account = await self._store.get(caller.user)
        if account is None:
            raise Unauthenticated
        return account

    async def edit_profile(
        self, caller: Caller, changes: dict[str, Any], code: str | None
    ) -> Account:
        """Change the own account; a new phone needs its code (A8). Raises BadRequest, Conflict."""
        before = await self.profile(caller)
        after = edit(before, changes, self._clock.now().astimezone(self._zone).date())
        if after.phone != before.phone:
            await self._redeem(after.phone, Purpose.CHANGE_PHONE, code or "")
        try:
            replaced = await self._store.replace(before, after)
        except Forbidden:
            raise BadRequest.field("avatar", "请上传一张新的图片作为头像") from None
        if not replaced:
            raise Conflict(CHANGED_MEANWHILE)
        await self._audit.record(
            caller.user, "account_edited", caller.user, "own", {"fields": sorted(changes)}
        )
        return after

    async def create_staff(
        self,
        role: Role,
        phone: str,
        name: str,
        password: str,
        *,
        by: str = "command_line",
        must_change_password: bool = False,
    ) -> str:
        """Make an account that registration never gives, and return its id (A11).

        Asking again for the same phone and role returns the id that is there, unchanged. Raises
        BadRequest, Conflict.
        """
        _check_staff(phone, name, password)
        present = await self._store.by_phone(phone)
        if present is not None and present.role is role:
            return present.id
        now = self._clock.now()
        account = Account(
            id=new_id(now),
            role=role,
            name=check_name(name),
            phone=phone,
            password_hash=await self._passwords.hash(password),
            must_change_password=must_change_password,
            created_at=now,
        )
        # noted before it is there: an account nobody noted would be found and kept by a second try
        await self._audit.record(by, "account_created", account.id, "staff", {"role": role.value})
        await self._store.add(account)
        if role in SIGNERS:
            await self._keys.ensure(account.id)
        return account.id

    async def _redeem(self, phone: str, purpose: Purpose, code: str) -> None:
        if not await self._codes.redeem(phone, purpose, code):
            raise BadRequest.field("code", WRONG_CODE)

    async def _count_try(self, phone: str) -> None:
        """Count a try before it is looked at (A10). Raises RateLimited when locked."""
        now = self._clock.now()
        locked_until = await self._failures.try_once(self._vault.index(phone), now)
        if locked_until is not None:
            wait = int((locked_until - now).total_seconds() * 1000)
            raise RateLimited(wait, "登录失败次数过多，请稍后再试")

    async def _admit(self, account: Account | None, phone: str, device: str | None) -> Grant:
        if account is None:
            raise Unauthenticated(WRONG_LOGIN)
        await self._failures.forgive(self._vault.index(phone))
        return await self._sessions.open(account, device)

    async def _set_password(self, account: Account, password: str, keep: str | None) -> None:
        password_hash = await self._passwords.hash(password)
        now = self._clock.now()
        ended = await self._store.set_password(account, password_hash, keep, now)
        if ended is None:
            raise Conflict(CHANGED_MEANWHILE)
        self._sessions.announce(account.id, ended)
        await self._audit.record(account.id, "password_set", account.id, "own")


def _check_staff(phone: str, name: str, password: str) -> None:
    """Refuse what the command line got wrong, by the field's name."""
    checks = (("phone", check_phone, phone), ("name", check_name, name))
    for field, check, value in (*checks, ("password", check_password, password)):
        try:
            check(value)
        except ValueError as error:
            raise BadRequest.field(field, str(error)) from None
