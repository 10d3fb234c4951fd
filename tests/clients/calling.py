"""Calls between real browser pages: people with rooms of their own, the call page, its figures."""

import asyncio
import re
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, Page, expect

from tests.scenarios.wire import Wire, load_rooms
from tests.server import ServerProcess

FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--use-fake-device-for-media-stream=fps=30",
    # candidates on 127.0.0.1, which browsers leave out otherwise
    "--allow-loopback-in-peer-connection",
]  # fmt: skip
ALLOWED = ["camera", "microphone"]
PHONE = {"width": 390, "height": 844}
CONNECTED_MS = 60_000.0
POLL_SECONDS = 0.1
FLOW_SECONDS = 45.0

MEASURE = """async () => {
  const found = { frames: 0, energy: 0, path: null };
  const report = await globalThis.callClient.peerConnection.getStats();
  for (const one of report.values()) {
    if (one.type === "inbound-rtp" && one.kind === "video") found.frames += one.framesDecoded ?? 0;
    if (one.type === "inbound-rtp" && one.kind === "audio")
      found.energy += one.totalAudioEnergy ?? 0;
    if (one.type === "transport" && one.selectedCandidatePairId) {
      const pair = report.get(one.selectedCandidatePairId);
      found.path = report.get(pair.localCandidateId).candidateType;
    }
  }
  return found;
}"""


@dataclass
class Side:
    """One person of a room: the app's socket, and the browser where the call page opens."""

    url: str
    http: aiohttp.ClientSession
    token: str
    app: Wire
    contexts: list[BrowserContext] = field(default_factory=list)

    async def ticket(self, call: str) -> str:
        """Make a ticket for the call; give the page's path."""
        headers = {
            "Authorization": f"Bearer {self.token}", "Idempotency-Key": secrets.token_hex(8)
        }  # fmt: skip
        path = f"{self.url}/api/v1/calls/{call}/ticket"
        async with self.http.post(path, json={}, headers=headers) as answer:
            assert answer.status == 201, await answer.text()
            return str((await answer.json())["url"])

    async def open(
        self,
        browser: Browser,
        call: str,
        *,
        more: str = "",
        allowed: list[str] | None = None,
        script: str | None = None,
    ) -> Page:
        """Open the call page as a phone would, on a device of its own."""
        context = await browser.new_context(viewport=PHONE, permissions=allowed or [])  # type: ignore[arg-type]
        if allowed is None:
            await context.grant_permissions(ALLOWED)
        self.contexts.append(context)
        page = await context.new_page()
        page.set_default_timeout(CONNECTED_MS)
        if script:
            await page.add_init_script(script)
        await page.goto(self.url + await self.ticket(call) + more)
        return page

    async def leave_pages(self) -> None:
        for context in self.contexts:
            await context.close()
        self.contexts.clear()

    async def close(self) -> None:
        await self.leave_pages()
        await self.app.close()


@dataclass
class Pair:
    """A doctor and a patient in a consultation of their own."""

    room: str
    doctor: Side
    patient: Side

    @classmethod
    async def make(cls, http: aiohttp.ClientSession, url: str, mode: str) -> "Pair":
        (made,) = await load_rooms(http, url, 1, mode)
        sides = [
            Side(url, http, token, await Wire.enter(http, url, token))
            for token in (made["doctor_token"], made["patient_token"])
        ]
        pair = cls(made["room"], *sides)
        await pair.doctor.app.ask("room:join", {"room": pair.room})
        return pair

    async def ring(self, media: str = "video") -> str:
        """Let the doctor's app call; give the call's id."""
        answer = await self.doctor.app.ask("call:start", {"room": self.room, "media": media})
        assert answer["ok"], answer
        return str(answer["call"]["id"])

    async def connect(
        self,
        browser: Browser,
        media: str = "video",
        *,
        more: str = "",
        other: Browser | None = None,
    ) -> tuple[Page, Page]:
        """Bring both pages into a connected call; `other` is the patient's browser."""
        call = await self.ring(media)
        doctor, patient = await asyncio.gather(
            self.doctor.open(browser, call, more=more),
            self.patient.open(other or browser, call, more=more),
        )
        await press(patient, "接听")
        await shows(doctor, "connected")
        await shows(patient, "connected")
        return doctor, patient

    async def line(self, pattern: str) -> str:
        """Wait for the line the call leaves in the room."""

        def fits(data: Mapping[str, Any]) -> bool:
            text = data["body"].get("text", "")
            return data["kind"] == "system" and re.fullmatch(pattern, text) is not None

        try:
            return str((await self.doctor.app.event("message:new", fits))["body"]["text"])
        except TimeoutError:
            raise AssertionError(f"no such line: {self.doctor.app.events}") from None

    async def leave_pages(self) -> None:
        await self.doctor.leave_pages()
        await self.patient.leave_pages()

    async def close(self) -> None:
        await self.doctor.close()
        await self.patient.close()


