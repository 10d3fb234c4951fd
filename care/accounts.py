"""Accounts: roles, the caller of a request, and the rules of registration and log-in (A1–A11)."""

import re
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Annotated

from pydantic import AfterValidator

from care.errors import PasswordChangeRequired
from care.record import Record


class Role(StrEnum):
    PATIENT = "patient"
    DOCTOR = "doctor"
    PHARMACIST = "pharmacist"
    OPERATOR = "operator"
    ADMIN = "admin"
    BOT = "bot"


STAFF = frozenset({Role.OPERATOR, Role.ADMIN})
SIGNERS = frozenset({Role.DOCTOR, Role.PHARMACIST})
"""Who signs prescriptions, with a key of his own."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who makes a request: taken from a verified access token, never from what a client names."""

    user: str
    role: Role
    name: str
    session: str
    expires_at: datetime
    must_change_password: bool = False


def require_own_password(caller: Caller) -> None:
    """Refuse who still has the password somebody else chose. Raises PasswordChangeRequired."""
    if caller.must_change_password:
        raise PasswordChangeRequired


def check_phone(phone: str) -> str:
    """Return a mainland mobile number. Raises ValueError."""
    if not re.fullmatch(r"1[3-9][0-9]{9}", phone):
        raise ValueError("请输入正确的11位手机号")
    return phone


def check_name(name: str) -> str:
    """Return a name without the space around it. Raises ValueError."""
    name = name.strip()
    if not (0 < len(name) <= 20 and name.isprintable()):
        raise ValueError("应为 1–20 个字符")
    return name


Phone = Annotated[str, AfterValidator(check_phone)]
Name = Annotated[str, AfterValidator(check_name)]


class Account(Record):
    id: str
    role: Role
    name: str
    phone: str
    """Clear here only: storage encrypts it and answers mask it."""
    password_hash: str | None = None
    must_change_password: bool = False
    avatar: str | None = None
    """The file of a picture."""
    sex: str | None = None
    birth_date: str | None = None
    id_card: str | None = None
    real_name: str | None = None
    terms_version: str | None = None
    openid: str | None = None
    """Who it is in the hospital's mini-program, as WeChat says: messages are sent there."""
    created_at: datetime
    version: int = 1

    @property
    def verified(self) -> bool:
        """Say whether the real name is known: a name, and an ID card that passed its check.

        What is checked is the form. A hospital in operation also asks the public security
        bureau's identity service whether the two belong together, before it stores them.
        """
        return self.real_name is not None and self.id_card is not None


class Purpose(StrEnum):
    """What an SMS code is good for; it is good for nothing else."""

    REGISTER = "register"
    LOGIN = "login"
    PASSWORD_RESET = "password_reset"  # noqa: S105 - the name of a purpose
    CHANGE_PHONE = "change_phone"


class LogIn(Record):
    """A session: what one log-in began, and log-out, a lost token or a new password ends."""

    id: str
    user: str
    device: str | None = None
    refresh_digest: str
    """Of the one refresh token that is good now."""
    created_at: datetime
    expires_at: datetime
