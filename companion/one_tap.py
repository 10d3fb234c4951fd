"""One-tap log-in: WeChat says whose phone it is, and the first time makes the account (A5)."""

from typing import Protocol

from care.accounts import Account, Role, check_phone
from care.errors import BadRequest, Conflict, Unavailable
from care.policy import AccountPolicy
from care.ports import Clock
from care.record import new_id
from companion.passwords import Passwords
from companion.sessions import Grant, Sessions
from storage.accounts import AccountStore

NOT_OPEN = "微信一键登录暂未开通，请使用验证码登录"
DEMO = "demo:"


class MiniProgram(Protocol):
    """Trades the codes a mini-program gets; each is good once. Raises BadRequest, Unavailable."""

    async def phone_number(self, code: str) -> str: ...

    async def openid(self, login_code: str) -> str: ...


class NoMiniProgram:
    """Stands where no mini-program is set up."""

    async def phone_number(self, code: str) -> str:  # noqa: ARG002 - a MiniProgram
        raise Unavailable(NOT_OPEN)

    async def openid(self, login_code: str) -> str:  # noqa: ARG002 - a MiniProgram
        raise Unavailable(NOT_OPEN)


class SandboxMiniProgram:
    """Takes `demo:13800000001` for that phone's code; a demo lets anybody in by SMS code too."""

    async def phone_number(self, code: str) -> str:
        try:
            return check_phone(code.removeprefix(DEMO) if code.startswith(DEMO) else "")
        except ValueError:
            raise BadRequest.field("code", f"演示环境应为 {DEMO} 加11位手机号") from None

    async def openid(self, login_code: str) -> str:
        return f"{DEMO}{login_code}"


class OneTap:
    def __init__(
        self,
        mini_program: MiniProgram,
        store: AccountStore,
        sessions: Sessions,
        passwords: Passwords,
        clock: Clock,
        policy: AccountPolicy,
    ) -> None:
        self._mini_program = mini_program
        self._store = store
        self._sessions = sessions
        self._passwords = passwords
        self._clock = clock
        self._policy = policy

    async def log_in(self, code: str, login_code: str | None, device: str | None) -> Grant:
        """Open a session for the phone WeChat vouches for; make its account if it has none.

        Raises BadRequest, Unavailable.
        """
        # first, so that a bad one leaves the phone's code unused
        openid = await self._mini_program.openid(login_code) if login_code else None
        phone = await self._mini_program.phone_number(code)
        account = await self._store.by_phone(phone) or await self._make(phone)
        if openid is not None:
            await self._store.keep_openid(account.id, openid)
        return await self._sessions.open(account, device)

    async def _make(self, phone: str) -> Account:
        """Make a patient's account with no password, or with the one the hospital gives to all."""
        initial = self._policy.one_tap_default_password
        now = self._clock.now()
        account = Account(
            id=new_id(now),
            role=Role.PATIENT,
            name=f"用户{phone[-4:]}",
            phone=phone,
            password_hash=await self._passwords.hash(initial) if initial else None,
            must_change_password=initial is not None,
            created_at=now,
        )
        try:
            await self._store.add(account)
        except Conflict:
            # another tap of the same phone was quicker
            return await self._store.by_phone(phone) or account
        return account
