"""The accounts of a hospital behind a real server, with a clock and a phone the tests hold."""

import re
from collections.abc import AsyncIterator, Mapping
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from argon2 import PasswordHasher

from care.accounts import Role
from care.policy import AccountPolicy, FilePolicy
from companion.accounts import Accounts
from companion.files import FileService
from companion.one_tap import MiniProgram, NoMiniProgram, OneTap
from companion.passwords import Passwords
from companion.probe.inspector import Inspector
from companion.rest import kernel
from companion.rest.auth import AuthRoutes
from companion.sessions import Sessions
from companion.sms_codes import SmsCodes
from companion.tokens import AccessTokens, SigningKeys
from storage.accounts import AccountStore
from storage.audit import AuditTrail
from storage.database import Database
from storage.doctors import Doctors
from storage.files import Files
from storage.login_failures import LoginFailureStore
from storage.sessions import SessionStore
from storage.signing_keys import SigningKeyStore
from storage.sms_codes import SmsCodeStore
from storage.vault import Vault
from tests.clock import ManualClock
from tests.companion.files.server import URL_KEY, Rooms

KEYS = SigningKeys({"k1": b"1" * 32, "k2": b"2" * 32}, current="k2")
PASSWORD = "wenzhen-2026"
PHONE = "13812345678"


class Phone:
    """Receives what the hospital sends; implements `care.ports.Sms`."""

    def __init__(self) -> None:
        self.received: list[tuple[str, str]] = []

    async def send(self, phone: str, template: str, values: Mapping[str, str]) -> None:
        assert template == "sms_code"
        assert re.fullmatch("[0-9]{6}", values["code"])
        self.received.append((phone, values["code"]))


class Hospital:
    """One process's accounts. Two of them on one database are two processes."""

    def __init__(
        self,
        database: Database,
        clock: ManualClock,
        phone: Phone,
        mini_program: MiniProgram | None = None,
        policy: AccountPolicy | None = None,
    ) -> None:
        self.policy = policy or AccountPolicy()
        self.clock = clock
        self.vault = Vault({"v1": b"v" * 32}, "v1", b"i" * 32)
        self.session_store = SessionStore(database)
        self.file_store, files = Files(database), FilePolicy()
        doctors = Doctors(database, "n1", clock)
        self.store = AccountStore(
            database, self.vault, self.session_store, self.file_store, doctors
        )
        self.files = FileService(self.file_store, Inspector(files), Rooms(), clock, files, URL_KEY)
        self.code_store = SmsCodeStore(database, self.policy)
        self.failures = LoginFailureStore(database, self.policy)
        self.audit = AuditTrail(database, clock)
        self.tokens = AccessTokens(KEYS, self.session_store, clock, self.policy)
        self.revoked: list[tuple[str, str]] = []
        self.sessions = Sessions(
            self.session_store,
            self.store,
            self.tokens,
            clock,
            self.policy,
            lambda session, user: self.revoked.append((session, user)),
        )
        zone = ZoneInfo("Asia/Shanghai")
        self.codes = SmsCodes(self.code_store, phone, self.vault, clock, self.policy, zone)
        # as weak as argon2 gets: tests hash often
        passwords = Passwords(PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
        self.one_tap = OneTap(
            mini_program or NoMiniProgram(), self.store, self.sessions, passwords, clock,
            self.policy,
        )  # fmt: skip
        self.accounts = Accounts(
            self.store,
            self.failures,
            self.sessions,
            self.codes,
            passwords,
            self.vault,
            self.audit,
            SigningKeyStore(database, self.vault),
            clock,
            zone,
            terms_version="1",
        )

    async def ensure_indexes(self) -> None:
        for store in (self.store, self.session_store, self.code_store, self.failures, self.audit):
            await store.ensure_indexes()

    def app(self) -> web.Application:
        app = web.Application()
        routes = AuthRoutes(
            self.accounts, self.one_tap, self.sessions, self.codes, self.files, self.policy
        ).routes()
        kernel.mount(app, routes, self.tokens)
        return app


class Answer(dict[str, Any]):
    """The JSON of an answer, with its status and headers."""

    def __init__(self, status: int, headers: Mapping[str, str], content: dict[str, Any]) -> None:
        super().__init__(content)
        self.status = status
        self.headers = headers


class Api:
    """Speaks to the server as a client does."""

    def __init__(self, client: TestClient[web.Request, web.Application], phone: Phone) -> None:
        self._client = client
        self._phone = phone

    async def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        token: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        bearer = {"Authorization": f"Bearer {token}"} if token else {}
        async with self._client.request(
            method, f"/api/v1/{path}", json=body, headers={**bearer, **(headers or {})}
        ) as response:
            content = await response.json(content_type=None) if response.status != 204 else {}
            return Answer(response.status, response.headers, content)

    async def post(self, path: str, body: Any = None, token: str | None = None) -> Answer:
        return await self.call("POST", path, body, token)

    async def code(self, phone: str, purpose: str) -> str:
        """Ask for a code and read it from the phone."""
        answer = await self.post("auth/sms-codes", {"phone": phone, "purpose": purpose})
        assert answer.status == 200, answer
        to, code = self._phone.received[-1]
        assert to == phone
        return code

    async def register(self, phone: str = PHONE, **changes: Any) -> Answer:
        code = await self.code(phone, "register")
        return await self.post("auth/register", registration(phone, code) | changes)

    async def log_in(self, phone: str = PHONE, password: str = PASSWORD) -> Answer:
        return await self.post("auth/login", {"phone": phone, "password": password})


def registration(phone: str, code: str) -> dict[str, Any]:
    return {
        "phone": phone,
        "code": code,
        "password": PASSWORD,
        "password_repeat": PASSWORD,
        "terms_version": "1",
    }


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def phone() -> Phone:
    return Phone()


@pytest.fixture
async def hospital(database: Database, clock: ManualClock, phone: Phone) -> Hospital:
    hospital = Hospital(database, clock, phone)
    await hospital.ensure_indexes()
    return hospital


@pytest.fixture
async def api(hospital: Hospital, phone: Phone) -> AsyncIterator[Api]:
    async with TestClient(TestServer(hospital.app())) as client:
        yield Api(client, phone)


@pytest.fixture
async def other_process(
    hospital: Hospital, database: Database, clock: ManualClock, phone: Phone
) -> AsyncIterator[Api]:
    """Serve the same database a second time."""
    async with TestClient(TestServer(Hospital(database, clock, phone).app())) as client:
        yield Api(client, phone)


@pytest.fixture
async def doctor(hospital: Hospital) -> str:
    """Make a doctor's account and give its phone."""
    await hospital.accounts.create_staff(Role.DOCTOR, "13900000009", "小傅", PASSWORD)
    return "13900000009"
