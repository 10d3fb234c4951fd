"""A walk through the hospital: something of each kind is made, and all that is told is kept."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import aiohttp

from tests.scenarios.booking import book
from tests.scenarios.grouping import Case, open_case
from tests.scenarios.people import (
    HUANGFUMI,
    OPERATOR,
    SHENNONG,
    XIAOFU,
    User,
    begin,
    enter,
    upload,
)
from tests.scenarios.prescribing import PHARMACIST, approved, submitted

ADMIN = "13500000001"
WHITE, BLACK = "13800000001", "13800000002"
HOME_PHONE = "13400005678"


@dataclass(frozen=True)
class Answer:
    """An answer of the server; of an event or an acknowledgement the address is its name."""

    method: str
    address: str
    status: int
    body: bytes


@dataclass
class Told:
    """All that the server told anybody."""

    answers: list[Answer] = field(default_factory=list)

    def http(self) -> aiohttp.ClientSession:
        """Open a session whose answers are kept."""
        trace = aiohttp.TraceConfig()
        trace.on_request_end.append(self._keep)
        return aiohttp.ClientSession(trace_configs=[trace])

    async def _keep(
        self, _http: aiohttp.ClientSession, _context: SimpleNamespace, end: Any
    ) -> None:
        body = await end.response.read()
        self.answers.append(Answer(end.method, end.url.path_qs, end.response.status, body))

    def hear(self, user: User) -> None:
        """Keep what comes over a user's socket, acknowledgements too."""
        user.client.listener = lambda event: self._told("event", event.name, event.data)
        emit = user.client.emit

        async def kept(command: str, data: dict[str, Any]) -> Any:
            answer = await emit(command, data)
            self._told("acknowledgement", command, answer)
            return answer

        user.client.emit = kept  # type: ignore[method-assign]  # of this one client

    def _told(self, kind: str, name: str, data: Any) -> None:
        self.answers.append(Answer(kind, name, 200, repr(data).encode()))


@dataclass(frozen=True)
class People:
    """The demo's people, each with a socket."""

    white: User
    black: User
    doctor: User
    surgeon: User
    gynaecologist: User
    pharmacist: User
    operator: User
    admin: User

    def all(self) -> list[User]:
        return list(vars(self).values())

    def by_role(self) -> Mapping[str, User]:
        return {
            "patient": self.white, "doctor": self.doctor, "pharmacist": self.pharmacist,
            "operator": self.operator, "admin": self.admin,
        }  # fmt: skip


async def enter_all(url: str, http: aiohttp.ClientSession) -> People:
    phones = (WHITE, BLACK, XIAOFU, HUANGFUMI, SHENNONG, PHARMACIST, OPERATOR, ADMIN)
    return People(*[await enter(url, http, phone) for phone in phones])


async def walk(people: People) -> dict[str, str]:
    """Make one thing of each kind; give its id by the path it stands in."""
    for user in (people.pharmacist, people.operator):
        await user.client.connect()
    case = await open_case(people.white, people.doctor, people.surgeon, people.gynaecologist)
    group = await case.active()
    await talk(case)
    medicine = await buy(people, case.consultation)
    booking = await book(people.black, people.doctor)
    transfer = await hand_over(people)
    complaint = await complain(people)
    article = (await people.white.get("/articles?limit=1"))["items"][0]["id"]
    topic = (await people.white.get("/topics?limit=1"))["items"][0]["id"]
    said = await people.white.post("/comments", {"post": article, "text": "写得好"})
    notice = (await people.white.get("/notices?limit=1"))["items"][0]["id"]
    person = (await people.white.get("/people"))["items"][0]["id"]
    return medicine | {
        "/consultations/{id}": case.consultation,
        "/operator/consultations/{id}": case.consultation,
        "/groups/{id}": group["id"],
        "/transfers/{id}": transfer,
        "/bookings/{id}": booking["id"],
        "/complaints/{id}": complaint,
        "/people/{id}": person,
        "/operator/accounts/{id}": people.white.id,
        "/doctors/{id}": people.doctor.id,
        "/favourites/{doctor}": people.doctor.id,
        "/notices/{id}": notice,
        "/articles/{id}": article,
        "/operator/articles/{id}": article,
        "/topics/{id}": topic,
        "/operator/topics/{id}": topic,
        "/comments/{id}": said["id"],
        "/operator/comments/{id}": said["id"],
    }


async def hand_over(people: People) -> str:
    """Bring a transfer to where the new doctor is asked."""
    made = await begin(people.black, people.doctor)
    proposed = await people.doctor.emit(
        "transfer:propose", consultation=made["id"], to_doctor=people.gynaecologist.id,
        reason="请妇科会诊",
    )  # fmt: skip
    transfer = proposed["transfer"]["id"]
    await people.black.emit("transfer:agree", transfer=transfer)
    return str(transfer)


async def complain(people: People) -> str:
    """Complain, leaving a phone number, and review a talk that is over."""
    over = (await begin(people.black, people.surgeon))["id"]
    await people.black.post(f"/consultations/{over}/end")
    await people.black.post(f"/consultations/{over}/review", {"stars": 4, "text": "很耐心"})
    said = {"reason": "问题疑问", "text": "支付后没有收到通知", "contact": HOME_PHONE}
    return str((await people.white.post("/complaints", said))["id"])


async def talk(case: Case) -> None:
    """Send a picture, read everything back, look for a word."""
    file = await upload(case.patient)
    await case.patient.emit(
        "message:send", room=case.room, client_id="picture", kind="image", body={"file": file}
    )
    shown = await case.patient.emit("room:history", room=case.room)
    (url,) = (m["body"]["url"] for m in shown["messages"] if m["kind"] == "image")
    async with case.patient.http.get(case.patient.url + url) as picture:
        assert picture.status == 200
    for user in (case.patient, case.opener):
        await user.emit("room:list")
        await user.emit("room:history", room=case.room)
        await user.emit("message:search", text="牙")


async def buy(people: People, consultation: str) -> dict[str, str]:
    """Prescribe twice, and order one of the two to the door, paid."""
    white = people.white
    prescription = await approved(people.doctor, people.pharmacist, consultation)
    waiting = await submitted(people.doctor, consultation)
    home = {"name": "炎帝", "phone": HOME_PHONE, "region": "福州市", "detail": "东街1号"}
    address = (await white.post("/addresses", home))["id"]
    order = await white.post(
        "/drug-orders",
        {
            "prescription": prescription["id"], "pharmacy": "P2", "handover": "delivery",
            "address": address,
        },
    )  # fmt: skip
    payment = (await white.post(f"/drug-orders/{order['id']}/pay"))["payment"]["id"]
    await white.post(f"/payments/sandbox/{payment}/succeed")
    return {
        "/prescriptions/{id}": waiting["id"],
        "/drug-orders/{id}": order["id"],
        "/addresses/{id}": address,
        "/payments/sandbox/{payment}": payment,
        "/operator/payments/{id}": payment,
    }
