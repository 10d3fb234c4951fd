"""Calls of real Chromium pages whose media go through the server."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from bench.processes import children_running
from tests.clients.calling import LASTS, NewPair, Side, flows, new_pair, press, shows
from tests.clients.playing import play
from tests.scenarios.calling import Hall
from tests.scenarios.recorded import stored
from tests.server import ServerProcess

WAIT_SECONDS = 45.0
MOVED_SECONDS = 10.0
RECORDED_SECONDS = 3.0
SCREENSHOT = os.environ.get("RECORDING_SCREENSHOT")
CODEC = """() => {
  const wanted = "%s";
  const add = RTCPeerConnection.prototype.addTrack;
  RTCPeerConnection.prototype.addTrack = function (track, ...streams) {
    const sender = add.call(this, track, ...streams);
    if (track.kind === "video") {
      const codecs = RTCRtpReceiver.getCapabilities("video").codecs
        .filter(({ mimeType }) => mimeType === wanted || mimeType === "video/rtx");
      this.getTransceivers().find((one) => one.sender === sender).setCodecPreferences(codecs);
    }
    return sender;
  };
}"""
"""Makes a page offer one video codec alone."""
USED_CODEC = """async () => {
  const report = [...(await callClient.peerConnection.getStats()).values()];
  const one = report.find(({ type, kind }) => type === "inbound-rtp" && kind === "video");
  return report.find(({ id }) => id === one.codecId).mimeType;
}"""
DEAF = "RTCPeerConnection.prototype.addIceCandidate = async () => {};"
"""Makes a page unable to reach another one; the server's candidates stand in its answer."""
BEGUN_ANEW = """() => callClient.call.generation === 2
  && callClient.peerConnection.connectionState === 'connected'"""

__all__ = ["new_pair"]


@pytest_asyncio.fixture(scope="module")
async def hospital(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ServerProcess]:
    async with _serving(tmp_path_factory.mktemp("relayed"), "always") as process:
        yield process


@asynccontextmanager
async def _serving(folder: Path, relay: str) -> AsyncIterator[ServerProcess]:
    process = ServerProcess(folder / "data", env={"WENZHEN_CALLS__RELAY": relay})
    try:
        await process.start()
        yield process
    finally:
        await process.close()


async def the_call(page: Page) -> Any:
    return await page.evaluate("callClient.call")


async def looked_up(side: Side, call: str) -> Any:
    headers = {"Authorization": f"Bearer {side.token}"}
    async with side.http.get(f"{side.url}/api/v1/calls/{call}", headers=headers) as answer:
        assert answer.status == 200
        return await answer.json()


@pytest.mark.rule("V3", "V7", "V9")
async def test_a_video_call_goes_through_the_server(browser: Browser, new_pair: NewPair) -> None:
    pair = await new_pair("video")
    doctor, patient = await pair.connect(browser)
    await flows(doctor, patient)
    call = await the_call(patient)
    assert (call["mode"], call["generation"]) == ("relay", 1)
    await press(patient, "静音")
    await expect(doctor.locator("#peer-devices")).to_contain_text("对方麦克风已关闭")
    async with asyncio.timeout(WAIT_SECONDS):
        while True:
            quality = (await looked_up(pair.doctor, call["id"]))["quality"]
            measured = [side["relay"] for side in quality.values() if side["relay"]]
            if len(measured) == 2:
                break
            # both ends report every five seconds
            await asyncio.sleep(0.5)
    for side in measured:
        assert side["last"]["candidate"] in {"host", "prflx"}
        assert side["last"]["loss"] == 0
        assert side["last"]["bitrate_kbps"] > 50
    async with pair.doctor.http.get(f"{pair.doctor.url}/metrics") as answer:
        told = await answer.text()
    for by in ("client", "relay"):
        assert f'wenzhen_call_loss_count{{by="{by}"}}' in told
    await press(doctor, "挂断")
    await pair.line(r"视频问诊时长 00:0\d:\d\d")


@pytest.mark.rule("V3")
async def test_a_voice_call_goes_through_the_server(browser: Browser, new_pair: NewPair) -> None:
    pair = await new_pair("voice")
    doctor, patient = await pair.connect(browser, "audio")
    await flows(doctor, patient, video=False)
    assert (await the_call(doctor))["mode"] == "relay"


@pytest.mark.rule("V3")
@pytest.mark.parametrize("codec", ["VP8", "H264"])
async def test_it_carries_the_codec_that_was_offered(
    browser: Browser, new_pair: NewPair, codec: str
) -> None:
    pair = await new_pair("video")
    call, script = await pair.ring(), f"({CODEC % f'video/{codec}'})()"
    doctor = await pair.doctor.open(browser, call, script=script)
    patient = await pair.patient.open(browser, call, script=script)
    await press(patient, "接听")
    await shows(doctor, "connected")
    await flows(doctor, patient)
    for page in (doctor, patient):
        assert await page.evaluate(USED_CODEC) == f"video/{codec}"


