"""The people of a scenario: each logs in by REST and holds one or more sockets."""

import io
import itertools
import random
from base64 import b64encode
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from PIL import Image

from bot.client import Client
from bot.scenario import Actor, Upload

PASSWORD = "wenzhen-2026"
SMS_CODE = "246810"
XIAOFU = "13900000001"
HUANGFUMI = "13900000002"
HUATUO = "13900000003"
SHENNONG = "13900000004"
PATIENT = "13800000001"
OPERATOR = "13600000001"
DESCRIPTION = "牙疼三天，晚上更厉害，吃了止痛药没有用"

_phones = itertools.count(random.SystemRandom().randrange(10**7))


@dataclass(eq=False)
class User:
    """One account, with the client of its first device."""

    url: str
    http: aiohttp.ClientSession
    client: Client
    id: str
    name: str
    phone: str
    more: list[Client] = field(default_factory=list)

    async def get(self, path: str) -> Any:
        return await self._ok("GET", path, None)

    async def post(self, path: str, payload: Any = None) -> Any:
        return await self._ok("POST", path, payload if payload is not None else {})

    async def _ok(self, method: str, path: str, payload: Any) -> Any:
        answer = await self.client.call(method, path, payload)
        assert answer.status < 300, f"{method} {path}: {answer.status} {answer.body}"
        return answer.body

    async def refused(self, method: str, path: str, payload: Any = None) -> tuple[int, Any]:
        """Send what should be refused; give the status and the problem."""
        answer = await self.client.call(method, path, payload)
        assert answer.status >= 400, f"{method} {path} was not refused: {answer.body}"
        return answer.status, answer.body

    async def emit(self, command: str, **data: Any) -> Any:
        """Send a command that should succeed; give its answer."""
        answer = await self.client.emit(command, data)
        assert answer["ok"], f"{command}: {answer}"
        return answer

    async def emit_refused(self, command: str, **data: Any) -> Any:
        """Send a command that should be refused; give the error."""
        answer = await self.client.emit(command, data)
        assert not answer["ok"], f"{command} was not refused: {answer}"
        return answer["error"]

    async def event(self, name: str, seconds: float = 5, **wanted: Any) -> Any:
        """Wait for the next event of this name whose data has these fields."""
        found = await self.client.wait_for_event(
            name, seconds, lambda data: all(data.get(k) == v for k, v in wanted.items())
        )
        seen = [e.name for e in self.client.events]
        assert found is not None, f"{self.name} got no {name} with {wanted}; waiting: {seen}"
        return found.data

    async def device(self) -> Client:
        """Connect one more device of this user."""
        client = await log_in(self.url, self.http, self.phone)
        await client.connect()
        self.more.append(client)
        return client

    async def close(self) -> None:
        for client in (self.client, *self.more):
            await client.close()


async def log_in(url: str, http: aiohttp.ClientSession, phone: str) -> Client:
    client = Client(url, Actor(name=phone, phone=phone, password=PASSWORD), http)
    await client.log_in()
    return client


async def enter(url: str, http: aiohttp.ClientSession, phone: str) -> User:
    """Log one of the demo's people in."""
    client = await log_in(url, http, phone)
    me = (await client.call("GET", "/me")).body
    return User(url, http, client, me["id"], me["name"], phone)


async def register(url: str, http: aiohttp.ClientSession) -> User:
    """Make a new patient, so that no other test's consultation is in the way."""
    phone = f"131{next(_phones) % 10**8:08d}"
    async with http.post(
        f"{url}/api/v1/auth/sms-codes", json={"phone": phone, "purpose": "register"}
    ) as answer:
        assert answer.status == 200, await answer.text()
    account = {
        "phone": phone, "code": SMS_CODE, "password": PASSWORD, "password_repeat": PASSWORD,
        "terms_version": "1", "name": f"患者{phone[-4:]}",
    }  # fmt: skip
    async with http.post(f"{url}/api/v1/auth/register", json=account) as answer:
        assert answer.status == 201, await answer.text()
    return await enter(url, http, phone)


async def add_person(patient: User) -> str:
    """Give the patient a person under care."""
    made = await patient.post(
        "/people",
        {
            "kind": "adult", "name": "炎帝", "sex": "male", "id_card": "110101199003070417",
            "birth_date": "1990-03-07", "mobile": "13412345678",
        },
    )  # fmt: skip
    return str(made["id"])


def id_card(born: str, serial: str) -> str:
    """Make an ID card with a right checksum: `born` YYYYMMDD, an odd serial for a man."""
    number = f"110101{born}{serial}"
    total = sum(int(digit) * 2 ** (17 - i) for i, digit in enumerate(number))
    return number + "10X98765432"[total % 11]


async def upload(user: User) -> str:
    """Upload a small picture; give its id."""
    picture = io.BytesIO()
    Image.new("RGB", (32, 24), "teal").save(picture, "PNG")
    answer = await user.client.upload(
        Upload(
            name="tooth.png",
            content_type="image/png",
            base64=b64encode(picture.getvalue()).decode(),
        )
    )
    assert answer.status == 201, answer.body
    return str(answer.body["id"])


def form(doctor_id: str, person_id: str, **changes: Any) -> dict[str, Any]:
    """Fill the form of a text consultation in."""
    return {
        "doctor": doctor_id, "mode": "text", "person": person_id, "seen_before": True,
        "description": DESCRIPTION, "images": [], "consent_version": "1", **changes,
    }  # fmt: skip


async def ask(patient: User, doctor: User, **changes: Any) -> Any:
    """Ask a doctor for a consultation, with a new person under care."""
    person = await add_person(patient)
    return await patient.post("/consultations", form(doctor.id, person, **changes))


async def begin(patient: User, doctor: User) -> Any:
    """Bring a consultation to the talk, both sockets connected and in the room."""
    asked = await ask(patient, doctor)
    if asked["state"] == "awaiting_payment":
        await pay(patient, asked["id"])
    for user in (patient, doctor):
        await user.client.connect()
        await user.emit("room:join", room=asked["room"])
    answer = await doctor.emit("consultation:accept", consultation=asked["id"])
    for user in (patient, doctor):
        await user.event("consultation:updated", id=asked["id"], state="in_progress")
    return answer["consultation"]


async def pay(patient: User, consultation: str) -> None:
    begun = await patient.post(f"/consultations/{consultation}/pay")
    await patient.post(f"/payments/sandbox/{begun['payment']['id']}/succeed")


async def say(user: User, room: str, text: str, client_id: str | None = None) -> Any:
    """Send a text; give its receipt."""
    client_id = client_id or f"c{random.getrandbits(64):x}"
    answer = await user.emit(
        "message:send", room=room, client_id=client_id, kind="text", body={"text": text}
    )
    return answer["message"]
