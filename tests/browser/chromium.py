"""A real browser that talks to a real server: what it hears, sends, shows and complains about is seen."""

import base64
import io
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
import soundfile
from playwright.async_api import Browser, Page, Response, WebSocket, async_playwright, expect

from streams.audio import Audio, resample, silence
from tests.live import Place, clip

PATIENCE = 40_000  # ms after which a test that waits has failed
DESKTOP, PHONE = (1280, 800), (390, 844)
RATE = 48_000

MICROPHONE = """
navigator.mediaDevices.getUserMedia = async () => {
  const context = new AudioContext({ sampleRate: 48000 });
  const out = context.createMediaStreamDestination();
  out.channelCount = 1;
  window.speak = async (data) => {
    const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
    const source = new AudioBufferSourceNode(context, { buffer: await context.decodeAudioData(bytes.buffer) });
    source.connect(out);
    source.start();
    await new Promise((done) => { source.onended = done; });
  };
  return out.stream;
};
"""
"""A microphone that says what a test has it say."""

RECORDER = """
window.heard = [];
const connect = AudioNode.prototype.connect;
AudioNode.prototype.connect = function (to, ...more) {
  if (to instanceof AudioDestinationNode) {
    const tap = this.context.createScriptProcessor(8192, 1, 1);
    tap.onaudioprocess = ({ inputBuffer }) => window.heard.push(inputBuffer.getChannelData(0).slice());
    window.rate = this.context.sampleRate;
    connect.call(this, tap);
    connect.call(tap, to);
  }
  return connect.call(this, to, ...more);
};
window.heardSince = (first) => {
  const all = new Float32Array(window.heard.slice(first).flatMap((block) => Array.from(block)));
  let text = "";
  for (const byte of new Uint8Array(all.buffer)) text += String.fromCharCode(byte);
  return btoa(text);
};
"""
"""Records what the page sends to the loudspeaker."""


def chromium() -> str:
    """Where Chromium is; skips the test where it is not."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if not found:
        pytest.skip("no Chromium: install the package chromium to test the pages in a browser")
    return found


@asynccontextmanager
async def launched(folder: Path, sound: Audio | None = None, *, allowed: bool = True) -> AsyncIterator[Browser]:
    """Headless Chromium.

    Args:
        folder: for files.
        sound: what its microphone hears, once, from when it is opened; None: nothing.
        allowed: whether pages may use the microphone.
    """
    path = folder / "microphone.wav"
    said = resample(sound, RATE) if sound else silence(1.0, RATE)
    soundfile.write(path, said.samples, RATE)
    flags = [
        "--use-fake-device-for-media-stream",
        f"--use-file-for-fake-audio-capture={path}%noloop",
        "--disable-background-networking",
        "--disable-gpu",
    ]
    if allowed:
        flags.append("--use-fake-ui-for-media-stream")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium(), args=flags, chromium_sandbox=False)
        try:
            yield browser
        finally:
            await browser.close()


@dataclass
class Seat:
    """A person before the page.

    Attributes:
        complaints: errors in the console and exceptions.
        foreign: requests to other hosts.
        sent: audio frames sent over WebSocket.
        events: of the page, sent over WebSocket.
        weights: bytes of each file loaded.
    """

    page: Page
    url: str
    complaints: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)
    sent: list[bytes] = field(default_factory=list)
    events: list[str] = field(default_factory=list)
    weights: dict[str, int] = field(default_factory=dict)

    def watch(self) -> None:
        page, host = self.page, urlsplit(self.url).netloc
        page.on("console", lambda line: self.complaints.append(line.text) if line.type == "error" else None)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", lambda request: self._requested(request.url, host))
        page.on("response", self._answered)
        page.on("websocket", self._opened)

    def _requested(self, url: str, host: str) -> None:
        if urlsplit(url).scheme not in ("data", "blob") and urlsplit(url).netloc != host:
            self.foreign.append(url)

    def _answered(self, answer: Response) -> None:
        self.weights[answer.url] = int(answer.headers.get("content-length", 0))

    def _opened(self, socket: WebSocket) -> None:
        self._requested(socket.url, urlsplit(self.url).netloc)
        socket.on(
            "framesent",
            lambda frame: self.sent.append(frame) if isinstance(frame, bytes) else self.events.append(frame),
        )

    async def see(self, selector: str, text: str) -> None:
        """Wait until something on the page says so."""
        await expect(self.page.locator(selector)).to_contain_text(text, timeout=PATIENCE)

    async def state(self, text: str) -> None:
        await self.see("#state-text", text)

    async def talk(self) -> None:
        await self.page.click("#talk")
        await self.state("Listening")

    async def type(self, text: str) -> None:
        await self.page.fill("#typed", text)
        await self.page.press("#typed", "Enter")

    async def said(self, who: str) -> list[str]:
        """What is shown of "user" or "assistant", certain or not, without the labels."""
        script = "rows => rows.map(row => row.querySelector('.said').textContent + row.children[2].textContent)"
        rows: list[str] = await self.page.locator(f"#transcript .{who}").evaluate_all(script)
        return [row.strip() for row in rows if row.strip()]

    async def say(self, name: str) -> None:
        """Say a file of tests/data into the `MICROPHONE`; ends when it is said."""
        sound = clip(name, RATE)
        file = io.BytesIO()
        soundfile.write(file, sound.samples, sound.rate, format="WAV")
        await self.page.evaluate("data => speak(data)", base64.b64encode(file.getvalue()).decode())

    def break_off(self, place: Place) -> None:
        """The network fails: all connections to the server are torn."""
        for connection in list(place.server.server_state.connections):
            if connection.transport:
                connection.transport.abort()

    async def blocks(self) -> int:
        """How much was recorded of what the page plays."""
        count: int = await self.page.evaluate("heard.length")
        return count

    async def heard(self, first: int = 0) -> Audio:
        """What the page has played since so many blocks."""
        data = np.frombuffer(base64.b64decode(await self.page.evaluate("n => heardSince(n)", first)), np.float32)
        rate: int = await self.page.evaluate("rate")
        return Audio((np.clip(data, -1, 1) * 32767).astype(np.int16), rate)


@asynccontextmanager
async def seated(
    browser: Browser, place: Place, *scripts: str, size: tuple[int, int] = DESKTOP, **options: Any
) -> AsyncIterator[Seat]:
    """The voice client, open.

    Args:
        scripts: run before the page's own.
        options: of the browser's context, and the page's settings: `transport`, `mode`.
    """
    url = f"http://127.0.0.1:{place.port}"
    settings = {name: options.pop(name) for name in ("transport", "mode") if name in options}
    context = await browser.new_context(viewport={"width": size[0], "height": size[1]}, **options)
    page = await context.new_page()
    page.set_default_timeout(PATIENCE)
    store = f"localStorage.setItem('rejoinder.settings', JSON.stringify({settings!r}))"
    for script in (store, RECORDER, *scripts):
        await page.add_init_script(script)
    seat = Seat(page, url)
    seat.watch()
    await page.goto(url)
    try:
        yield seat
    finally:
        await context.close()
