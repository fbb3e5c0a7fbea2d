"""One reply: prompt -> language model -> clauses -> speech -> gate -> caller, with a bounded edge between each two."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from typing import Protocol

import anyio
import numpy as np

from streams.audio import Audio, Resampler
from streams.channel import Channel, Overflow
from streams.playout import Playout
from streams.tap import Tap
from voice.chunker import Chunker
from voice.engines import ContextOverflow, EngineError, Llm, Tts
from voice.events import Priority, Prompt, ReplyDone, Speech, TextDelta, ToolCall, Usage, Word

AUDIBLE = 100  # of 32768, about -50 dBFS: below this a listener on a call hears nothing


class Outlet(Protocol):
    """Where a released reply goes."""

    async def say(self, text: str, words: tuple[Word, ...]) -> None:
        """The transcript of the speech that follows; word times from the reply's first sample."""

    async def sound(self, audio: Audio) -> None:
        """The next audio, at the reply's rate."""

    async def write(self, text: str) -> None:
        """The next part of a reply in text."""

    async def call(self, call: ToolCall) -> None:
        """The model calls a function."""

    def moved(self, place: float, shift: float) -> None:
        """What lay from `place` on sounds again, and now lies `shift` later; seconds from the reply's first sample."""


@dataclass(frozen=True, slots=True)
class Job:
    """What to answer, and how.

    Attributes:
        turn: number of the reply.
        request: id of the engine's request, of fixed length.
        session: whose reply it is, for fairness on the lanes.
        prompt: makes the prompt, leaving out the given number of the oldest messages.
        say: what to answer, word for word; empty: what the language model says.
        apology, repair: what is said when an engine fails, and when the model has no answer.
        rate: Hz of the audio wanted; 0 for a reply in text.
        voice, speed: as the engine knows them.
        ahead: seconds of audio that may be sent ahead of real time.
    """

    turn: int
    request: str
    session: str
    prompt: Callable[[int], Prompt]
    say: str
    apology: str
    repair: str
    rate: int
    voice: str
    speed: float
    ahead: float