@pytest.mark.rule("V5")
async def test_a_page_that_reloads_leaves_the_other_ones_media_alone(
    browser: Browser, new_pair: NewPair
) -> None:
    pair = await new_pair("video")
    doctor, patient = await pair.connect(browser)
    await flows(doctor, patient)
    await doctor.evaluate("globalThis.kept = callClient.peerConnection")

    await patient.reload()

    await shows(patient, "connected")
    await flows(doctor, patient)
    assert await doctor.evaluate("kept === callClient.peerConnection")


@pytest.mark.rule("V3", "V5")
async def test_a_call_goes_on_in_another_worker(
    browser: Browser, new_pair: NewPair, hospital: ServerProcess
) -> None:
    pair = await new_pair("video")
    doctor, patient = await pair.connect(browser)
    await flows(doctor, patient)
    for pid in children_running(hospital.pid, "realtime.media_worker"):
        os.kill(pid, signal.SIGKILL)
    killed = asyncio.get_running_loop().time()

    await asyncio.gather(*(_begun_anew(page) for page in (doctor, patient)))

    assert asyncio.get_running_loop().time() - killed < MOVED_SECONDS
    await flows(doctor, patient)
    await shows(patient, "connected", LASTS)
    await press(patient, "挂断")
    await pair.line(r"视频问诊时长 00:0\d:\d\d")


async def _begun_anew(page: Page) -> None:
    async with asyncio.timeout(WAIT_SECONDS):
        # the page tells nobody of its peer connection: poll, bounded by the timeout
        while not await page.evaluate(BEGUN_ANEW):  # noqa: ASYNC110
            await asyncio.sleep(0.05)


@pytest.mark.rule("V3")
async def test_where_no_direct_way_is_found_the_server_relays(
    browser: Browser, new_pair: NewPair, tmp_path: Path
) -> None:
    async with _serving(tmp_path, "fallback") as server:
        pair = await new_pair("video", server.url)
        direct = await pair.connect(browser)
        await flows(*direct)
        assert (await the_call(direct[0]))["mode"] == "p2p"
        await press(direct[0], "挂断")
        await shows(direct[1], "ended")
        await pair.leave_pages()

        call = await pair.ring()
        doctor = await pair.doctor.open(browser, call, script=DEAF)
        patient = await pair.patient.open(browser, call, script=DEAF)
        await press(patient, "接听")
        await shows(patient, "connected")
        await flows(doctor, patient)
        assert (await the_call(doctor))["mode"] == "relay"
        await pair.close()


@pytest.mark.rule("V8", "V3")
async def test_a_recording_is_asked_for_shown_and_holds_both_sides(
    browser: Browser, new_pair: NewPair, tmp_path: Path
) -> None:
    async with _serving(tmp_path, "recorded") as server:
        pair = await new_pair("video", server.url)
        doctor, patient = await pair.connect(browser)
        await flows(doctor, patient)
        assert (await the_call(doctor))["mode"] == "p2p"
        await press(doctor, "录制通话")
        question = patient.locator("#recording")
        await expect(question).to_contain_text("医生请求录制本次通话，是否同意？")
        await question.get_by_text("录制同意书").click()
        await expect(question).to_contain_text("录制")
        if SCREENSHOT:
            await patient.screenshot(path=SCREENSHOT)
        await press(patient, "同意")
        for page in (doctor, patient):
            await expect(page.locator("#recording")).to_contain_text("正在录制")
        await flows(doctor, patient)
        begun = asyncio.get_running_loop().time()
        await flows(doctor, patient)
        await asyncio.sleep(RECORDED_SECONDS)  # media take their time
        lasted = asyncio.get_running_loop().time() - begun
        await press(patient, "停止录制")
        await expect(doctor.locator("#recording")).not_to_contain_text("正在录制")
        await flows(doctor, patient)

        call = await the_call(doctor)
        hall = Hall(pair.doctor.http, server.url)
        kept = await stored(hall, pair.doctor.token, call["consultation"])
        assert kept["call"] == call["id"]
        assert kept["duration_ms"] / 1000 >= lasted
        held = {(track["user"], track["kind"]) for track in kept["tracks"]}
        users = {party["user"] for party in call["parties"]}
        assert held == {(user, kind) for user in users for kind in ("audio", "video")}
        path = f"/recordings/{kept['id']}/link"
        _, signed = await hall.rest(pair.patient.token, "POST", path, {})
        played = await play(browser, server.url, signed["url"], 0.0)
        assert played["duration"] == pytest.approx(kept["duration_ms"] / 1000, abs=0.5)
        assert min(played["pictures"], played["sound"]) > 0
        await pair.close()
