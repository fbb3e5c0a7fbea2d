"""The official JavaScript SDK for realtime agents, on a page of another origin, talks to a real server.

The package is not part of this repository. `npm install --no-save --prefix tests @openai/agents-realtime@0.20.0`
puts it where it is found, or REJOINDER_TEST_AGENTS_SDK names its folder.
"""

import base64
import io
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import numpy as np
import pytest
import soundfile
from playwright.async_api import Page

from streams.audio import Audio, resample
from tests.browser.chromium import MICROPHONE, PATIENCE, RATE, launched
from tests.browser.test_captions import page_at, site
from tests.live import Live, Place, clip, said, word_errors
from voice.config import AuthConfig
from voice.events import Priority
from voice.listening import RATE as HEARING

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("transport", ["webrtc", "websocket"])]

KEY = "a-key-of-this-test-000000000000"
SAYING = "lj-LJ001-0004.flac"
OTHER = "cv-common_voice_en_20005954.mp3"
LONG = "Tell me a long story about an old ship."
WIRE = 24_000  # Hz, of the SDK's PCM
FOLDER = Path(__file__).parents[1] / "node_modules" / "@openai" / "agents-realtime"

HTML = '<!doctype html><html lang="en"><title>An application</title><button id="talk">Talk</button></html>'

APPLICATION = """
const { RealtimeAgent, RealtimeSession, OpenAIRealtimeWebRTC, OpenAIRealtimeWebSocket, tool } = OpenAIAgentsRealtime;

const seen = { raw: [], understood: [], errors: [], tools: [], history: [], interrupted: 0, state: "" };

const bytes = (data) => Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));

const open = (kind, host) => {
  if (kind === "websocket") {
    return new OpenAIRealtimeWebSocket({ url: `ws://${host}/v1/realtime?model=gpt-realtime` });
  }
  window.loudspeaker = new Audio();
  return new OpenAIRealtimeWebRTC({ baseUrl: `http://${host}/v1/realtime/calls`, audioElement: loudspeaker });
};

const TAP = `registerProcessor("tap", class extends AudioWorkletProcessor {
  process([[sound]]) { if (sound) this.port.postMessage(sound.slice()); return true; }
})`;

const listen = async () => {
  const context = new AudioContext({ sampleRate: 24000 });
  await context.audioWorklet.addModule(URL.createObjectURL(new Blob([TAP], { type: "text/javascript" })));
  const tap = new AudioWorkletNode(context, "tap");
  tap.port.onmessage = ({ data }) => heard.push(Int16Array.from(data, (value) => 32767 * value));
  context.createMediaStreamSource(loudspeaker.srcObject).connect(tap).connect(context.destination);
};

const pump = (session) => {
  const queue = [];
  window.send = (data) => {
    const sound = bytes(data);
    for (let at = 0; at < sound.length; at += 4800) queue.push(sound.slice(at, at + 4800).buffer);
  };
  window.pumping = setInterval(() => session.sendAudio(queue.shift() ?? new ArrayBuffer(4800)), 100);
};

window.heard = [];
window.seen = seen;

window.begin = async ({ kind, host, key }) => {
  const transport = open(kind, host);
  const emit = transport.emit;
  transport.emit = (type, ...values) => {
    if (type === "*") seen.raw.push(values[0]);
    else seen.understood.push(type);
    return emit.call(transport, type, ...values);
  };
  transport.on("connection_change", (state) => { seen.state = state; });
  const weather = tool({
    name: "get_weather",
    description: "The weather of a city",
    parameters: {
      type: "object", properties: { city: { type: "string" } }, required: ["city"], additionalProperties: false,
    },
    execute: async (values) => { seen.tools.push(values); return "It is sunny."; },
  });
  const agent = new RealtimeAgent({
    name: "Helper", instructions: "You are a friendly assistant.", voice: "marin", tools: [weather],
  });
  const session = new RealtimeSession(agent, { transport, model: "gpt-realtime" });
  session.on("error", (error) => seen.errors.push(JSON.stringify(error)));
  session.on("history_updated", (history) => { seen.history = history; });
  session.on("audio", ({ data }) => heard.push(new Int16Array(data)));
  session.on("audio_interrupted", () => { seen.interrupted += 1; });
  await session.connect({ apiKey: key });
  if (kind === "webrtc") await listen();
  else pump(session);
  window.session = session;
};

window.count = (type) => seen.raw.filter((event) => event.type === type).length;
window.last = (type) => seen.raw.findLast((event) => event.type === type);
window.sound = () => {
  const samples = Int16Array.from(heard.flatMap((block) => Array.from(block)));
  let text = "";
  for (const byte of new Uint8Array(samples.buffer)) text += String.fromCharCode(byte);
  return btoa(text);
};
"""
"""What an application does with the SDK, and notes of what comes of it."""

