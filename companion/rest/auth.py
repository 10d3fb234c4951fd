"""The routes of accounts: `auth/…` and `me` (A1–A9)."""

from collections.abc import Mapping
from datetime import date
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, Field

from care.accounts import Account, Name, Phone, Purpose
from care.errors import BadRequest
from care.masking import mask_id_card, mask_phone
from care.passwords import check_password
from care.policy import AccountPolicy
from care.ports import FileUrls
from care.record import wire_time
from companion.accounts import Accounts
from companion.one_tap import OneTap
from companion.rest.kernel import Body, Call, Route
from companion.sessions import Grant, Sessions
from companion.sms_codes import SmsCodes

NewPassword = Annotated[str, AfterValidator(check_password)]
GivenPassword = Annotated[str, Field(min_length=1, max_length=64)]
Code = Annotated[str, Field(pattern="^[0-9]{6}$")]
Device = Annotated[str, Field(min_length=1, max_length=64)]


class CodeRequest(Body):
    phone: Phone
    purpose: Purpose


class Registration(Body):
    phone: Phone
    code: Code
    password: NewPassword
    password_repeat: str = Field(max_length=64)
    terms_version: str = Field(max_length=32)
    name: Name | None = None
    device: Device | None = None


class Credentials(Body):
    phone: Phone
    password: GivenPassword | None = None
    code: Code | None = None
    device: Device | None = None


class WechatCode(Body):
    """`code` is what the phone-number button gives, `login_code` what `wx.login` gives."""

    code: str = Field(min_length=1, max_length=128)
    login_code: str | None = Field(default=None, min_length=1, max_length=128)
    device: Device | None = None


class RefreshToken(Body):
    refresh_token: str = Field(min_length=1, max_length=128)


class PasswordReset(Body):
    phone: Phone
    code: Code
    password: NewPassword
    password_repeat: str = Field(max_length=64)


class PasswordChange(Body):
    old_password: GivenPassword
    new_password: NewPassword
    confirm_password: str = Field(max_length=64)


class ProfileChange(Body):
    """What is absent or null stays as it is, but for `avatar`: null takes it away.

    `code` is the new phone's, `avatar` an upload's id.
    """

    name: Name | None = None
    avatar: str | None = Field(default=None, min_length=1, max_length=64)
    sex: Literal["male", "female"] | None = None
    birth_date: date | None = None
    real_name: Name | None = None
    id_card: str | None = Field(default=None, max_length=18)
    phone: Phone | None = None
    code: Code | None = None


class User(BaseModel):
    id: str
    name: str
    role: str
    phone: str
    avatar: str | None
    sex: str | None
    birth_date: str | None
    real_name: str | None
    id_card: str | None
    verified: bool
    must_change_password: bool
    has_password: bool
    created_at: str


class Profile(User):
    avatar_url: str | None
    """Signed, for a few minutes."""


class CodeSent(BaseModel):
    expires_in: int
    retry_after_ms: int


class Granted(BaseModel):
    access_token: str
    refresh_token: str
    expires_in: int
    user: User


