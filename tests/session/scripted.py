"""Engines and a caller for conversations in virtual time: words are stretches of constant samples, so that sound can
be read back exactly on either side."""

import dataclasses
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Any

import anyio
import numpy as np
from anyio.abc import TaskGroup
from msgspec.structs import replace

from streams.audio import Audio, Samples
from streams.link import LinkClosed, MemoryLink, memory_pair
from tests.taps import Recorder
from voice.answering import Engines
from voice.config import Config
from voice.engines import EngineError, Newest
from voice.events import Hypothesis, LlmEvent, Priority, Prompt, Speech, TextDelta, ToolCall, Usage, Word
from voice.language import known
from voice.realtime.client import ClientSide, Event
from voice.realtime.conversation import Conversation
from voice.realtime.server import ServerSide
from voice.realtime.settings import SessionDefaults
from voice.session import Session

RATE = 24_000
WORD, GAP = 0.2, 0.05  # seconds
LOUD = 500
VOCABULARY: list[str] = []


def sound_of(text: str, rate: int = RATE) -> Samples:
    """Each word as WORD seconds of its own level, then GAP seconds of silence."""
    pieces = [np.zeros(0, np.int16)]
    for word in text.split():
        key = word.strip(".,!?").lower()
        if key not in VOCABULARY:
            VOCABULARY.append(key)
        level = 1000 + 125 * VOCABULARY.index(key)
        pieces += [np.full(round(WORD * rate), level, np.int16), np.zeros(round(GAP * rate), np.int16)]
    return np.concatenate(pieces)


def words_in(audio: Audio) -> list[Word]:
    """The words whose sound is at least half there, with times on the audio's clock."""
    loud = np.abs(audio.samples) > LOUD
    edges = np.flatnonzero(np.diff(np.concatenate([[False], loud, [False]]).astype(np.int8)))
    found = []
    for first, last in zip(edges[::2], edges[1::2], strict=True):
        if last - first < WORD / 2 * audio.rate:
            continue
        level = float(np.median(audio.samples[first:last]))
        number = round((level - 1000) / 125)
        if number >= len(VOCABULARY):
            continue
        times = (audio.start + int(first)) / audio.rate, (audio.start + int(last)) / audio.rate
        found.append(Word(VOCABULARY[number], *times))
    return found


def text_in(samples: Samples, rate: int = RATE) -> str:
    """What that sound says."""
    return " ".join(word.text for word in words_in(Audio(samples, rate)))


class Part:
    """What scripted engines share: they need no loading, and count the calls under way."""

    name = "scripted"

    def __init__(self) -> None:
        self.active = 0
        self.fault = ""

    @asynccontextmanager
    async def busy(self) -> AsyncIterator[None]:
        self.active += 1
        try:
            if self.fault:
                raise EngineError(self.fault)
            yield
        finally:
            self.active -= 1


class ScriptedVad(Part):
    def stream(self) -> "ScriptedVad.Stream":
        return ScriptedVad.Stream()

    class Stream:
        def __init__(self) -> None:
            self._rest = np.zeros(0, np.int16)

        def push(self, audio: Audio) -> list[float]:
            samples = np.concatenate([self._rest, audio.samples])
            whole = len(samples) // 512
            self._rest = samples[whole * 512 :]
            frames = samples[: whole * 512].reshape(whole, 512)
            return [float(np.mean(np.abs(frame) > LOUD) > 0.3) for frame in frames]


