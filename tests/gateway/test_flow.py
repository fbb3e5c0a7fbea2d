"""Flow control over real sockets with real models; tests/session/test_flow.py has the rest, in virtual time."""

import socket
from collections import Counter
from collections.abc import Callable, Coroutine
from contextlib import suppress

import anyio
import msgspec
import pytest
from anyio.lowlevel import checkpoint
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from streams.audio import Audio, resample, silence
from streams.metrics import Prometheus
from tests.live import CONFIG, PATIENCE, Caller, Live, Place, clip, said, word_errors
from voice.config import PlayoutConfig
from voice.events import Priority
from voice.listening import RATE
from voice.realtime.client import ClientSide

pytestmark = pytest.mark.anyio

SPEECH = "jfk.flac"
UNREAD = 40  # frames: a second of sound, and some events


class Watched(Prometheus):
    """Remembers the most that each edge held, and what became of the callers' samples."""

    def __init__(self) -> None:
        super().__init__()
        self.peaks: Counter[str] = Counter()
        self.held: Counter[str] = Counter()
        self.books: Counter[str] = Counter()
        self.full = anyio.Event()

    def count(self, name: str, amount: float = 1.0, /, **labels: str) -> None:
        super().count(name, amount, **labels)
        if name == "audio_seconds_total":
            samples = amount * RATE
            assert samples == pytest.approx(round(samples), abs=1e-6)
            self.books[labels["state"]] += round(samples)

    def shift(self, name: str, by: float, /, **labels: str) -> None:
        super().shift(name, by, **labels)
        if name == "edge_seconds":
            edge = labels["edge"]
            self.held[edge] += by  # type: ignore[assignment]
            self.peaks[edge] = max(self.peaks[edge], round(self.held[edge]))
            if edge == "session_link" and self.held[edge] >= UNREAD / 2:
                self.full.set()

    def balanced(self) -> None:
        """Once the calls are over."""
        assert self.books["received"] == self.books["decoded"] + self.books["gated"] + self.books["dropped"]


async def gone(place: Place) -> None:
    """Wait until no session is left."""
    with anyio.fail_after(PATIENCE):
        while place.gateway.admission.sessions:
            await checkpoint()


async def one_event(caller: Caller, sound: Audio) -> None:
    await caller.send(caller.client.append(sound.samples))


async def many_events(caller: Caller, sound: Audio) -> None:
    for part in sound.frames(len(sound.samples) // 500 + 1):
        await caller.send(caller.client.append(part.samples))


async def fifty_times(caller: Caller, sound: Audio) -> None:
    await caller.play(sound, speed=50)


@pytest.mark.parametrize("send", [one_event, many_events, fifty_times])
async def test_speech_that_comes_too_fast_is_heard_and_another_caller_served(
    live: Live, send: Callable[[Caller, Audio], Coroutine[None, None, None]]
) -> None:
    tap = Watched()
    async with Live(live.engines, tap).serving() as place:
        async with place.call("intent=transcription") as caller, place.call() as other:

            def heard() -> str:
                return " ".join(item.transcript or "" for item in caller.seen.utterances.values())

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(send, caller, clip(SPEECH))
                assert (await other.ask("Hello", output_modalities=["text"])).text
            words = len(said(SPEECH).split())
            await caller.speak(silence(0.1, 24_000), lambda: len(heard().split()) >= 0.9 * words)
            assert word_errors(said(SPEECH), heard()) < 0.2
        await gone(place)
    assert tap.books["received"] > 10.9 * RATE
    tap.balanced()


async def test_a_reader_that_falls_behind_gets_all_of_a_reply(live: Live) -> None:
    """The reply is made at full speed, and nothing is read until it waits for its reader."""
    tap = Watched()
    llm = msgspec.structs.replace(CONFIG.llm, max_tokens=64)
    plain = socket.socket()
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
    async with Live(live.engines, tap).serving(llm=llm, playout=PlayoutConfig(ahead_seconds=60)) as place:
        plain.connect(("127.0.0.1", place.port))
        async with connect(
            f"ws://127.0.0.1:{place.port}/v1/realtime", sock=plain, proxy=None, max_queue=1, compression=None
        ) as line:
            caller = Caller(line, ClientSide())
            question = "Tell me a long story about an old ship and its captain."
            await caller.send(caller.client.create_item(question), caller.client.respond())
            with anyio.fail_after(PATIENCE):
                await tap.full.wait()
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(caller.listen)
                await caller.until(lambda: "response.done" in caller.types())
                tasks.cancel_scope.cancel()
        await gone(place)
    (reply,) = caller.replies
    assert reply.status in ("completed", "incomplete"), "the latter when the story is cut at the most tokens"
    heard = await live.engines.asr.transcribe(resample(reply.audio, RATE), priority=Priority.FINAL, session="listener")
    assert word_errors(reply.text, heard.text) < 0.3
    assert tap.peaks["session_link"] <= UNREAD
    assert tap.peaks["llm_clauses"] <= 64
    assert tap.peaks["clauses_tts"] <= 2


@pytest.mark.parametrize("politely", [True, False])
async def test_a_hang_up_in_mid_speech_leaves_the_books_balanced(live: Live, politely: bool) -> None:
    tap = Watched()
    async with Live(live.engines, tap).serving() as place:
        with suppress(ConnectionClosed):
            async with place.call("intent=transcription") as caller:
                await caller.play(clip(SPEECH).span(0, 3 * 24_000), speed=5)
                if not politely:
                    caller.line.transport.abort()
        await gone(place)
    assert tap.books["received"] > 0
    tap.balanced()