class AuthRoutes:
    """Turns requests into calls of the use cases, and their results into answers."""

    def __init__(
        self,
        accounts: Accounts,
        one_tap: OneTap,
        sessions: Sessions,
        codes: SmsCodes,
        files: FileUrls,
        policy: AccountPolicy,
    ) -> None:
        self._accounts = accounts
        self._one_tap = one_tap
        self._sessions = sessions
        self._codes = codes
        self._files = files
        self._policy = policy

    def routes(self) -> list[Route]:
        return [*self._auth(), *self._me("/me"), *self._me("/auth/me")]

    def _auth(self) -> list[Route]:
        tag = "auth"
        return [
            Route("POST", "/auth/sms-codes", self.send_code, body=CodeRequest, public=True,
                  answer=CodeSent, tag=tag, summary="Send an SMS code"),
            Route("POST", "/auth/register", self.register, body=Registration, public=True,
                  status=201, answer=Granted, tag=tag, summary="Make a patient's account"),
            Route("POST", "/auth/login", self.log_in, body=Credentials, public=True,
                  answer=Granted, tag=tag, summary="Log in by password or SMS code"),
            Route("POST", "/auth/wechat-login", self.log_in_by_wechat, body=WechatCode,
                  public=True, answer=Granted, tag=tag, summary="Log in by WeChat's phone code"),
            Route("POST", "/auth/refresh", self.refresh, body=RefreshToken, public=True,
                  answer=Granted, tag=tag, summary="Trade the refresh token for new tokens"),
            Route("POST", "/auth/logout", self.log_out, status=204, tag=tag,
                  initial_password=True,
                  summary="End this session"),
            Route("POST", "/auth/password-reset", self.reset_password, body=PasswordReset,
                  public=True, status=204, tag=tag, summary="Set a forgotten password"),
        ]  # fmt: skip

    def _me(self, path: str) -> list[Route]:
        """Give the rows of the own account: the protocol can be read as either path."""
        tag = "me"
        return [
            Route("GET", path, self.show, answer=Profile, tag=tag, initial_password=True,
                  summary="The own account"),
            Route("PATCH", path, self.edit, body=ProfileChange, answer=Profile, tag=tag,
                  summary="Change the own account"),
            Route("POST", f"{path}/password", self.change_password, body=PasswordChange,
                  status=204, tag=tag, initial_password=True,
                  summary="Change the password; other sessions end"),
        ]  # fmt: skip

    async def send_code(self, call: Call) -> Mapping[str, Any]:
        body: CodeRequest = call.body
        await self._codes.send(body.phone, body.purpose)
        return {
            "expires_in": self._policy.sms_code_seconds,
            "retry_after_ms": self._policy.sms_interval_seconds * 1000,
        }

    async def register(self, call: Call) -> Mapping[str, Any]:
        body: Registration = call.body
        _same("password_repeat", body.password, body.password_repeat)
        grant = await self._accounts.register(
            body.phone, body.code, body.password, body.terms_version, body.name, body.device
        )
        return granted(grant)

    async def log_in(self, call: Call) -> Mapping[str, Any]:
        body: Credentials = call.body
        if body.password is not None and body.code is None:
            grant = await self._accounts.log_in_by_password(body.phone, body.password, body.device)
        elif body.code is not None and body.password is None:
            grant = await self._accounts.log_in_by_code(body.phone, body.code, body.device)
        else:
            raise BadRequest(
                fields={"password": "密码与验证码须填其一", "code": "密码与验证码须填其一"}
            )
        return granted(grant)

    async def log_in_by_wechat(self, call: Call) -> Mapping[str, Any]:
        body: WechatCode = call.body
        return granted(await self._one_tap.log_in(body.code, body.login_code, body.device))

    async def refresh(self, call: Call) -> Mapping[str, Any]:
        body: RefreshToken = call.body
        return granted(await self._sessions.refresh(body.refresh_token))

    async def log_out(self, call: Call) -> None:
        await self._sessions.log_out(call.caller)

    async def reset_password(self, call: Call) -> None:
        body: PasswordReset = call.body
        _same("password_repeat", body.password, body.password_repeat)
        await self._accounts.reset_password(body.phone, body.code, body.password)

    async def change_password(self, call: Call) -> None:
        body: PasswordChange = call.body
        _same("confirm_password", body.new_password, body.confirm_password)
        await self._accounts.change_password(call.caller, body.old_password, body.new_password)

    async def show(self, call: Call) -> Mapping[str, Any]:
        return self._profile(await self._accounts.profile(call.caller))

    async def edit(self, call: Call) -> Mapping[str, Any]:
        body: ProfileChange = call.body
        changes = body.model_dump(mode="json", exclude={"code"}, exclude_none=True)
        if "avatar" in body.model_fields_set:
            changes["avatar"] = body.avatar
        return self._profile(await self._accounts.edit_profile(call.caller, changes, body.code))

    def _profile(self, account: Account) -> Mapping[str, Any]:
        url = None
        if account.avatar:
            url = self._files.urls(account.avatar, account.id, thumbnail=True)["thumbnail_url"]
        return user(account) | {"avatar_url": url}


def _same(field: str, password: str, repeat: str) -> None:
    if password != repeat:
        raise BadRequest.field(field, "两次输入的密码不一致")


def granted(grant: Grant) -> dict[str, Any]:
    """Give the answer of every log-in."""
    return {
        "access_token": grant.access_token,
        "refresh_token": grant.refresh_token,
        "expires_in": grant.expires_in,
        "user": user(grant.account),
    }


def user(account: Account) -> dict[str, Any]:
    """Give an account to its owner: phone and ID card masked (P3)."""
    return {
        "id": account.id,
        "name": account.name,
        "role": account.role,
        "phone": mask_phone(account.phone),
        "avatar": account.avatar,
        "sex": account.sex,
        "birth_date": account.birth_date,
        "real_name": account.real_name,
        "id_card": account.id_card and mask_id_card(account.id_card),
        "verified": account.verified,
        "must_change_password": account.must_change_password,
        "has_password": account.password_hash is not None,
        "created_at": wire_time(account.created_at),
    }
