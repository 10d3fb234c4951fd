"""An actor's phone: the wire's call commands, and the peer connection they are for."""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from aiortc import InvalidAccessError, InvalidStateError

from bot.client import Client, Event
from bot.errors import Broken
from bot.peer import Peer

REPORT_SECONDS = 5.0
POLL_SECONDS = 0.05
LOUD, SILENT = 0.02, 0.001
"""Root mean square over which something is heard, and under which nothing is."""
PURE = 0.5
"""The share of the energy that a tone heard has at the least."""

_SIGNALS = frozenset({"call:updated", "call:offer", "call:answer", "call:candidate"})

Call = Mapping[str, Any]


class Phone:
    """Takes part in one call at a time, with the role the server gives it."""

    def __init__(self, client: Client, hertz: int) -> None:
        self._client = client
        self._hertz = hertz
        client.listener = self._hear
        self.call: Call | None = None
        """The call as this actor knows it, also one that rings."""
        self._ice_servers: list[Mapping[str, Any]] = []
        self._taken_up = asyncio.Event()
        self._signals: asyncio.Queue[Event] = asyncio.Queue()
        self._follower: asyncio.Task[None] | None = None
        self._closing = False
        self._peer: Peer | None = None
        self._peer_of: tuple[str, int] | None = None
        self._peer_made = 0.0
        self._peer_changed = asyncio.Event()
        self._reporter: asyncio.Task[None] | None = None
        self.connect_ms: int | None = None
        """From making the peer connection to its being connected."""

    async def close(self) -> None:
        # no cancellation: aioice, met while it closes a connection, swallows it
        self._closing = True
        if self._follower is not None:
            self._taken_up.set()
            self._signals.put_nowait(Event("closing", {}))
            await asyncio.gather(self._follower, return_exceptions=True)
        await self._drop_peer()

    async def start(self, room: str, media: str) -> Any:
        return self._take_up(await self._client.emit("call:start", {"room": room, "media": media}))

    async def accept(self) -> Any:
        return self._take_up(await self._say("accept"))

    async def resume(self) -> Any:
        """Come back after a lost socket; the media still flow."""
        return self._take_up(await self._say("resume", fresh=False))

    async def reload(self) -> Any:
        """Come back as a page does that was loaded anew: without its media."""
        await self._drop_peer()
        return self._take_up(await self._say("resume", fresh=True))

    async def decline(self) -> Any:
        return await self._say("decline")

    async def cancel(self) -> Any:
        return await self._say("cancel")

    async def hang_up(self) -> Any:
        return await self._say("hang_up")

    async def set_media(self, mic: str, camera: str) -> Any:
        if self._peer is not None:
            self._peer.switch(mic=mic == "on", camera=camera == "on")
        return await self._say("media", mic=mic, camera=camera)

    async def until(self, holds: Callable[[], bool], seconds: float) -> bool:
        """Wait until something holds of the call or its media. Raises what went wrong in it."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                # sounds arrive 50 times a second: looking now and then costs less than each time
                while not (holds() or (self._follower and self._follower.done())):  # noqa: ASYNC110
                    await asyncio.sleep(POLL_SECONDS)
        if self._follower is not None and self._follower.done():
            self._follower.result()
        return holds()

    @property
    def frames(self) -> int:
        """How many pictures came in since the peer connection was made."""
        return self._peer.eye.frames if self._peer else 0

    def measured(self, tone: int | None = None) -> dict[str, Any]:
        """Say what comes in now: pictures, sound, and the tone if one is asked about."""
        if self._peer is None:
            return {"frames": 0, "moving": False, "audio": None}
        eye, ear = self._peer.eye, self._peer.ear
        energy = ear.energy
        found = {
            "frames": eye.frames,
            "moving": eye.moving,
            "audio": True if energy > LOUD else False if energy < SILENT else None,
            "energy": round(energy, 4),
            "connect_ms": self.connect_ms,
        }
        return found | ({} if tone is None else {"tone": ear.share(tone) > PURE})

    async def _say(self, command: str, **data: Any) -> Any:
        if self.call is None:
            raise Broken("the actor has no call")
        return await self._client.emit(f"call:{command}", {"call": self.call["id"], **data})

    def _hear(self, event: Event) -> None:
        if event.name in {"call:incoming", "call:updated"}:
            self._know(event.data["call"])
        if event.name in _SIGNALS:
            self._signals.put_nowait(event)

    def _know(self, call: Call) -> None:
        """Keep the newer word: an acknowledgement may come after an event that overtook it."""
        if self.call is None or self.call["id"] != call["id"]:
            self._taken_up.clear()
        elif call["version"] < self.call["version"]:
            return
        self.call = call

    def _take_up(self, answer: Any) -> Any:
        """Begin to follow the signals: not before the ICE servers are known."""
        if answer["ok"]:
            self._know(answer["call"])
            self._ice_servers = answer["ice_servers"]
            self._signals.put_nowait(Event("call:updated", answer))
            self._taken_up.set()
            if self._follower is None:
                self._follower = asyncio.create_task(self._follow())
        return answer

    async def _follow(self) -> None:
        """Do what the signals ask, one after the other."""
        while True:
            await self._taken_up.wait()
            event = await self._signals.get()
            if self._closing:
                return
            try:
                await self._obey(event.name, event.data)
            except (ValueError, InvalidAccessError, InvalidStateError) as error:
                raise Broken(f"{event.name} came, but can't be used: {error}") from None

    async def _obey(self, name: str, data: Mapping[str, Any]) -> None:
        if name == "call:updated":
            if self.call is not None:
                await self._adjust(self.call)
        elif self._peer is None or self._peer_of is None or data["call"] != self._peer_of[0]:
            return
        elif name == "call:candidate":
            await self._peer.take_candidate(data["candidate"])
        elif name == "call:answer":
            await self._peer.take_answer(data["sdp"])
        # who is impolite and offers himself takes no offer: the other one takes his own back
        elif not self._peer.offering:
            await self._describe("answer", await self._peer.answer(data["sdp"]))

    async def _adjust(self, call: Call) -> None:
        """Have a peer connection for this generation of the call while it lives, else none."""
        version = (call["id"], call["generation"])
        live = call["state"] in {"connecting", "connected"}
        if live and version == self._peer_of:
            return
        await self._drop_peer()
        if not live:
            return
        self._peer_of = version
        self._peer_changed.clear()
        self._peer_made = asyncio.get_running_loop().time()
        self._peer = Peer(
            self._ice_servers, hertz=self._hertz, video=call["media"] == "video",
            changed=self._peer_changed.set,
        )  # fmt: skip
        self._reporter = asyncio.create_task(self._report(self._peer))
        # the relay only answers, until somebody joins or leaves
        if call["mode"] == "relay" or not call["polite"]:
            answer = await self._describe("offer", await self._peer.offer())
            if "sdp" in answer:
                await self._peer.take_answer(answer["sdp"])

    async def _describe(self, kind: str, sdp: str) -> Any:
        answer = await self._say(kind, sdp=sdp)
        # an end may overtake a description
        if not answer["ok"] and self.call and self.call["state"] != "ended":
            raise Broken(f"call:{kind} was refused: {answer['error']}")
        return answer

    async def _report(self, peer: Peer) -> None:
        """Say at once when the connection stands or falls, and every 5 s how it is."""
        while peer.state != "closed":
            if peer.state == "connected" and self.connect_ms is None:
                passed = asyncio.get_running_loop().time() - self._peer_made
                self.connect_ms = round(passed * 1_000)
            if peer.state not in {"new", "connecting"}:
                # the socket may be lost for a while
                with suppress(Broken):
                    await self._say("stats", stats={"connection": peer.state})
            with suppress(TimeoutError):
                async with asyncio.timeout(REPORT_SECONDS):
                    await self._peer_changed.wait()
            self._peer_changed.clear()

    async def _drop_peer(self) -> None:
        if self._reporter is not None:
            self._reporter.cancel()
            await asyncio.gather(self._reporter, return_exceptions=True)
        peer, self._peer, self._peer_of, self.connect_ms = self._peer, None, None, None
        if peer is not None:
            await peer.close()