class ScriptedAsr(Part):
    """Hears exactly what is in the audio; with `slips`, words now and then missing, doubled, or taken for another.

    Attributes:
        calls: priority and audio of each call, in seconds on the caller's stream.
        told: language, likely language and whether to translate, of each call.
        detects: a language and its probability; None: it says nothing about languages.
        unclear: what it makes of anything.
    """

    languages = ("en", "fr", "de")

    def __init__(self, seconds: float = 0.08, each: float = 0.0) -> None:
        """A call takes `seconds`, and `each` for every second of audio."""
        super().__init__()
        self.seconds = seconds
        self.each = each
        self.slips: Random | None = None
        self.calls: list[tuple[Priority, float, float]] = []
        self.told: list[tuple[str, str, bool]] = []
        self.detects: tuple[str, float] | None = None
        self.unclear: Hypothesis | None = None

    async def transcribe(
        self,
        audio: Audio | Newest,
        *,
        priority: Priority,
        session: str,
        language: str = "",
        likely: str = "",
        translate: bool = False,
    ) -> Hypothesis:
        audio = audio if isinstance(audio, Audio) else audio()
        self.calls.append((priority, audio.start / audio.rate, audio.end / audio.rate))
        self.told.append((language, likely, translate))
        if self.detects and not language:
            likely = known(likely, *self.detects, audio.seconds)
        async with self.busy():
            seconds = self.seconds + self.each * audio.seconds
            await anyio.sleep(seconds)
            if self.unclear:
                return self.unclear
            return Hypothesis(tuple(self._slipped(words_in(audio))), likely=likely, seconds=seconds)

    def _slipped(self, words: list[Word]) -> list[Word]:
        slips = self.slips
        if slips is None:
            return words
        found: list[Word] = []
        for word in words:
            text = slips.choice(["what", "Yes,", word.text.title()]) if slips.random() < 0.2 else word.text
            heard = Word(text, word.start, word.end, slips.choice([0.3, 0.77, 1.0]))
            found += [heard] * slips.choice([0, 1, 1, 1, 1, 1, 2])
        return found


class ScriptedTurn(Part):
    """Of the same opinion on every pause, some time after it is asked."""

    def __init__(self, probability: float, seconds: float = 0.05) -> None:
        super().__init__()
        self.probability = probability
        self.seconds = seconds
        self.heard: list[str] = []

    async def judge(self, audio: Audio, *, session: str) -> float:
        async with self.busy():
            await anyio.sleep(self.seconds)
            self.heard.append(" ".join(word.text for word in words_in(audio)))
            return self.probability


Answer = Callable[[Prompt], str]


class ScriptedLlm(Part):
    """Answers word by word.

    Attributes:
        given: words that were taken from it, over all answers.
        usage: what it says of itself at the end of an answer, but for the words.
    """

    context = 2048

    def __init__(self, answer: Answer, first: float = 0.1, each: float = 0.01) -> None:
        super().__init__()
        self.answer = answer
        self.first = first
        self.each = each
        self.prompts: list[Prompt] = []
        self.given = 0
        self.usage = Usage(prompt=10)
        self.warmed: list[Prompt] = []
        self.breaks_after: int | None = None

    @asynccontextmanager
    async def stream(
        self, prompt: Prompt, *, request: str, priority: Priority
    ) -> AsyncIterator[AsyncIterator[LlmEvent]]:
        self.prompts.append(prompt)
        async with self.busy():
            yield self._words(self.answer(prompt).split())

    async def prefill(self, prompt: Prompt, *, request: str) -> Usage:
        self.warmed.append(prompt)
        async with self.busy():
            await anyio.sleep(self.first)
            return Usage(prompt=10)

    async def _words(self, words: list[str]) -> AsyncIterator[LlmEvent]:
        await anyio.sleep(self.first)
        for n, word in enumerate(words):
            if n == self.breaks_after:
                raise EngineError("the connection broke")
            self.given += 1
            yield ToolCall("call_1", word[5:], "{}") if word.startswith("call:") else TextDelta(f"{word} ")
            await anyio.sleep(self.each)
        yield dataclasses.replace(self.usage, completion=len(words))


class ScriptedTts(Part):
    """Speaks a clause in one piece.

    Attributes:
        spoken: the clauses it was asked for, over all answers.
    """

    voices = ("default",)
    rate = RATE

    def __init__(self, seconds: float = 0.08, each: float = 0.0) -> None:
        """A clause takes `seconds`, and `each` for every second of speech."""
        super().__init__()
        self.seconds = seconds
        self.each = each
        self.spoken: list[str] = []

    @asynccontextmanager
    async def stream(
        self, text: str, *, voice: str, speed: float, priority: Priority, session: str
    ) -> AsyncIterator[AsyncIterator[Speech]]:
        async with self.busy():
            yield self._piece(text)

    async def _piece(self, text: str) -> AsyncIterator[Speech]:
        sound = sound_of(text)
        self.spoken.append(text)
        await anyio.sleep(self.seconds + self.each * len(sound) / RATE)
        times = [n * (WORD + GAP) for n in range(len(text.split()))]
        words = tuple(Word(word, at, at + WORD) for word, at in zip(text.split(), times, strict=True))
        yield Speech(Audio(sound, RATE), words)