UNKNOWN = {"input_audio_buffer.timeout_triggered"}
"""Events of the API that the SDK has no schema for."""


@pytest.fixture(scope="module")
def bundle() -> Path:
    """The SDK as one file for browsers."""
    folder = Path(os.environ.get("REJOINDER_TEST_AGENTS_SDK") or FOLDER)
    file = folder / "dist" / "bundle" / "openai-realtime-agents.umd.js"
    if not file.is_file():
        pytest.skip("no agents SDK: npm install --no-save --prefix tests @openai/agents-realtime@0.20.0")
    return file


@dataclass
class Application:
    """A page that uses the SDK."""

    page: Page
    place: Place
    kind: str
    complaints: list[str] = field(default_factory=list)

    async def run(self, script: str) -> Any:
        return await self.page.evaluate(script)

    async def until(self, condition: str) -> None:
        """Wait until it holds on the page."""
        try:
            await self.page.wait_for_function(condition, timeout=PATIENCE)
        except Exception as error:
            error.add_note(str(await self.run("JSON.stringify([seen.state, seen.errors, seen.history])")))
            raise

    async def say(self, name: str) -> None:
        """Say a file of tests/data, in real time."""
        if self.kind == "websocket":  # the SDK leaves the microphone to the application
            data = clip(name, WIRE).samples.tobytes()
            await self.page.evaluate("data => send(data)", base64.b64encode(data).decode())
            return
        file, spoken = io.BytesIO(), clip(name, RATE)
        soundfile.write(file, spoken.samples, spoken.rate, format="WAV")
        await self.page.evaluate("data => { speak(data); }", base64.b64encode(file.getvalue()).decode())

    async def told(self) -> list[dict[str, Any]]:
        """The conversation's messages as the SDK keeps them."""
        history: list[dict[str, Any]] = await self.run("seen.history")
        return [item for item in history if item["type"] == "message"]

    async def words(self, role: str) -> list[str]:
        """What the SDK shows that was said by "user" or "assistant"."""
        parts = [item["content"] for item in await self.told() if item["role"] == role]
        return [" ".join(part.get("text") or part.get("transcript") or "" for part in content) for content in parts]

    async def sounded(self) -> Audio:
        """All that was heard of the answers."""
        return Audio(np.frombuffer(base64.b64decode(await self.run("sound()")), np.int16), WIRE)

    async def answering(self) -> None:
        """Wait until an answer sounds."""
        event = "output_audio_buffer.started" if self.kind == "webrtc" else "response.output_audio.delta"
        await self.until(f"count('{event}') > 0")

    async def leave(self) -> None:
        """Hang up; the server knows at once. Nothing was refused, misunderstood or complained about."""
        assert self.place.gateway.admission.sessions == 1
        await self.run("clearInterval(window.pumping), session.close()")
        assert await self.run("seen.state") == "disconnected"
        with anyio.fail_after(5):
            while self.place.gateway.admission.sessions:
                await anyio.lowlevel.checkpoint()
        raw = [event["type"] for event in await self.run("seen.raw")]
        understood = await self.run("seen.understood")
        assert {kind for kind in raw if raw.count(kind) > understood.count(kind)} <= UNKNOWN
        assert await self.run("seen.errors") == []
        assert self.complaints == []


@asynccontextmanager
async def calling(live: Live, folder: Path, bundle: Path, transport: str) -> AsyncIterator[Application]:
    """An application on a site of its own, whose backend has got it an ephemeral key, in a call."""
    with site(HTML) as url:
        auth = AuthConfig(keys=(KEY,), origins=(url,))
        async with (
            live.serving(auth=auth) as place,
            launched(folder) as browser,
            page_at(browser, url) as page,
        ):
            app = Application(page, place, transport)
            noted = ("warning", "error")
            page.on("console", lambda line: app.complaints.append(line.text) if line.type in noted else None)
            page.on("pageerror", lambda error: app.complaints.append(str(error)))
            for script in (MICROPHONE, APPLICATION):
                if script is APPLICATION:
                    await page.add_script_tag(path=bundle)
                await page.add_script_tag(content=f"{{{script}}}")
            made = await place.http.post(
                "/v1/realtime/client_secrets",
                json={"session": {"type": "realtime", "model": "gpt-realtime"}},
                headers={"Authorization": f"Bearer {KEY}"},
            )
            options = {"kind": transport, "host": f"127.0.0.1:{place.port}", "key": made.json()["value"]}
            start = "options => { talk.onclick = () => { window.begun = begin(options); }; }"
            await page.evaluate(start, options)
            await page.click("#talk")  # what a browser wants before a page may sound
            await app.run("begun")
            assert await app.run("seen.state") == "connected"
            yield app
            await app.leave()