class Replying:
    """One reply under way: `run` it, open the `gate`, and cancel the scope it runs in to stop it.

    `mark` is called with the name of a `timeline` mark when it is reached.

    Attributes:
        tokens: pieces of text that the language model has given so far.
        asked: loop time at which it was asked; None before.
    """

    def __init__(self, job: Job, llm: Llm, tts: Tts, outlet: Outlet, mark: Callable[[str], None], tap: Tap) -> None:
        self.gate = anyio.Event()
        self.playout = Playout(job.ahead, outlet.moved)
        self.tokens = 0
        self.asked: float | None = None
        self._job = job
        self._llm = llm
        self._tts = tts
        self._outlet = outlet
        self._mark = mark
        self._deltas: Channel[str] = Channel("llm_clauses", 64, Overflow.WAIT, tap=tap)
        self._clauses: Channel[str] = Channel("clauses_tts", 2, Overflow.WAIT, tap=tap)
        self._speech: Channel[Speech] = Channel("tts_gate", 1.0, Overflow.WAIT, weigh=_seconds, tap=tap)
        self._said = False
        self._calls: list[ToolCall] = []
        self._usage = Usage()
        self._fault = ""

    async def run(self) -> ReplyDone:
        """Answer, and return when all of it has sounded."""
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._think)
                if self._job.rate:
                    tasks.start_soon(self._phrase)
                    tasks.start_soon(self._speak)
                    await self._play()
                else:
                    await self._show()
        finally:
            self._deltas.clear()
            self._clauses.clear()
            self._speech.clear()
        await self.playout.drained()
        for call in self._calls:
            await self._outlet.call(call)
        return ReplyDone(self._job.turn, tuple(self._calls), self._usage, self._fault)

    async def _think(self) -> None:
        """Prompt -> text deltas. When nothing comes, or it breaks off, the caller is told in words."""
        job = self._job
        try:
            await (self._deltas.send(job.say) if job.say else self._ask())
        except EngineError as error:
            self._fault = str(error)
        if job.rate and self._fault and job.apology:
            await self._deltas.send(f" {job.apology}")
        elif job.rate and not (self._said or job.say or self._calls) and job.repair:
            await self._deltas.send(job.repair)
        self._deltas.close()

    async def _ask(self) -> None:
        """Stream the answer to the newest messages that the model has room for."""
        left_out = 0
        while True:
            prompt = self._job.prompt(left_out)
            try:
                return await self._stream(prompt)
            except ContextOverflow:
                if len(prompt.messages) <= 2:
                    raise
                left_out += len(prompt.messages) // 2

    async def _stream(self, prompt: Prompt) -> None:
        priority = Priority.FINAL if self.gate.is_set() else Priority.SPECULATIVE
        self._mark("llm_request")
        self.asked = self.asked or anyio.current_time()
        async with self._llm.stream(prompt, request=self._job.request, priority=priority) as events:
            async for event in events:
                match event:
                    case TextDelta(text):
                        self._mark("llm_first_token")
                        self.tokens += 1
                        self._said = self._said or bool(text.strip())
                        await self._deltas.send(text)
                    case ToolCall():
                        self._calls.append(event)
                    case Usage():
                        self._usage = event

    async def _phrase(self) -> None:
        """Text deltas -> clauses."""
        chunker = Chunker()
        async for delta in self._deltas:
            for clause in chunker.push(delta):
                await self._hand_over(clause)
        for clause in chunker.finish():
            await self._hand_over(clause)
        self._clauses.close()

    async def _hand_over(self, clause: str) -> None:
        self._mark("first_clause")
        await self._clauses.send(clause)

    async def _speak(self) -> None:
        """Clauses -> speech at the caller's rate."""
        priority = Priority.FIRST_CLAUSE
        job = self._job
        made = 0.0
        try:
            async for clause in self._clauses:
                if made >= self._speech.limit:
                    await self.gate.wait()
                speaking = self._tts.stream(
                    clause, voice=job.voice, speed=job.speed, priority=priority, session=job.session
                )
                async with speaking as pieces:
                    made += await self._hand_on(pieces)
                priority = Priority.FINAL
        except EngineError as error:
            self._fault = self._fault or str(error)
            async for _ in self._clauses:  # nobody can say it; let the model come to its end
                pass
        self._speech.close()

    async def _hand_on(self, pieces: AsyncIterator[Speech]) -> float:
        """A clause's pieces, at the caller's rate; returns their seconds."""
        resampler = Resampler(self._tts.rate, self._job.rate)
        spoken = sent = 0.0
        async for piece in pieces:
            self._mark("tts_first_audio")
            audio = resampler.push(piece.audio.samples)
            late = spoken - sent  # the resampler holds a little back
            words = (replace(word, start=word.start + late, end=word.end + late) for word in piece.words)
            await self._speech.send(Speech(audio, tuple(words)))
            spoken, sent = spoken + piece.audio.seconds, sent + audio.seconds
        await self._speech.send(Speech(resampler.push(np.zeros(0, np.int16), last=True), ()))
        return spoken

    async def _play(self) -> None:
        """Speech -> the caller, when the gate is open and not faster than it sounds."""
        async for speech in self._speech:
            await self.gate.wait()
            start = self.playout.sent
            words = tuple(Word(word.text, word.start + start, word.end + start) for word in speech.words)
            if words:
                await self._outlet.say(" ".join(word.text for word in words) + " ", words)
            await self.playout.play(speech.audio, self._sound, [word.start for word in speech.words])
        await self.gate.wait()

    async def _sound(self, frame: Audio) -> None:
        await self._outlet.sound(frame)
        self._mark("first_audio")
        if abs(frame.samples).max(initial=0) > AUDIBLE:
            self._mark("voice_to_voice")

    async def _show(self) -> None:
        """Text deltas -> the caller."""
        await self.gate.wait()
        async for delta in self._deltas:
            await self._outlet.write(delta)


def _seconds(speech: Speech) -> float:
    return speech.audio.seconds
