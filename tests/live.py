"""The whole server with real models on a free port, in the test's own event loop, and callers over real sockets."""

import json
import os
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import anyio
import httpx
import jiwer
import msgspec
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from whisper_normalizer.english import EnglishTextNormalizer

from streams.audio import Audio, read, resample, silence
from streams.metrics import Prometheus
from voice.answering import Engines
from voice.app import Gateway, Server, listen
from voice.config import Config, LlmConfig, ModelsConfig, Part, ServerConfig
from voice.models import Store, needed
from voice.realtime.client import ClientSide, Event
from voice.realtime.conversation import Conversation, Reply
from voice.service import open_engines

DATA = Path(__file__).parent / "data"
CONFIG = Config(
    server=ServerConfig(port=0),
    models=ModelsConfig(dir=os.environ.get("REJOINDER__MODELS__DIR", "")),
    llm=LlmConfig(model="smollm2-135m", temperature=0, max_tokens=24),
)
PATIENCE = 30
"""Seconds after which a test that waits has failed."""

_normal = EnglishTextNormalizer()


@cache
def clip(name: str, rate: int = 24_000) -> Audio:
    """A file of tests/data."""
    return resample(read(DATA / name), rate)


def said(name: str) -> str:
    """What is said in a file of tests/data."""
    entries = map(json.loads, (DATA / "manifest.jsonl").read_text().splitlines())
    return next(str(entry["transcript"]) for entry in entries if entry["file"] == name)


def word_errors(reference: str, heard: str) -> float:
    """Word error rate, case, punctuation and spelling of numbers aside."""
    return float(jiwer.wer(_normal(reference), _normal(heard)))


@contextmanager
def one_failure() -> Iterator[None]:
    """A test's failure without the task groups around it: of a group with it inside, anyio's runner of tests ends."""
    try:
        yield
    except BaseExceptionGroup as group:
        failure: BaseException = group
        while isinstance(failure, BaseExceptionGroup) and len(failure.exceptions) == 1:
            failure = failure.exceptions[0]
        raise failure from None


@dataclass
class Live:
    """Engines that are loaded."""

    engines: Engines
    metrics: Prometheus

    @asynccontextmanager
    async def serving(self, **sections: Part) -> AsyncIterator["Place"]:
        """A server that is configured like this one but for the sections given."""
        config = msgspec.structs.replace(CONFIG, **sections)
        server = Server(Gateway(config, self.engines, self.metrics), self.metrics)
        with listen(config.server) as listener:
            place = Place(server, listener.getsockname()[1])
            with one_failure():
                async with anyio.create_task_group() as tasks, place.http:
                    tasks.start_soon(place.run, listener)
                    try:
                        yield place
                    finally:
                        server.should_exit = True
                        with anyio.CancelScope(shield=True):
                            await place.over.wait()


@pytest.fixture(scope="module")
async def live(anyio_backend: object, model_folder: Callable[[str], Path]) -> AsyncIterator[Live]:
    """Real engines, loaded once a module."""
    for name in needed(CONFIG):
        model_folder(name)
    metrics = Prometheus()
    async with open_engines(CONFIG, Store(CONFIG.models), metrics) as engines:
        yield Live(engines, metrics)


@dataclass
class Place:
    """Where a server is reached."""

    server: Server
    port: int
    over: anyio.Event = field(default_factory=anyio.Event)
    http: httpx.AsyncClient = field(init=False)

    def __post_init__(self) -> None:
        self.http = httpx.AsyncClient(base_url=f"http://127.0.0.1:{self.port}", trust_env=False)

    async def run(self, listener: socket.socket) -> None:
        try:
            await self.server.serve([listener])
        finally:
            self.over.set()

    @property
    def gateway(self) -> Gateway:
        return self.server.gateway

    @asynccontextmanager
    async def call(self, query: str = "", *, binary: bool = False, **options: Any) -> AsyncIterator["Caller"]:
        """A caller who listens until the block ends."""
        if binary:
            options["subprotocols"] = ["rejoinder.v1"]
        url = f"ws://127.0.0.1:{self.port}/v1/realtime?{query}"
        async with connect(url, proxy=None, **options) as line, anyio.create_task_group() as tasks:
            caller = Caller(line, ClientSide(binary=binary))
            tasks.start_soon(caller.listen)
            await caller.until(lambda: "session.created" in caller.types())
            yield caller
            tasks.cancel_scope.cancel()


@dataclass(kw_only=True)
class Watching:
    """Sets `changed` with all that it sees."""

    changed: anyio.Event = field(default_factory=anyio.Event)

    async def until(self, happened: Callable[[], object]) -> None:
        """Wait for something to be seen."""
        with anyio.fail_after(PATIENCE):
            while not happened():
                self.changed = anyio.Event()
                await self.changed.wait()


@dataclass
class Caller(Watching):
    """What a client does and sees."""

    line: ClientConnection
    client: ClientSide
    seen: Conversation = field(default_factory=Conversation)
    events: list[Event] = field(default_factory=list)
    end: tuple[int, str] | None = None

    async def listen(self) -> None:
        with suppress(ConnectionClosed):
            while True:
                event = self.client.receive(await self.line.recv())
                self.events.append(event)
                self.seen.apply(event)
                self.changed.set()
        self.end = self.line.close_code or 0, self.line.close_reason or ""
        self.changed.set()

    async def ended(self) -> tuple[int, str]:
        """How the connection ends: code and reason."""
        await self.until(lambda: self.end)
        assert self.end is not None
        return self.end

    async def send(self, *frames: str | bytes) -> None:
        for frame in frames:
            await self.line.send(frame)

    async def update(self, **settings: Any) -> None:
        """Change the session's settings and wait until they are in force."""
        done = self.types().count("session.updated") + 1
        await self.send(self.client.update(**settings))
        await self.until(lambda: self.types().count("session.updated") == done)

    async def play(self, audio: Audio, speed: float = 1.0) -> None:
        """Send sound in frames of 20 ms, `speed` times as fast as it sounds."""
        audio = resample(audio, self.client.input_format.rate)
        due = anyio.current_time()
        for frame in audio.frames(audio.rate // 50):
            await self.send(self.client.append(frame.samples))
            due += frame.seconds / speed
            await anyio.sleep_until(due)

    async def speak(self, audio: Audio, happened: Callable[[], object], speed: float = 1.0) -> None:
        """Say something, and stay on the line in silence until something is seen."""
        await self.play(audio, speed)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._hush)
            await self.until(happened)
            tasks.cancel_scope.cancel()

    async def _hush(self) -> None:
        while True:
            await self.play(silence(1.0, self.client.input_format.rate))

    async def ask(self, text: str, **params: Any) -> Reply:
        """Type something; the whole answer."""
        before = len(self.replies)
        await self.send(self.client.create_item(text), self.client.respond(**params))
        await self.until(lambda: len(self.replies) > before and self.replies[before].status != "in_progress")
        return self.replies[before]

    @property
    def replies(self) -> list[Reply]:
        return list(self.seen.replies.values())

    def types(self) -> list[str]:
        """Names of the events seen, in order."""
        return [getattr(event, "type", None) or str(event.__struct_config__.tag) for event in self.events]
