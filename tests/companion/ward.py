"""People, the directory and consents behind a real server, next to the accounts."""

from collections.abc import Mapping
from contextlib import AsyncExitStack
from datetime import date
from typing import Any
from zoneinfo import ZoneInfo

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from care.accounts import Role
from care.directory import Doctor
from care.policy import BookingPolicy, PeoplePolicy, PresencePolicy
from companion import consents
from companion.directory import Directory
from companion.people import PeopleService
from companion.rest import kernel
from companion.rest.auth import AuthRoutes
from companion.rest.consents import ConsentRoutes
from companion.rest.directory import DirectoryRoutes
from companion.rest.people import PeopleRoutes
from storage.cancellations import Cancellations
from storage.consultations import Consultations
from storage.database import Database
from storage.doctors import Doctors
from storage.favourites import Favourites
from storage.files import Files
from storage.names import Names
from storage.outbox import Outbox
from storage.people import People
from storage.reviews import Reviews
from storage.slots import Slots
from tests.clock import START
from tests.companion.conftest import PASSWORD, Answer, Api, Hospital, Phone
from tests.id_cards import id_card

TODAY = START.date()
BORN = date(TODAY.year - 36, 5, 1)
ADULT = id_card(BORN)
CHILD = id_card(date(TODAY.year - 4, 5, 1), male=False)
MOBILE = "13412345678"


def adult(**changes: Any) -> dict[str, Any]:
    return {"kind": "adult", "name": "张三", "id_card": ADULT, "mobile": MOBILE} | changes


def child(**changes: Any) -> dict[str, Any]:
    guardian = {"name": "张三", "id_card": ADULT, "phone": MOBILE}
    return {"kind": "child", "name": "张小三", "id_card": CHILD, "guardian": guardian} | changes


class User:
    """A logged-in user of one server."""

    def __init__(self, api: Api, phone: str, granted: Answer) -> None:
        self._api = api
        self._phone = phone
        self._token = granted["access_token"]
        self.id: str = granted["user"]["id"]

    @classmethod
    async def logged_in(cls, api: Api, phone: str) -> "User":
        granted = await api.log_in(phone)
        assert granted.status == 200, granted
        return cls(api, phone, granted)

    async def again(self) -> "User":
        """Log in anew, after the clock went past the token's end."""
        return await self.logged_in(self._api, self._phone)

    async def call(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        return await self._api.call(method, path, body, self._token, headers)

    async def get(self, path: str) -> Answer:
        return await self.call("GET", path)

    async def post(
        self, path: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        return await self.call("POST", path, body, headers)

    async def added(self, form: dict[str, Any]) -> Answer:
        """Add a person under care."""
        answer = await self.post("people", form)
        assert answer.status == 201, answer
        return answer


class Ward:
    """One process; two of them on one database are two processes."""

    def __init__(
        self, hospital: Hospital, database: Database, phone: Phone, node: str = "n1"
    ) -> None:
        self.hospital = hospital
        self._phone = phone
        clock = hospital.clock
        self.people_store = People(database, hospital.vault)
        self.doctors = Doctors(database, node, clock)
        self.departments = Names(database, "departments")
        self.hospitals = Names(database, "hospitals")
        self.favourites = Favourites(database)
        self.reviews = Reviews(database, self.doctors)
        self.outbox = Outbox(database, clock)
        self.consultations = Consultations(
            database, self.outbox, self.people_store, self.doctors, Files(database),
            Slots(database), Cancellations(database, BookingPolicy()),
        )  # fmt: skip
        self.zone = ZoneInfo("Asia/Shanghai")
        self.people = PeopleService(
            self.people_store, self.consultations, hospital.audit, clock, PeoplePolicy(), self.zone
        )
        self.directory = Directory(
            self.doctors, self.favourites, self.reviews, self.departments, self.hospitals,
            hospital.audit, clock, PresencePolicy(),
        )  # fmt: skip
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> "Ward":
        for store in (
            self.people_store, self.doctors, self.departments, self.hospitals, self.favourites,
            self.reviews, self.outbox, self.consultations,
        ):  # fmt: skip
            await store.ensure_indexes()
        client = TestClient(TestServer(self._app()))
        self.api = Api(await self._stack.enter_async_context(client), self._phone)
        return self

    async def __aexit__(self, *_failure: object) -> None:
        await self._stack.aclose()

    def _app(self) -> web.Application:
        h = self.hospital
        app = web.Application()
        rows = [
            *AuthRoutes(h.accounts, h.one_tap, h.sessions, h.codes, h.files, h.policy).routes(),
            *PeopleRoutes(self.people, h.clock, PeoplePolicy()).routes(),
            *DirectoryRoutes(self.directory, h.files, h.clock).routes(),
            *ConsentRoutes(consents.load()).routes(),
        ]
        kernel.mount(app, rows, h.tokens)
        return app

    async def user(self, role: Role, phone: str, name: str = "用户") -> User:
        """Make an account, unless there is one, and log it in."""
        await self.hospital.accounts.create_staff(role, phone, name, PASSWORD)
        return await User.logged_in(self.api, phone)

    async def doctor(self, phone: str, **fields: Any) -> str:
        """Make a doctor's account with his entry in the directory, and give its id."""
        entry = {
            "name": "小傅", "title": "主任医师", "hospital": "福州市第七医院", "department": "内科",
        } | fields  # fmt: skip
        create = self.hospital.accounts.create_staff
        account = await create(Role.DOCTOR, phone, entry["name"], PASSWORD)
        await self.doctors.add(Doctor.model_validate({"id": account, **entry}))
        return account
