"""Whatever a client sends: the right refusal, nothing half-written, and the socket lives on.

The cases are made from `/asyncapi.json` of the running server. A new command needs one line here,
its whole example in `examples`, and is then tried in every way.
"""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from tests.scenarios.people import HUATUO, OPERATOR, PATIENT, form
from tests.scenarios.spoiling import Fault, JsonObject, Schemas
from tests.scenarios.wire import Lost, Wire, load_rooms, log_in
from tests.server import ServerProcess

API = "/api/v1"
PHONES = {
    "patient": PATIENT, "doctor": HUATUO, "pharmacist": "13700000001",
    "operator": OPERATOR, "admin": "13500000001",
}  # fmt: skip
"""One account of each role, none of them a member of the stage's rooms."""

UNKNOWN = "no-such-id"
FRAME_MAX = 65_536
LATE = {
    "consultation:end", "call:decline", "call:cancel", "transfer:refuse", "transfer:decline",
    "group:decline",
}  # fmt: skip
SDP = "".join(
    line + "\r\n"
    for line in (
        "v=0", "o=- 1 2 IN IP4 127.0.0.1", "s=-", "t=0 0", "m=audio 9 UDP/TLS/RTP/SAVPF 111",
        "c=IN IP4 0.0.0.0", "a=ice-ufrag:4ZcD", "a=ice-pwd:2/1muCWoOi3uLifh0NuRHlV3",
        "a=fingerprint:sha-256 AB:CD", "a=setup:actpass", "a=mid:0",
    )
)  # fmt: skip
UNREACHABLE = [
    "connect", "disconnect", "connect_error", "message", "__disconnect_final", "error", "ping",
    "*", "", "run", "log:stored", "message:new", "consultation:updated", "MESSAGE:SEND",
    "message:send ", "message:send\0", "消息",
]  # fmt: skip
TEXT_MAX = 4000
NO_EVENTS = [
    "", "[", "{}", "[]", '["message:send",', '["room:list",{}]]', '["room:list",NaN]',
    '["room:list",' + "[" * 2000 + "]" * 2000 + "]",
    "[7,{}]", "[null,{}]", "[true,{}]", '[["room:list"],{}]', '[{"room:list":1},{}]',
]  # fmt: skip


@dataclass(frozen=True)
class Command:
    name: str
    schema: JsonObject
    roles: list[str] | None


class Reference:
    """The server's own list of its commands."""

    def __init__(self, document: JsonObject) -> None:
        self.schemas = Schemas(document)
        self.auth: JsonObject = document["components"]["schemas"]["Auth"]
        messages = document["channels"]["socket"]["messages"]
        self.commands = [
            Command(messages[key]["name"], messages[key]["payload"], operation.get("x-roles"))
            for key, operation in document["operations"].items()
            if operation["action"] == "receive"
        ]


class Member:
    """One side of a room: a socket, and REST with the same token."""

    def __init__(self, url: str, http: aiohttp.ClientSession, token: str, wire: Wire) -> None:
        self.token = token
        self.wire = wire
        self._url = url
        self._http = http

    @classmethod
    async def enter(cls, url: str, http: aiohttp.ClientSession, token: str) -> "Member":
        return cls(url, http, token, await Wire.enter(http, url, token))

    async def rest(self, method: str, path: str, body: Any = None) -> Any:
        headers = {"Authorization": f"Bearer {self.token}"}
        async with self._http.request(
            method, f"{self._url}{API}{path}", json=body, headers=headers
        ) as answer:
            assert answer.status < 300, await answer.text()
            return await answer.json()


