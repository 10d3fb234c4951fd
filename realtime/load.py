"""Test rooms for a demo server: `POST /test/load-data`, what `wenzhen dev load-data` calls.

Each room is a consultation in progress between a patient and a doctor of its own, made through
the same use cases as any other, with tokens that outlast a long run.
"""

import asyncio
import secrets
from ipaddress import ip_address
from zoneinfo import ZoneInfo

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from care.accounts import Account, Caller, Role
from care.consultation import Mode
from care.directory import Doctor, Prices, Title
from care.errors import Conflict
from care.people import Claims
from care.ports import Clock
from care.record import DAY, new_id
from care.schedules import Schedule, bookable_days
from companion.people import PeopleService
from companion.sessions import Sessions
from realtime.rooms.consultations import ConsultationService
from realtime.rooms.requests import Form, RequestService
from storage.accounts import AccountStore
from storage.doctors import Doctors
from storage.schedules import Schedules

AT_ONCE = 8
ID_CARD = "110101199003070417"


class Asked(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    rooms: int = Field(ge=1, le=100)
    mode: Mode = Mode.TEXT


class RoomLoader:
    def __init__(
        self,
        accounts: AccountStore,
        doctors: Doctors,
        schedules: Schedules,
        sessions: Sessions,
        people: PeopleService,
        requests: RequestService,
        consultations: ConsultationService,
        clock: Clock,
        zone: ZoneInfo,
    ) -> None:
        self._accounts = accounts
        self._doctors = doctors
        self._schedules = schedules
        self._sessions = sessions
        self._people = people
        self._requests = requests
        self._consultations = consultations
        self._clock = clock
        self._zone = zone
        self._places = asyncio.Semaphore(AT_ONCE)

    async def load(self, rooms: int, mode: Mode) -> list[dict[str, str]]:
        """Make that many rooms; give each one's ids and tokens."""
        return list(await asyncio.gather(*(self._room(mode) for _ in range(rooms))))

    async def _room(self, mode: Mode) -> dict[str, str]:
        async with self._places:
            patient, patient_token = await self._log_in(Role.PATIENT, "压测患者")
            doctor, doctor_token = await self._log_in(Role.DOCTOR, "压测医生")
            consultation = await self._consult(patient, doctor, mode)
        return {
            "room": consultation[1],
            "consultation": consultation[0],
            "patient_token": patient_token,
            "doctor_token": doctor_token,
        }

    async def _consult(self, patient: Caller, doctor: Caller, mode: Mode) -> tuple[str, str]:
        """Bring the two together; give the consultation's and the room's id."""
        entry = Doctor(
            id=doctor.user,
            name=doctor.name,
            title=Title.RESIDENT,
            hospital="压测医院",
            department="压测科",
            prices=Prices(text=0, voice=0, video=0),
        )
        await self._doctors.add(entry)
        person = await self._people.add(
            patient.user,
            new_id(self._clock.now()),
            {"name": "压测", "id_card": ID_CARD, "mobile": _phone()},
            Claims(),
        )
        form = Form(
            request=new_id(self._clock.now()),
            doctor=doctor.user,
            mode=mode,
            person=person.id,
            seen_before=True,
            description="压力测试产生的问诊记录",
            images=(),
            slot=await self._slot(doctor.user, mode),
            consent_version="1",
        )
        made = await self._requests.submit(patient, form)
        if made.slot:
            # a talk before its time begins by a call alone
            await self._consultations.connect(made.id)
        else:
            await self._consultations.accept(made.id, doctor)
        return made.id, made.room

    async def _slot(self, doctor: str, mode: Mode) -> str | None:
        """Give the id of a slot of tomorrow, which the doctor has for this."""
        if mode is Mode.TEXT:
            return None
        now = self._clock.now()
        (tomorrow,) = bookable_days(now, self._zone, 1)
        before = await self._schedules.of(doctor)
        after = before.put(
            Schedule(
                id=new_id(now),
                weekday=tomorrow.isoweekday(),
                begins="09:00",
                ends="12:00",
                modes=(Mode.VOICE, Mode.VIDEO),
                slot_minutes=20,
            )
        )
        await self._schedules.replace(before, after)
        return after.slots_on(tomorrow, self._zone)[0].id

    async def _log_in(self, role: Role, name: str) -> tuple[Caller, str]:
        """Make an account without a password, and a session for a day."""
        now = self._clock.now()
        account = Account(id=new_id(now), role=role, name=name, phone=_phone(), created_at=now)
        try:
            await self._accounts.add(account)
        except Conflict:
            # the phone is taken; another will be free
            return await self._log_in(role, name)
        grant = await self._sessions.open(account, access_seconds=DAY)
        # the session's own id matters to sockets only, which come with the token
        caller = Caller(account.id, role, name, session="", expires_at=now)
        return caller, grant.access_token


def _phone() -> str:
    return f"199{secrets.randbelow(10**8):08d}"


def mount(app: web.Application, loader: RoomLoader) -> None:
    """Serve `POST /test/load-data` to this machine alone."""

    async def load(request: web.Request) -> web.Response:
        if request.remote is None or not ip_address(request.remote).is_loopback:
            return web.json_response({"code": "forbidden"}, status=403)
        try:
            asked = Asked.model_validate_json(await request.read())
        except ValidationError:
            return web.json_response({"code": "bad_request", "fields": ["rooms"]}, status=400)
        return web.json_response({"items": await loader.load(asked.rooms, asked.mode)})

    app.router.add_post("/test/load-data", load)
