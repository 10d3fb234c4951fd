"""A browser that plays a film from its signed address, and what came of it."""

from typing import Any

from playwright.async_api import Browser

PLAY = """async ([url, at]) => {
  const video = document.createElement("video");
  const heard = (name) => new Promise((done, failed) => {
    video.addEventListener(name, done, { once: true });
    video.addEventListener("error", () => failed(video.error.message), { once: true });
  });
  video.src = url;
  document.body.append(video);
  await heard("loadedmetadata");
  video.currentTime = at;
  await heard("seeked");
  const ended = heard("ended");
  await video.play();
  await ended;
  return {
    duration: video.duration,
    size: [video.videoWidth, video.videoHeight],
    ended: video.currentTime,
    pictures: video.webkitDecodedFrameCount,
    sound: video.webkitAudioDecodedByteCount,
  };
}"""
"""Plays a film from a second on to its end; gives what was decoded."""


async def play(browser: Browser, server: str, url: str, at: float) -> Any:
    """Play from a second on, in a page of the server's own."""
    page = await browser.new_page()
    await page.goto(f"{server}/healthz")
    try:
        return await page.evaluate(PLAY, [url, at])
    finally:
        await page.close()