@dataclass
class Stage:
    """Two rooms in progress with nobody in common, and a patient who waits for the first doctor."""

    url: str
    http: aiohttp.ClientSession
    reference: Reference
    room: str
    consultation: str
    patient: Member
    doctor: Member
    stranger: Member
    other_doctor: Member
    waiting: Member
    awaiting: str
    seq: int
    """Of a message by the patient."""
    call: str
    """Rings the patient in the first room, which is one of video."""
    ids: tuple[str, str, str]
    """The patient's, the doctor's and the other doctor's."""
    transfer: str
    """Asks the patient to go from the other doctor to the doctor."""
    group: str
    """The opener invites the doctor to it, with the one who waits."""
    opener: Member

    def actor(self, command: Command) -> Member:
        """Give whoever may send the command in the first room."""
        special = {
            "call:answer": self.doctor, "group:join": self.waiting, "group:leave": self.waiting,
            "group:close": self.opener,
        }  # fmt: skip
        if command.name in special:
            return special[command.name]
        return self.doctor if command.roles == ["doctor"] else self.patient

    def examples(self) -> dict[str, JsonObject]:
        """Give each command as it should be, with all its optional fields."""
        room, consultation = {"room": self.room}, {"consultation": self.consultation}
        body = {"text": "例子"}
        call, (patient, doctor, other) = {"call": self.call}, self.ids
        transfer, group = {"transfer": self.transfer}, {"group": self.group}
        candidate = {
            "candidate": "candidate:1 1 udp 2122260223 192.0.2.7 53705 typ host", "sdpMid": "0",
            "sdpMLineIndex": 0, "usernameFragment": "4ZcD",
        }  # fmt: skip
        measured = {
            "connection": "connecting", "rtt_ms": 20.5, "jitter_ms": 3, "loss": 0.01,
            "concealed": 0, "bitrate_kbps": 350.5, "candidate": "host",
        }  # fmt: skip
        return {
            "session:refresh": {"token": self.patient.token},
            "presence:set": {"state": "foreground"},
            "room:list": {"cursor": "f" * 28},
            "room:join": {**room, "after_seq": 0},
            "room:leave": room,
            "room:sync": {**room, "after_seq": 0, "limit": 5},
            "room:history": {**room, "before_seq": 9, "limit": 5},
            "message:send": {**room, "client_id": "example", "kind": "text", "body": body},
            "message:recall": {**room, "seq": self.seq},
            "message:read": {**room, "seq": 1},
            "message:search": {**room, "text": "例子", "cursor": "f" * 28},
            "typing:set": {**room, "on": True},
            "call:accept": call,
            "call:offer": {**call, "to": doctor, "sdp": SDP},
            "call:answer": {**call, "to": patient, "sdp": SDP},
            "call:candidate": {**call, "to": doctor, "candidate": candidate},
            "call:media": {**call, "mic": "off", "camera": "blocked"},
            "call:consent": {**call, "record": False},
            "call:stats": {**call, "stats": measured},
            "call:resume": {**call, "fresh": True},
            "call:hang_up": call,
            "call:decline": call,
            "call:cancel": call,
            "call:start": {**room, "media": "video", "record": False},
            "consultation:accept": {"consultation": self.awaiting},
            "transfer:propose": {
                "consultation": self.awaiting,
                "to_doctor": other,
                "reason": "请外科继续诊治",
            },
            "transfer:agree": transfer,
            "transfer:accept": transfer,
            "transfer:refuse": transfer,
            "transfer:decline": transfer,
            "group:open": {
                **consultation,
                "title": "牙疼",
                "reason": "请外科会诊",
                "mode": "doctors_only",
                "doctors": [other],
                "history_from_seq": 1,
            },
            "group:accept": group,
            "group:join": group,
            "group:opinion": {**group, "text": "建议CT"},
            "group:leave": group,
            "group:decline": group,
            "group:close": {**group, "conclusion": "转外科"},
            "consultation:decline": {**consultation, "reason": "请到医院面诊"},
            "consultation:end": consultation,
        }

    async def picture(self) -> Any:
        """Read everything the commands could have changed."""
        seen = []
        for member in (self.patient, self.doctor, self.stranger, self.waiting):
            rooms = (await member.wire.ask("room:list", {}))["rooms"]
            for room in rooms:
                joined = await member.wire.ask("room:join", {"room": room["id"], "after_seq": 0})
                seen.append(joined["room"] | {"messages": joined["messages"]})
            consultations = await member.rest("GET", "/consultations")
            for one in consultations["items"]:
                one.pop("queue", None)
            seen.append(consultations)
        return seen