@dataclass
class Call:
    """A caller in a session; what it does takes virtual time as a real caller would take real time."""

    link: MemoryLink
    session: Session
    llm: ScriptedLlm
    asr: ScriptedAsr
    tts: ScriptedTts
    tap: Recorder
    client: ClientSide = field(default_factory=ClientSide)
    seen: Conversation = field(default_factory=Conversation)
    events: list[tuple[float, Event]] = field(default_factory=list)
    ended: BaseException | None = None
    changed: anyio.Event = field(default_factory=anyio.Event)

    async def send(self, frame: str | bytes) -> None:
        await self.link.send(frame)

    async def play(self, samples: Samples) -> None:
        """Send sound in real time, 20 ms a frame."""
        size = RATE // 50
        for first in range(0, len(samples), size):
            await self.send(self.client.append(samples[first : first + size]))
            await anyio.sleep(0.02)

    async def say(self, text: str) -> None:
        await self.play(sound_of(text))

    async def quiet(self, seconds: float) -> None:
        await self.play(np.zeros(round(seconds * RATE), np.int16))

    async def listen(self) -> None:
        """Take what the server sends, until the link ends."""
        try:
            while True:
                event = self.client.receive(await self.link.receive())
                self.events.append((anyio.current_time(), event))
                self.seen.apply(event)
                self.changed.set()
        except LinkClosed as closed:
            self.ended = closed
            self.changed.set()

    async def until(self, happened: Callable[[], object]) -> None:
        """Wait for something to be seen; silence is sent meanwhile, as a microphone would."""
        with anyio.fail_after(60):
            while not happened():
                await self.quiet(0.02)

    async def write(self, text: str, **response: Any) -> None:
        """Type something, and ask for an answer."""
        await self.send(self.client.create_item(text))
        await self.send(self.client.respond(**response))

    async def answered(self, times: int = 1) -> None:
        """Wait until so many answers are done."""
        await self.until(lambda: self.types().count("response.done") >= times)

    async def wait(self, happened: Callable[[], object]) -> None:
        """Wait for something to be seen, without sending anything."""
        while not happened():
            self.changed = anyio.Event()
            await self.changed.wait()

    async def over(self) -> str:
        """Wait until the link has ended; says how."""
        await self.wait(lambda: self.ended)
        return str(self.ended)

    def types(self) -> list[str]:
        """Names of the events seen, in order."""
        return [getattr(event, "type", None) or str(event.__struct_config__.tag) for _, event in self.events]

    def times(self, name: str) -> list[float]:
        return [at for (at, _), kind in zip(self.events, self.types(), strict=True) if kind == name]

    @property
    def replies(self) -> list[str]:
        """What was heard of each reply, read from its sound."""
        return [text_in(reply.audio.samples, reply.audio.rate) for reply in self.seen.replies.values()]


def echo(prompt: Prompt) -> str:
    """Answers with what was said."""
    return f"You said {prompt.messages[-1].text}."


@asynccontextmanager
async def call(
    answer: Answer = echo,
    config: Config | None = None,
    *,
    listens: bool = True,
    turn: ScriptedTurn | None = None,
    load: Callable[[], float] = lambda: 0.0,
    **side: bool,
) -> AsyncIterator[Call]:
    """A session with scripted engines and a caller in it; both are over when the block ends."""
    config = config or Config()
    guarded = replace(config.playout, echo_guard=False)  # scripted voices sound so alike that all is echo
    config = replace(config, playout=guarded)
    here, there = memory_pair(64)
    llm, asr, tts, tap = ScriptedLlm(answer), ScriptedAsr(), ScriptedTts(), Recorder()
    defaults = SessionDefaults(
        expires_at=0, voice="default", voices={"default": "default"}, languages=ScriptedAsr.languages
    )
    protocol = ServerSide(defaults, **side)
    session = Session(there, protocol, Engines(ScriptedVad(), asr, llm, tts, turn, load), config, tap)
    caller = Call(here, session, llm, asr, tts, tap, ClientSide(binary=side.get("binary", False)))
    async with anyio.create_task_group() as tasks:
        await _start(tasks, caller, listens)
        yield caller
        await here.close(1000, "bye")
    assert (llm.active, asr.active, tts.active) == (0, 0, 0), "a call is still under way"


async def _start(tasks: TaskGroup, caller: Call, listens: bool) -> None:
    async def serve() -> None:
        try:
            await caller.session.run()
        except LinkClosed as closed:
            caller.ended = closed

    tasks.start_soon(serve)
    if listens:
        tasks.start_soon(caller.listen)
        await caller.changed.wait()
