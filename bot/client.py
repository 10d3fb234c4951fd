"""One actor's end of the public wire: REST with his token, and one socket."""

import asyncio
import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from socket import SHUT_RDWR
from typing import Any

import aiohttp
import socketio

from bot.errors import Broken, NoServer
from bot.scenario import Actor, Upload

API = "/api/v1"
ANSWER_SECONDS = 10.0
TIMEOUT = aiohttp.ClientTimeout(total=ANSWER_SECONDS)


@dataclass(frozen=True, slots=True)
class Event:
    name: str
    data: Any


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body: Any


class Client:
    def __init__(self, url: str, actor: Actor, http: aiohttp.ClientSession) -> None:
        self._url = url.rstrip("/")
        self._actor = actor
        self._device_id = f"bot-{uuid.uuid4().hex[:12]}"
        self._token: str | None = None
        self._http = http
        self._socket: socketio.AsyncClient | None = None
        self._lost = asyncio.Event()
        self._arrived = asyncio.Condition()
        self.events: list[Event] = []
        """What the socket received and no step has taken yet, oldest first."""
        self.listener: Callable[[Event], None] | None = None
        """Told of each event as it comes."""

    async def close(self) -> None:
        if self._socket is not None:
            await self._socket.disconnect()

    async def log_in(self) -> None:
        answer = await self.call(
            "POST",
            "/auth/login",
            {"phone": self._actor.phone, "password": self._actor.password},
        )
        if answer.status != 200:
            raise Broken(f"log-in was refused: {answer.status} {_message(answer.body)}")
        self._token = answer.body["access_token"]

    async def call(
        self, method: str, path: str, payload: Any = None, key: str | None = None
    ) -> Answer:
        """Ask by REST; a POST carries an Idempotency-Key, its own unless one is given."""
        headers = {"Idempotency-Key": key or uuid.uuid4().hex} if method == "POST" else {}
        return await self._request(method, API + path, headers, json=payload)

    async def upload(self, upload: Upload) -> Answer:
        form = aiohttp.FormData()
        form.add_field(
            "file", upload.content, filename=upload.name, content_type=upload.content_type
        )
        return await self._request("POST", f"{API}/files", {}, data=form)

    async def advance_clock(self, seconds: float) -> Answer:
        return await self._request("POST", "/test/clock/advance", {}, json={"seconds": seconds})

    async def connect(self) -> None:
        """Open the socket with a fresh event list. Raises Broken with the server's refusal."""
        self.events.clear()
        self._lost.clear()
        refusals: list[Any] = []
        # what the scenario loses must stay lost until its `connect` step
        client = socketio.AsyncClient(
            reconnection=False, handle_sigint=False, http_session=self._http
        )
        client.on("*", self._keep)
        client.on("disconnect", self._lose)
        client.on("connect_error", refusals.append)
        auth = {
            "token": self._token,
            "device": self._actor.device,
            "device_id": self._device_id,
        }
        try:
            await client.connect(
                self._url, auth=auth, transports=["websocket"], wait_timeout=ANSWER_SECONDS
            )
        except socketio.exceptions.ConnectionError as error:
            raise Broken(f"the socket was refused: {_message(*refusals) or error}") from None
        self._socket = client

    async def lose_socket(self) -> None:
        """Break the TCP connection under the socket, with no goodbye on any layer above."""
        websocket: aiohttp.ClientWebSocketResponse = self._connected().eio.ws
        websocket.get_extra_info("socket").shutdown(SHUT_RDWR)
        await asyncio.wait_for(self._lost.wait(), ANSWER_SECONDS)
        self._socket = None

    async def emit(self, command: str, data: dict[str, Any]) -> Any:
        """Send a command and give its acknowledgement. Raises Broken when none comes."""
        try:
            return await self._connected().call(command, data, timeout=ANSWER_SECONDS)
        except socketio.exceptions.TimeoutError:
            raise Broken(f"{command} was not acknowledged in {ANSWER_SECONDS:.0f} s") from None

    async def wait_for_event(
        self, wanted: str, seconds: float, accept: Callable[[Any], bool]
    ) -> Event | None:
        """Take the oldest event of the name that `accept` likes; None when time runs out."""

        def find() -> Event | None:
            return next((e for e in self.events if e.name == wanted and accept(e.data)), None)

        try:
            async with asyncio.timeout(seconds), self._arrived:
                found = await self._arrived.wait_for(find)
        except TimeoutError:
            return None
        if found is not None:
            self.events.remove(found)
        return found

    async def _keep(self, name: str, data: Any = None) -> None:
        event = Event(name, data)
        if self.listener is not None:
            self.listener(event)
        async with self._arrived:
            self.events.append(event)
            self._arrived.notify_all()

    async def _lose(self, *_: Any) -> None:
        self._lost.set()

    def _connected(self) -> socketio.AsyncClient:
        if self._socket is None:
            raise Broken("the actor's socket is not connected; a `connect` step comes first")
        return self._socket

    async def _request(
        self, method: str, path: str, headers: dict[str, str], **body: Any
    ) -> Answer:
        if self._token:
            headers = {**headers, "Authorization": f"Bearer {self._token}"}
        try:
            async with self._http.request(
                method, self._url + path, headers=headers, **body
            ) as answer:
                text = await answer.text()
        except (aiohttp.ClientConnectionError, aiohttp.InvalidURL):
            raise NoServer(
                f"No Wenzhen server answers at {self._url}; start one with `make run`, "
                "or say where it is with --url."
            ) from None
        except TimeoutError:
            raise Broken(f"{method} {path} was not answered in {ANSWER_SECONDS:.0f} s") from None
        try:
            return Answer(answer.status, json.loads(text) if text else None)
        except ValueError:
            raise Broken(f"{method} {path}: {answer.status} is not JSON: {text[:80]!r}") from None


def _message(refusal: Any = None) -> str:
    """Give the words of a problem document, a CONNECT_ERROR, or whatever came instead."""
    if not isinstance(refusal, dict):
        return str(refusal) if refusal else ""
    return str(refusal.get("message") or refusal.get("detail") or refusal.get("title") or refusal)
