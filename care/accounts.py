"""Accounts: roles, the caller of a request, and the rules of registration and log-in (A1–A11)."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from care.record import Record


class Role(StrEnum):
    PATIENT = "patient"
    DOCTOR = "doctor"
    PHARMACIST = "pharmacist"
    OPERATOR = "operator"
    ADMIN = "admin"
    BOT = "bot"


STAFF = frozenset({Role.OPERATOR, Role.ADMIN})


@dataclass(frozen=True, slots=True)
class Caller:
    """Who makes a request: taken from a verified access token, never from what a client names."""

    user: str
    role: Role
    name: str
    session: str
    expires_at: datetime


class Account(Record):
    id: str
    role: Role
    name: str
    phone: str
    """Clear here only: storage encrypts it and answers mask it."""
    password_hash: str | None = None
    must_change_password: bool = False
    avatar: str | None = None
    sex: str | None = None
    birth_date: str | None = None
    id_card: str | None = None
    real_name: str | None = None
    terms_version: str | None = None
    created_at: datetime
    version: int = 1
