"""Calls of real Chromium pages that flash and beep: what a recording holds of them is in step."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio
from playwright.async_api import Browser, expect

from tests.clients.calling import Pair, flows, press, shows
from tests.clients.playing import play
from tests.clients.test_relayed_calls import CODEC
from tests.scenarios.calling import Hall
from tests.scenarios.recorded import stored
from tests.server import ServerProcess
from tests.signalling.media.recording.filming import watch

RECORDED_SECONDS = 6.0
SYNC_SECONDS = 0.08
FLASH_SECONDS = 0.2
PATTERN = """() => {
  const own = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
  navigator.mediaDevices.getUserMedia = async (wanted) => {
    const stream = await own(wanted);
    const audio = new AudioContext();
    await audio.resume();
    const tone = new OscillatorNode(audio, { frequency: 1000 });
    const gain = new GainNode(audio, { gain: 0 });
    const out = audio.createMediaStreamDestination();
    tone.connect(gain).connect(out);
    tone.start();
    for (let second = 1; second < 300; second++) {
      gain.gain.setValueAtTime(0.8, second);
      gain.gain.setValueAtTime(0, second + 0.2);
    }
    const canvas = Object.assign(document.createElement("canvas"), { width: 320, height: 240 });
    const pen = canvas.getContext("2d");
    setInterval(() => {
      pen.fillStyle = audio.currentTime % 1 < 0.2 ? "white" : "black";
      pen.fillRect(0, 0, 320, 240);
    }, 10);
    globalThis.pattern = { audio, canvas, stream };
    return new MediaStream([
      ...out.stream.getAudioTracks(),
      ...canvas.captureStream(30).getVideoTracks(),
    ]);
  };
}"""
"""Gives a page a camera that is white, and a microphone that beeps, at the begin of each second."""


@pytest_asyncio.fixture(scope="module")
async def hospital(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("recorded")
    process = ServerProcess(folder / "data", env={"WENZHEN_CALLS__RELAY": "always"})
    try:
        await process.start()
        yield process
    finally:
        await process.close()


@pytest.mark.rule("V8")
@pytest.mark.parametrize("codec", ["VP8", "H264"])
async def test_a_recorded_call_of_browsers_is_in_step_and_plays(
    browser: Browser, hospital: ServerProcess, codec: str, tmp_path: Path
) -> None:
    async with aiohttp.ClientSession() as http:
        pair = await Pair.make(http, hospital.url, "video")
        call = await pair.ring()
        script = f"({CODEC % f'video/{codec}'})(); ({PATTERN})();"
        doctor = await pair.doctor.open(browser, call, script=script)
        patient = await pair.patient.open(browser, call, script=script)
        await press(patient, "接听")
        await shows(doctor, "connected")
        await flows(doctor, patient)
        await press(doctor, "录制通话")
        await press(patient, "同意")
        for page in (doctor, patient):
            await expect(page.locator("#recording")).to_contain_text("正在录制")
        await asyncio.sleep(RECORDED_SECONDS)  # media take their time
        await press(doctor, "停止录制")

        hall = Hall(http, hospital.url)
        consultation = (await doctor.evaluate("callClient.call"))["consultation"]
        kept = await stored(hall, pair.doctor.token, consultation)
        path = f"/recordings/{kept['id']}/link"
        _, signed = await hall.rest(pair.doctor.token, "POST", path, {})
        # from the middle on: it reads the film by ranges
        played = await play(browser, hospital.url, signed["url"], 3.0)
        async with http.get(hospital.url + signed["url"]) as answer:
            (tmp_path / "film").write_bytes(await answer.read())
        await pair.close()

    duration, seen = await asyncio.to_thread(watch, tmp_path / "film")
    assert played["duration"] == pytest.approx(duration, abs=0.1)
    assert played["ended"] == pytest.approx(duration, abs=0.2)
    assert played["pictures"] >= 30
    assert played["sound"] > 0
    users = {s.user for s in seen if s.kind == "video"}
    assert len(users) == 2
    for user in users:
        (sound,) = [s for s in seen if (s.user, s.kind) == (user, "audio")]
        (pictures,) = [s for s in seen if (s.user, s.kind) == (user, "video")]
        # at both ends one of the two may be there without the other
        begins = max(pictures.begins, sound.begins) + FLASH_SECONDS
        ends = min(pictures.ends, sound.ends) - FLASH_SECONDS
        flashes = [at for at in pictures.marks if begins < at < ends]
        assert len(flashes) >= RECORDED_SECONDS - 3
        for flash in flashes:
            assert min(abs(beep - flash) for beep in sound.marks) < SYNC_SECONDS
