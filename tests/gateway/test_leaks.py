"""Hundreds of callers come and go, most of them without a goodbye, and nothing of them stays."""

import asyncio
import gc
import random
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

import anyio
import psutil
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from streams.audio import Audio, silence
from streams.lane import Lane
from streams.websocket import WebSocketLink
from tests.live import PATIENCE, Live, Place, clip
from voice.answering import Engines
from voice.engines import Asr, Llm, Newest, Tts
from voice.events import Hypothesis, LlmEvent, Prompt, Speech, Usage
from voice.listening import Listening
from voice.realtime import server_events as ev
from voice.realtime.client import ClientSide
from voice.replying import Replying
from voice.session import Session

pytestmark = pytest.mark.anyio

WARM_UP, CALLS, TOGETHER = 160, 160, 4
OURS = (Session, Listening, Replying, WebSocketLink)


@dataclass
class Counted:
    """Engines that know how many calls are under way."""

    asr: Asr
    llm: Llm
    tts: Tts
    active: int = 0
    calls: int = 0

    @property
    def context(self) -> int:
        return self.llm.context

    @property
    def languages(self) -> tuple[str, ...]:
        return self.asr.languages

    @property
    def voices(self) -> tuple[str, ...]:
        return self.tts.voices

    @property
    def rate(self) -> int:
        return self.tts.rate

    async def prefill(self, prompt: Prompt, *, request: str) -> Usage:
        with self._one():
            return await self.llm.prefill(prompt, request=request)

    async def transcribe(self, audio: Audio | Newest, **how: Any) -> Hypothesis:
        with self._one():
            return await self.asr.transcribe(audio, **how)

    def _one(self) -> "_Call":
        return _Call(self)

    @asynccontextmanager
    async def stream(self, what: Any, **how: Any) -> AsyncIterator[AsyncIterator[LlmEvent | Speech]]:
        engine: Any = self.tts if isinstance(what, str) else self.llm
        with self._one():
            async with engine.stream(what, **how) as events:
                yield events


@dataclass
class _Call:
    counted: Counted

    def __enter__(self) -> None:
        self.counted.active += 1
        self.counted.calls += 1

    def __exit__(self, *exc: object) -> None:
        self.counted.active -= 1


async def until(what: str, happened: Callable[[], object]) -> None:
    """Let the server run until something is so."""
    with anyio.move_on_after(PATIENCE):
        while not happened():
            await anyio.lowlevel.checkpoint()
        return
    pytest.fail(f"{what} did not come about in {PATIENCE} s")


async def event(line: ClientConnection, client: ClientSide, *kinds: type) -> None:
    """Read up to an event of these kinds."""
    while not isinstance(client.receive(await line.recv()), kinds):
        pass


async def say(line: ClientConnection, client: ClientSide, chance: random.Random) -> None:
    """A snippet of speech, as fast as it goes."""
    sound = clip("jfk.flac")
    first = chance.randrange(len(sound.samples) - 24_000)
    snippet = sound.samples[first : first + chance.randrange(7200, 24_000)]
    for frame in Audio(snippet, 24_000).frames(480 * chance.randint(1, 10)):
        await line.send(client.append(frame.samples))


async def visit(place: Place, chance: random.Random) -> None:
    """One call of one of several kinds, given up at some point of it."""
    client = ClientSide()
    async with connect(f"ws://127.0.0.1:{place.port}/v1/realtime", proxy=None, close_timeout=1) as line:
        with suppress(ConnectionClosed):
            match chance.randrange(8):
                case 0:  # comes and goes
                    await event(line, client, ev.Created)
                case 1 | 2:  # leaves in mid-word
                    await say(line, client, chance)
                case 3 | 4:  # leaves while what was said is recognised, or the answer is being prepared
                    await say(line, client, chance)
                    await line.send(client.append(silence(chance.choice([0.2, 0.7]), 24_000).samples))
                case 5:  # leaves in mid-answer
                    await line.send(client.create_item("Tell me about the sea."))
                    await line.send(client.respond())
                    await event(line, client, ev.AudioDelta, ev.ResponseDone)
                case 6:  # asks three things at once and leaves
                    await line.send(client.create_item("Hello."))
                    for _ in range(3):
                        await line.send(client.respond(conversation="none", output_modalities=["text"]))
                    await event(line, client, ev.ResponseCreated)
                case _:  # speaks by hand and leaves with the recogniser at work
                    await line.send(client.update(audio={"input": {"turn_detection": None}}))
                    await say(line, client, chance)
                    await line.send(client.commit())
                    await line.send(client.respond())
                    await event(line, client, ev.Committed)
            if chance.random() < 0.6:
                line.transport.abort()


async def visits(place: Place, count: int, seed: int) -> None:
    """Calls, a few at a time."""
    chance = random.Random(seed)
    left = iter(range(count))

    async def caller() -> None:
        for _ in left:
            await visit(place, chance)

    async with anyio.create_task_group() as tasks:
        for _ in range(TOGETHER):
            tasks.start_soon(caller)


def alive(*types: type) -> list[object]:
    gc.collect()
    return [thing for thing in gc.get_objects() if type(thing) in types]


def books(live: Live) -> dict[str, float]:
    """Seconds of callers' audio by what became of it."""
    lines = live.metrics.render()[0].decode().splitlines()
    prefix = 'rejoinder_audio_seconds_total{state="'
    return {
        line.removeprefix(prefix).split('"')[0]: float(line.split()[-1]) for line in lines if line.startswith(prefix)
    }


async def test_nothing_of_a_caller_stays(live: Live, caplog: pytest.LogCaptureFixture) -> None:
    engines = live.engines
    counted: Any = Counted(engines.asr, engines.llm, engines.tts)
    watched = Live(Engines(engines.vad, counted, counted, counted, engines.turn), live.metrics)
    lanes = [thing for thing in alive(Lane) if isinstance(thing, Lane) and thing._open]
    assert len(lanes) == 5
    process = psutil.Process()
    async with watched.serving() as place:

        async def everybody_left() -> None:
            await until("the last session's end", lambda: not place.gateway.admission.sessions)
            await until("the end of the engines' calls", lambda: not counted.active)
            await until("idle lanes", lambda: not any(lane.load for lane in lanes))
            await until("the end of the tasks", lambda: asyncio.all_tasks() <= tasks)
            await until("the end of the connections", lambda: not place.server.server_state.connections)

        tasks = asyncio.all_tasks()
        await visits(place, WARM_UP, seed=1)
        await everybody_left()
        gc.collect()
        threads, memory = threading.active_count(), process.memory_info().rss
        files = process.num_fds()
        await visits(place, CALLS, seed=2)
        await everybody_left()
        assert not alive(*OURS)
        assert not place.gateway.sessions
        assert threading.active_count() <= threads
        assert process.num_fds() <= files
        assert process.memory_info().rss < 1.05 * memory
    assert counted.calls > CALLS / 2, "hardly any call was made: the visits test nothing"
    account = books(live)
    assert account["received"] > 60
    assert account["decoded"] > 1
    assert account["dropped"] > 1
    assert account["gated"] > 1
    assert account["received"] == pytest.approx(account["decoded"] + account["gated"] + account["dropped"], abs=1e-6)
    assert not [record.getMessage() for record in caplog.records if record.exc_info]
