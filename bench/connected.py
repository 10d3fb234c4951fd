"""How long a video call of two Chromium pages takes from the answer to connected media.

Once straight from page to page, and once through the server. Both pages are in one browser here.
"""

import asyncio
import shutil

import aiohttp
from playwright.async_api import async_playwright, expect

from bench.hub import Hub, running_hub
from bench.report import Figure, percentile
from tests.clients.calling import CONNECTED_MS, FLAGS, Pair, press, shows

CALLS, QUICK_CALLS = 30, 3
ANSWER = """() => new Promise((resolve) => {
  const begun = performance.now();
  callClient.on("change", ({ state }) =>
    state === "connected" && resolve(performance.now() - begun));
  [...document.querySelectorAll("button")].find((one) => one.textContent === "接听").click();
})"""


async def measure(quick: bool) -> list[Figure]:
    figures = []
    for way, relay in (("page to page", "recorded"), ("through the server", "always")):
        async with running_hub({"WENZHEN_CALLS__RELAY": relay}) as hub:
            taken = await _calls(hub, QUICK_CALLS if quick else CALLS)
        figures += [
            Figure(f"{way}, p{n}", percentile(taken, n / 100), "ms", f"{len(taken)} calls")
            for n in (50, 95)
        ]
    return figures


async def _calls(hub: Hub, count: int) -> list[float]:
    """Connect calls one after the other; give what each took in milliseconds."""
    async with aiohttp.ClientSession() as http, async_playwright() as playwright:
        program = shutil.which("chromium") or shutil.which("google-chrome")
        expect.set_options(timeout=CONNECTED_MS)
        browser = await playwright.chromium.launch(executable_path=program, args=FLAGS)
        pair = await Pair.make(http, hub.server.url, "video")
        taken = []
        for _ in range(count):
            call = await pair.ring()
            doctor, patient = await asyncio.gather(
                pair.doctor.open(browser, call), pair.patient.open(browser, call)
            )
            await shows(doctor, "ringing")
            await shows(patient, "ringing")
            taken.append(float(await patient.evaluate(ANSWER)))
            await press(doctor, "挂断")
            await shows(patient, "ended")
            await pair.leave_pages()
        await pair.close()
        await browser.close()
    return taken