NewPair = Callable[..., Awaitable[Pair]]


@pytest_asyncio.fixture
async def new_pair(hospital: ServerProcess) -> AsyncIterator[NewPair]:
    """Make pairs of a mode, by default on the module's own server."""
    pairs: list[Pair] = []

    async def make(mode: str, url: str = hospital.url) -> Pair:
        pairs.append(await Pair.make(http, url, mode))
        return pairs[-1]

    async with aiohttp.ClientSession() as http:
        yield make
        for pair in pairs:
            await pair.close()


async def press(page: Page, label: str) -> None:
    await page.get_by_role("button", name=label, exact=True).click()


LASTS = re.compile(r"00:(00:0[4-9]|00:[1-5]\d|0[1-9]:\d\d)")
"""What the page says of a call that is long enough to be a consultation."""


async def shows(page: Page, state: str, words: str | re.Pattern[str] = "") -> None:
    """Wait until the page is in this state, and says so."""
    await expect(page.locator("#call")).to_have_attribute("data-state", state)
    if words:
        await expect(page.locator("#state")).to_contain_text(words)


async def flows(*pages: Page, video: bool = True) -> None:
    """See that each page receives sound, and pictures, and that both go on."""
    await asyncio.gather(*(_flows(page, video=video) for page in pages))


async def _flows(page: Page, *, video: bool) -> None:
    before = await page.evaluate(MEASURE)
    async with asyncio.timeout(FLOW_SECONDS):
        while True:
            now = await page.evaluate(MEASURE)
            sounds = now["energy"] > before["energy"]
            if sounds and (not video or now["frames"] > before["frames"] + 5):
                return
            # the browser counts by itself and tells nobody: poll, bounded by the timeout
            await asyncio.sleep(POLL_SECONDS)


def network_service(browser: int) -> int:
    """Find the process that does all of a browser's networking, below its main process."""
    parents = {int(p.parent.name): _parent(p) for p in Path("/proc").glob("[0-9]*/stat")}
    for pid in parents:
        if "network.mojom.NetworkService" in _command(pid) and _below(pid, browser, parents):
            return pid
    raise AssertionError(f"browser {browser} has no network service")


def find_browser(mark: str) -> int:
    """Find the main process of the browser that was started with this argument."""
    for path in Path("/proc").glob("[0-9]*"):
        command = _command(int(path.name))
        if mark in command and "--type=" not in command:
            return int(path.name)
    raise AssertionError(f"no browser with {mark}")


def _below(pid: int, ancestor: int, parents: Mapping[int, int]) -> bool:
    while pid and pid != ancestor:
        pid = parents.get(pid, 0)
    return pid == ancestor


def _parent(stat: Path) -> int:
    try:
        return int(stat.read_text().rpartition(")")[2].split()[1])
    except OSError:  # it ended meanwhile
        return 0


def _command(pid: int) -> str:
    try:
        return (Path("/proc") / str(pid) / "cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""