@pytest_asyncio.fixture
async def stage(clocked: ServerProcess, http: aiohttp.ClientSession) -> AsyncIterator[Stage]:
    url = clocked.url
    async with http.get(f"{url}/asyncapi.json") as answer:
        reference = Reference(await answer.json())
    (ours,) = await load_rooms(http, url, 1, "video")
    theirs, third = await load_rooms(http, url, 2)
    tokens = [
        ours["patient_token"], ours["doctor_token"], theirs["patient_token"],
        theirs["doctor_token"], third["patient_token"], third["doctor_token"],
    ]  # fmt: skip
    patient, doctor, stranger, other_doctor, waiting, opener = members = [
        await Member.enter(url, http, token) for token in tokens
    ]
    told = {"room": ours["room"], "client_id": "own", "kind": "text", "body": {"text": "牙疼"}}
    sent = await patient.wire.ask("message:send", told)
    ids = [(await member.rest("GET", "/me"))["id"] for member in (patient, doctor, other_doctor)]
    ringing = await doctor.wire.ask("call:start", {"room": ours["room"], "media": "video"})
    yield Stage(
        url, http, reference, ours["room"], ours["consultation"],
        patient, doctor, stranger, other_doctor, waiting,
        await _ask_for(waiting, doctor), sent["message"]["seq"], ringing["call"]["id"],
        (ids[0], ids[1], ids[2]), await _propose(patient, other_doctor, ids[1]),
        await _invite(opener, third["consultation"], ids[1]), opener,
    )  # fmt: skip
    for member in members:
        await member.wire.close()


async def _ask_for(patient: Member, doctor: Member) -> str:
    person = (await patient.rest("GET", "/people"))["items"][0]["id"]
    wanted = form((await doctor.rest("GET", "/me"))["id"], person)
    return str((await patient.rest("POST", "/consultations", wanted))["id"])


async def _propose(patient: Member, doctor: Member, to_doctor: str) -> str:
    made = {"consultation": await _ask_for(patient, doctor)}
    assert (await doctor.wire.ask("consultation:accept", made))["ok"]
    wanted = {**made, "to_doctor": to_doctor, "reason": "请外科继续诊治"}
    return str((await doctor.wire.ask("transfer:propose", wanted))["transfer"]["id"])


async def _invite(opener: Member, consultation: str, doctor: str) -> str:
    wanted = {"consultation": consultation, "title": "牙疼", "reason": "请外科会诊"}
    wanted |= {"mode": "with_patient"}
    answer = await opener.wire.ask("group:open", {**wanted, "doctors": [doctor]})
    return str(answer["group"]["id"])


def code(answer: Any) -> str:
    """Give the refusal's code, after a look at its form."""
    assert set(answer) == {"ok", "error"}, answer
    assert answer["ok"] is False
    error = answer["error"]
    assert error["message"], error
    assert isinstance(error["retry"], bool)
    return str(error["code"])


async def test_every_command_has_an_example_which_works(stage: Stage) -> None:
    commands = {command.name: command for command in stage.reference.commands}
    examples = stage.examples()
    assert examples.keys() == commands.keys()
    for name, example in examples.items():
        wire = stage.actor(commands[name]).wire
        # what closes a room or a call comes one after the other: the later one comes too late
        late = name in LATE
        answer = await wire.ask(name, example)
        assert answer["ok"] is not late, (name, answer)


@pytest.mark.rule("R2", "C2")
@pytest.mark.parametrize("fault", Fault)
async def test_a_spoiled_field_is_named_and_changes_nothing(stage: Stage, fault: Fault) -> None:
    before, wrong, tried = await stage.picture(), [], 0
    examples = stage.examples()
    for command in stage.reference.commands:
        wire = stage.actor(command).wire
        for spoiled in stage.reference.schemas.spoil(command.schema, examples[command.name]):
            if spoiled.fault is fault:
                tried += 1
                answer = await wire.ask(command.name, spoiled.value)
                if code(answer) != "bad_request" or spoiled.field not in answer["error"]["fields"]:
                    wrong.append((command.name, spoiled.field, spoiled.why, answer))
    assert not wrong
    assert tried >= 2
    assert await stage.picture() == before


async def test_an_argument_that_is_not_one_object_is_refused(stage: Stage) -> None:
    before, wrong = await stage.picture(), []
    examples = stage.examples()
    for command in stage.reference.commands:
        name, example = command.name, examples[command.name]
        for arguments in ([], [example, example], [[example]], ["text"], [None], [7], [True]):
            answer = await stage.actor(command).wire.ask(name, *arguments)
            if code(answer) != "bad_request":
                wrong.append((name, arguments, answer))
    assert not wrong
    assert await stage.picture() == before