async def test_what_is_said_is_understood_and_the_answer_is_heard(
    live: Live, tmp_path: Path, bundle: Path, transport: str
) -> None:
    async with calling(live, tmp_path, bundle, transport) as app:
        await app.say(SAYING)
        await app.until("count('response.done') === 1")
        if transport == "webrtc":
            assert (await app.run("session.transport.callId")).startswith("rtc_")
            await app.until("count('output_audio_buffer.stopped') === 1")
        await app.until("seen.history.some(item => item.role === 'user' && item.content[0].transcript)")
        assert word_errors(said(SAYING), (await app.words("user"))[0]) < 0.25
        [answer] = await app.words("assistant")
        audio = resample(await app.sounded(), HEARING)
        heard = await live.engines.asr.transcribe(audio, priority=Priority.FINAL, session="listener")
        assert word_errors(answer, heard.text) < 0.3
        assert [item["role"] for item in await app.told()] == ["user", "assistant"]


async def test_a_typed_message_is_answered_and_the_answer_is_stopped(
    live: Live, tmp_path: Path, bundle: Path, transport: str
) -> None:
    async with calling(live, tmp_path, bundle, transport) as app:
        await app.run(f"session.sendMessage({LONG!r})")
        await app.answering()
        await app.run("session.interrupt()")
        await app.until("count('response.done') === 1")
        assert await app.run("last('response.done').response.status") == "cancelled"
        await app.run("session.sendMessage('Say hello.')")
        await app.until("count('response.done') === 2")
        assert await app.run("last('response.done').response.status") != "cancelled"
        assert await app.words("user") == [LONG, "Say hello."]
        assert (await app.words("assistant"))[1]
        assert [item["status"] for item in await app.told()][1] == "incomplete"


async def test_a_voice_stops_the_answer(live: Live, tmp_path: Path, bundle: Path, transport: str) -> None:
    async with calling(live, tmp_path, bundle, transport) as app:
        await app.run(f"session.sendMessage({LONG!r})")
        await app.answering()
        await app.say(OTHER)
        await app.until("count('response.done') === 2")
        ends = await app.run("seen.raw.filter(event => event.type === 'response.done')")
        assert ends[0]["response"]["status_details"]["reason"] == "turn_detected"
        assert ends[1]["response"]["status"] != "cancelled"
        assert await app.run("seen.interrupted") == (1 if transport == "websocket" else 0)
        await app.until("seen.history.filter(item => item.role === 'user').at(-1).content[0].transcript")
        assert word_errors(said(OTHER), (await app.words("user"))[1]) < 0.4


async def test_a_tool_is_called_and_what_it_says_is_answered(
    live: Live, tmp_path: Path, bundle: Path, transport: str
) -> None:
    async with calling(live, tmp_path, bundle, transport) as app:
        await app.run("session.transport.sendMessage('What is the weather in Paris?', {}, { triggerResponse: false })")
        await app.run(
            "session.transport.sendEvent({ type: 'response.create',"
            " response: { tool_choice: 'required', max_output_tokens: 120 } })"
        )
        await app.until("count('response.done') === 2")
        [values] = await app.run("seen.tools")
        assert set(values) == {"city"}
        [call] = await app.run("seen.history.filter(item => item.type === 'function_call')")
        assert (call["name"], call["status"], call["output"]) == ("get_weather", "completed", "It is sunny.")
        assert (await app.words("assistant"))[-1]


async def test_the_conversation_is_edited(live: Live, tmp_path: Path, bundle: Path, transport: str) -> None:
    async with calling(live, tmp_path, bundle, transport) as app:
        await app.run("session.sendMessage('Say hello.')")
        await app.until("count('response.done') === 1")
        await app.run("session.updateHistory(history => history.filter(item => item.role !== 'assistant'))")
        await app.until("seen.history.length === 1")
        change = "{ ...item, content: [{ type: 'input_text', text: 'Say goodbye.' }] }"
        await app.run(f"session.updateHistory(history => history.map(item => ({change})))")
        await app.until("count('conversation.item.deleted') === 2 && seen.history.length === 1")
        assert await app.words("user") == ["Say goodbye."]
