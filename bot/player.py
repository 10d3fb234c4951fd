"""What one actor does in a step, by each action of the language."""

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Any

from bot.calls import Phone
from bot.client import Answer, Client
from bot.errors import Broken
from bot.matching import differences, matches
from bot.scenario import (
    Call,
    Emit,
    ExpectCall,
    ExpectEvent,
    ExpectMedia,
    SetMedia,
    StartCall,
    Step,
    Upload,
)  # fmt: skip
from bot.transcript import Transcript
from bot.values import resolve

Names = Mapping[str, Any]
SUCCESS = {"$gte": 200, "$lt": 300}


class Player:
    def __init__(self, name: str, client: Client, phone: Phone, transcript: Transcript) -> None:
        self._name = name
        self._client = client
        self._phone = phone
        self._transcript = transcript
        self._acts: Mapping[str, Callable[[Any, Names], Awaitable[Any]]] = {
            "call": self._call,
            "upload": self._upload,
            "emit": self._emit,
            "expect_event": self._expect_event,
            "connect": self._connect,
            "disconnect": self._disconnect,
            "log_in": self._log_in,
            "advance_clock": self._advance_clock,
            "advance_clock_to": self._advance_clock_to,
            "start_call": self._start_call,
            "phone": self._use_phone,
            "set_media": self._set_media,
            "expect_call": self._expect_call,
            "expect_media": self._expect_media,
        }

    async def log_in(self) -> None:
        self._sent("POST /auth/login")
        await self._client.log_in()

    async def act(self, step: Step, names: Names) -> Any:
        """Do the step's one action and give its result. Raises Broken."""
        return await self._acts[step.action](getattr(step, step.action), names)

    async def _call(self, call: Call, names: Names) -> Any:
        path, payload = resolve(call.path, names), resolve(call.payload, names)
        self._sent(f"{call.method} {path}", payload)
        answer = await self._client.call(call.method, path, payload)
        return self._body(answer, call.status or SUCCESS)

    async def _upload(self, upload: Upload, _: Names) -> Any:
        self._sent(f"POST /files {upload.name} ({len(upload.content)} bytes)")
        return self._body(await self._client.upload(upload), SUCCESS)

    def _body(self, answer: Answer, status: Any) -> Any:
        self._received(str(answer.status), answer.body)
        hold(status, answer.status, "status")
        return answer.body

    async def _emit(self, emit: Emit, names: Names) -> Any:
        data = resolve(emit.data, names)
        self._sent(emit.command, data)
        answer = await self._client.emit(emit.command, data)
        self._received(emit.command, answer)
        return answer

    async def _expect_event(self, wanted: ExpectEvent, names: Names) -> Any:
        match = resolve(wanted.match, names)
        event = await self._client.wait_for_event(
            wanted.event, wanted.within, lambda data: matches(match, data)
        )
        if event is None:
            raise Broken(*_near_misses(self._client, wanted, match))
        self._received(event.name, event.data)
        self._transcript.passed("as expected")
        return event.data

    async def _connect(self, _: Any, __: Names) -> None:
        self._sent("connect")
        await self._client.connect()

    async def _disconnect(self, _: Any, __: Names) -> None:
        self._sent("disconnect")
        await self._client.lose_socket()

    async def _log_in(self, _: Any, __: Names) -> None:
        await self.log_in()

    async def _advance_clock(self, seconds: float, _: Names) -> Any:
        self._transcript.sent("clock", f"advance {seconds:g} s")
        answer = await self._client.advance_clock(seconds)
        hold(SUCCESS, answer.status, "status")
        return answer.body

    async def _advance_clock_to(self, at: str, names: Names) -> Any:
        """Move the hospital's time to a time of the wire; it never goes back."""
        wanted = datetime.fromisoformat(resolve(at, names))
        now = datetime.fromisoformat((await self._advance_clock(0, names))["now"])
        return await self._advance_clock(max(0.0, (wanted - now).total_seconds()), names)

    async def _start_call(self, wanted: StartCall, names: Names) -> Any:
        room = resolve(wanted.room, names)
        self._sent("call:start", {"room": room, "media": wanted.media})
        return self._acknowledged("call:start", await self._phone.start(room, wanted.media))

    async def _use_phone(self, command: str, _: Names) -> Any:
        self._sent(f"phone: {command}")
        does: Mapping[str, Callable[[], Awaitable[Any]]] = {
            "accept": self._phone.accept,
            "decline": self._phone.decline,
            "cancel": self._phone.cancel,
            "hang_up": self._phone.hang_up,
            "resume": self._phone.resume,
            "reload": self._phone.reload,
        }
        return self._acknowledged(f"call:{command}", await does[command]())

    async def _set_media(self, wanted: SetMedia, _: Names) -> Any:
        self._sent("call:media", {"mic": wanted.mic, "camera": wanted.camera})
        answer = await self._phone.set_media(wanted.mic, wanted.camera)
        return self._acknowledged("call:media", answer)

    async def _expect_call(self, wanted: ExpectCall, names: Names) -> Any:
        match = resolve(wanted.match, names)
        phone = self._phone
        if not await phone.until(lambda: matches(match, phone.call), wanted.within):
            raise Broken(
                f"the call is not as expected within {wanted.within:g} s",
                *(differences(match, phone.call) if phone.call else ["the actor has no call"]),
            )
        self._received("call", phone.call)
        self._transcript.passed("as expected")
        return phone.call

    async def _expect_media(self, wanted: ExpectMedia, _: Names) -> Any:
        phone = self._phone
        expected: dict[str, Any] = {}
        if wanted.frames is not None:
            expected["frames"] = {"$gte": phone.frames + wanted.frames}
        if wanted.moving is not None:
            expected["moving"] = wanted.moving
        if wanted.audio is not None:
            expected["audio"] = wanted.audio
        if wanted.tone is not None:
            expected["tone"] = True
        held = await phone.until(
            lambda: matches(expected, phone.measured(wanted.tone)), wanted.within
        )
        found = phone.measured(wanted.tone)
        self._received("media", found)
        if not held:
            raise Broken(
                f"the media are not as expected within {wanted.within:g} s",
                *differences(expected, found),
            )
        self._transcript.passed("as expected")
        return found

    def _acknowledged(self, command: str, answer: Any) -> Any:
        self._received(command, answer)
        return answer

    def _sent(self, what: str, data: Any = None) -> None:
        self._transcript.sent(self._name, what, data)

    def _received(self, what: str, data: Any = None) -> None:
        self._transcript.received(self._name, what, data)


def hold(expected: Any, got: Any, at: str = "") -> None:
    if found := differences(expected, got, at):
        raise Broken(*found)


def _near_misses(client: Client, wanted: ExpectEvent, match: Any) -> list[str]:
    """Tell why no event was the wanted one: each of its name, and where it differs."""
    lines = [f"no {wanted.event} as expected within {wanted.within:g} s"]
    same = [e for e in client.events if e.name == wanted.event]
    for event in same:
        lines += [f"one came, but {line}" for line in differences(match, event.data)]
    if not same:
        others = sorted({event.name for event in client.events})
        lines.append(f"waiting there: {', '.join(others) or 'nothing'}")
    return lines