@pytest.mark.rule("R2", "C2")
async def test_outsiders_and_ids_nobody_has_get_one_answer(stage: Stage) -> None:
    before, wrong, tried = await stage.picture(), [], set()
    ids = {
        stage.room, stage.consultation, stage.awaiting, stage.call, stage.transfer, stage.group,
    }  # fmt: skip
    for command in stage.reference.commands:
        example = stage.examples()[command.name]
        named = [field for field, value in example.items() if str(value) in ids]
        unknown = [{**example, field: UNKNOWN} for field in named]
        tries = [(stage.actor(command), data) for data in unknown]
        if named:
            tries += [(stage.stranger, example), (stage.other_doctor, example)]
        for member, data in tries:
            tried.add(command.name)
            answer = await member.wire.ask(command.name, data)
            if code(answer) != "forbidden":
                wrong.append((command.name, data, answer))
    assert not wrong
    assert tried >= {"room:join", "message:send", "consultation:end"}
    assert await stage.picture() == before


@pytest.mark.rule("A11", "C2")
async def test_a_role_that_may_not_gets_nowhere(stage: Stage) -> None:
    before, wrong = await stage.picture(), []
    examples = stage.examples()
    for role, phone in PHONES.items():
        token = (await log_in(stage.http, stage.url, phone))["access_token"]
        wire = await Wire.enter(stage.http, stage.url, token)
        for command in stage.reference.commands:
            if command.roles is not None and role not in command.roles:
                # the role is asked for before anything else is read
                for data in (examples[command.name], {}):
                    answer = await wire.ask(command.name, data)
                    if code(answer) != "forbidden":
                        wrong.append((role, command.name, answer))
        await wire.close()
    assert not wrong
    assert await stage.picture() == before


@pytest.mark.rule("C2", "C13")
async def test_what_the_state_forbids_is_a_conflict_and_changes_nothing(stage: Stage) -> None:
    awaiting = {"consultation": stage.awaiting}
    ours = {"consultation": stage.consultation}
    before = await stage.picture()
    for member, command, data in [
        (stage.waiting, "consultation:end", awaiting),
        (stage.doctor, "consultation:end", awaiting),
        (stage.doctor, "consultation:accept", ours),
    ]:
        assert code(await member.wire.ask(command, data)) == "conflict", command
    assert await stage.picture() == before

    assert (await stage.patient.wire.ask("consultation:end", ours))["ok"]
    ended = await stage.picture()
    for member, command, data in [
        (stage.patient, "consultation:end", ours),
        (stage.doctor, "consultation:end", ours),
        (stage.doctor, "consultation:accept", ours),
        (stage.doctor, "consultation:decline", {**ours, "reason": "太晚了"}),
    ]:
        assert code(await member.wire.ask(command, data)) == "conflict", command
    late = stage.examples()["message:send"]
    assert code(await stage.patient.wire.ask("message:send", late)) == "closed"
    assert await stage.picture() == ended


@pytest.mark.rule("C2")
async def test_a_doctor_writes_nothing_before_he_accepts(stage: Stage) -> None:
    (room,) = [
        room["id"]
        for room in (await stage.doctor.wire.ask("room:list", {}))["rooms"]
        if room["consultation"] == stage.awaiting
    ]
    before = await stage.picture()
    early = stage.examples()["message:send"] | {"room": room}
    assert code(await stage.doctor.wire.ask("message:send", early)) == "closed"
    assert await stage.picture() == before
    assert (await stage.waiting.wire.ask("message:send", early))["ok"]


@pytest.mark.rule("R1")
async def test_a_body_fits_its_kind(stage: Stage) -> None:
    before, wrong = await stage.picture(), []
    cases: list[tuple[str, JsonObject, str]] = [
        ("text", {}, "body.text"),
        ("text", {"text": None}, "body.text"),
        ("text", {"text": "字" * (TEXT_MAX + 1)}, "body.text"),
        ("text", {"text": "字", "file": "f"}, "body.file"),
        ("emoji", {"file": "f"}, "body.text"),
        ("image", {}, "body.file"),
        ("image", {"text": "字"}, "body.file"),
        ("voice", {"file": "f", "text": "字"}, "body.text"),
        ("video", {"file": None}, "body.file"),
        ("system", {"text": "问诊已开始"}, "kind"),
        ("card", {"text": "字"}, "kind"),
        ("recall", {"text": "字"}, "kind"),
    ]
    for kind, body, field in cases:
        message = {"room": stage.room, "client_id": "k", "kind": kind, "body": body}
        answer = await stage.patient.wire.ask("message:send", message)
        if code(answer) != "bad_request" or field not in answer["error"]["fields"]:
            wrong.append((kind, body, answer))
    assert not wrong
    assert await stage.picture() == before


@pytest.mark.rule("R1")
async def test_the_longest_text_is_taken(stage: Stage) -> None:
    longest = stage.examples()["message:send"] | {"body": {"text": "𠮷" * TEXT_MAX}}
    assert (await stage.patient.wire.ask("message:send", longest))["ok"]


async def test_only_the_commands_can_be_reached(stage: Stage) -> None:
    before, wrong = await stage.picture(), []
    wire = stage.patient.wire
    hello = {"token": stage.stranger.token, "device": "h5", "device_id": "forged"}
    for name in UNREACHABLE:
        for data in (stage.examples()["message:send"], hello):
            answer = await wire.ask(name, data)
            if code(answer) != "bad_request":
                wrong.append((name, data, answer))
    assert not wrong
    assert not wire.closed.done()
    assert await stage.picture() == before


async def test_frames_that_are_no_events_are_refused_and_the_socket_lives_on(stage: Stage) -> None:
    before = await stage.picture()
    for event in NO_EVENTS:
        # a socket each: every such frame counts against the one that sent it
        wire = await Wire.enter(stage.http, stage.url, stage.patient.token)
        assert code(await wire.answer(await wire.send_text(event))) == "bad_request", event
        assert (await wire.ask("room:sync", stage.examples()["room:sync"]))["ok"], event
        await wire.close()
    assert await stage.picture() == before


async def test_half_a_surrogate_pair_is_refused_in_every_text(stage: Stage) -> None:
    before, wrong = await stage.picture(), []
    for name, example in stage.examples().items():
        wire = await Wire.enter(stage.http, stage.url, stage.patient.token)
        for field, value in example.items():
            if isinstance(value, str):
                spoiled = json.dumps([name, {**example, field: "\ud83d"}])
                answer = await wire.answer(await wire.send_text(spoiled))
                if code(answer) != "bad_request":
                    wrong.append((name, field, answer))
        assert (await wire.ask("room:sync", stage.examples()["room:sync"]))["ok"]
        await wire.close()
    assert not wrong
    assert await stage.picture() == before


async def test_what_is_nested_deeply_is_refused(stage: Stage) -> None:
    before = await stage.picture()
    for depth in (100, 250, 900):
        nested = '{"room":' * depth + '"x"' + "}" * depth
        wire = stage.patient.wire
        answer = await wire.answer(await wire.send_text(f'["room:join",{nested}]'))
        assert code(answer) == "bad_request", depth
    assert await stage.picture() == before


async def test_a_frame_over_64_kilobytes_cuts_its_socket_alone(stage: Stage) -> None:
    before = await stage.picture()
    wire = await Wire.enter(stage.http, stage.url, stage.patient.token)
    message = stage.examples()["message:send"]
    message["body"] = {"text": "x" * FRAME_MAX}
    with pytest.raises(Lost):
        await wire.ask("message:send", message)
    assert await wire.closed == 1009
    assert not stage.patient.wire.closed.done()
    assert await stage.picture() == before


@pytest.mark.rule("A9")
async def test_a_connect_with_a_spoiled_field_is_refused_by_name(stage: Stage) -> None:
    wrong = []
    good = {"token": stage.patient.token, "device": "h5", "device_id": "d"}
    for spoiled in stage.reference.schemas.spoil(stage.reference.auth, good):
        refusal = await _refusal(stage, spoiled.value)
        data = refusal["data"]
        if not spoiled.value.get("token"):
            named = data["code"] == "unauthenticated"
        else:
            named = data["code"] == "bad_request" and spoiled.field in data["fields"]
        if not named:
            wrong.append((spoiled.field, spoiled.why, refusal))
    assert not wrong


@pytest.mark.rule("A9")
async def test_a_connect_without_its_object_or_with_no_token_of_ours_is_refused(
    stage: Stage,
) -> None:
    nothing: list[Any] = [None, [], "token", 7, {}, {"device": "h5"}, {"token": ""}]
    for auth in nothing:
        assert (await _refusal(stage, auth))["data"]["code"] == "unauthenticated"
    for token in ("x", "a.b.c", "Bearer x", "🔑", "x" * 4096):
        refusal = await _refusal(stage, {"token": token, "device": "h5", "device_id": "d"})
        assert refusal["message"]
        assert refusal["data"]["code"] == "unauthenticated"


async def _refusal(stage: Stage, auth: Any) -> Any:
    wire = await Wire.open(stage.http, stage.url)
    refusal = await wire.connect(auth)
    assert refusal is not None, f"let in with {auth}"
    await wire.closed
    return refusal
