"""Engines that report what they do: time, real-time factor, tokens; and that say so when they have too much to do."""

import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from streams.audio import Audio
from streams.lane import LaneFull
from streams.tap import Tap
from voice.engines import Asr, EngineError, Llm, Newest, Tts
from voice.events import Hypothesis, LlmEvent, Priority, Prompt, Speech, TextDelta, ToolCall, Usage


@contextmanager
def _patience() -> Iterator[None]:
    """A lane that is full is an engine that cannot do what was asked."""
    try:
        yield
    except LaneFull as full:
        raise EngineError("the server has more work than it can do; try again in a moment") from full


class MeteredAsr:
    """A recogniser; its real-time factor is engine time by audio time, waiting left out."""

    def __init__(self, asr: Asr, tap: Tap) -> None:
        self.name = asr.name
        self._asr = asr
        self._tap = tap

    @property
    def device(self) -> str:
        """Where it computes; empty where it does not say."""
        return getattr(self._asr, "device", "")

    @property
    def languages(self) -> tuple[str, ...]:
        """See `voice.engines.Asr`."""
        return self._asr.languages

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
        """See `voice.engines.Asr`."""
        taken = audio if isinstance(audio, Audio) else None

        def take() -> Audio:
            nonlocal taken
            taken = audio if isinstance(audio, Audio) else audio()
            return taken

        with _patience():
            heard = await self._asr.transcribe(
                taken or take,
                priority=priority,
                session=session,
                language=language,
                likely=likely,
                translate=translate,
            )
        job = priority.name.lower()
        self._tap.observe("engine_seconds", heard.seconds, engine="asr", job=job)
        if heard.retried:
            self._tap.count("asr_second_looks_total", job=job)
        if taken and taken.seconds:
            self._tap.observe("rtf", heard.seconds / taken.seconds, engine="asr", job=job)
        return heard


class MeteredLlm:
    """A language model; times are what its caller sees, the wait included."""

    def __init__(self, llm: Llm, tap: Tap) -> None:
        self.name = llm.name
        self._llm = llm
        self._tap = tap

    @property
    def context(self) -> int:
        """See `voice.engines.Llm`."""
        return self._llm.context

    @asynccontextmanager
    async def stream(
        self, prompt: Prompt, *, request: str, priority: Priority
    ) -> AsyncIterator[AsyncIterator[LlmEvent]]:
        """See `voice.engines.Llm`."""
        meter = _TokenMeter(self._tap)
        async with self._llm.stream(prompt, request=request, priority=priority) as events:
            yield meter.watch(events)

    async def prefill(self, prompt: Prompt, *, request: str) -> Usage:
        """See `voice.engines.Llm`."""
        begun = time.perf_counter()
        usage = await self._llm.prefill(prompt, request=request)
        if usage.prompt:
            self._tap.observe("engine_seconds", time.perf_counter() - begun, engine="llm", job="prefill")
            self._tap.count("llm_tokens_total", usage.prompt - usage.cached, kind="prefill")
        return usage


class _TokenMeter:
    def __init__(self, tap: Tap) -> None:
        self._tap = tap
        self._begun = time.perf_counter()
        self._first = 0.0

    async def watch(self, events: AsyncIterator[LlmEvent]) -> AsyncIterator[LlmEvent]:
        async for event in events:
            now = time.perf_counter()
            match event:
                case TextDelta() | ToolCall() if not self._first:
                    self._first = now
                    self._tap.observe("llm_ttft_seconds", now - self._begun)
                case Usage():
                    self._done(event, now)
            yield event

    def _done(self, usage: Usage, now: float) -> None:
        if self._first and usage.completion > 1:
            self._tap.observe("llm_tpot_seconds", (now - self._first) / (usage.completion - 1))
        self._tap.observe("engine_seconds", now - self._begun, engine="llm", job="answer")
        if usage.accept_length:
            self._tap.observe("llm_accept_length", usage.accept_length)
            self._tap.observe("llm_accept_rate", usage.accept_rate)
        tokens = {"prompt": usage.prompt, "cached": usage.cached, "completion": usage.completion}
        for kind, count in tokens.items():
            self._tap.count("llm_tokens_total", count, kind=kind)


class MeteredTts:
    """A voice; time is what its caller sees from the call to the end of the clause, waiting for the lane included."""

    def __init__(self, tts: Tts, tap: Tap) -> None:
        self.name = tts.name
        self.voices = tts.voices
        self.rate = tts.rate
        self._tts = tts
        self._tap = tap

    @asynccontextmanager
    async def stream(
        self, text: str, *, voice: str, speed: float, priority: Priority, session: str
    ) -> AsyncIterator[AsyncIterator[Speech]]:
        """See `voice.engines.Tts`."""
        stream = self._tts.stream(text, voice=voice, speed=speed, priority=priority, session=session)
        with _patience():
            async with stream as pieces:
                yield self._watch(pieces, priority)

    async def _watch(self, pieces: AsyncIterator[Speech], priority: Priority) -> AsyncIterator[Speech]:
        job = "first_clause" if priority is Priority.FIRST_CLAUSE else "clause"
        asked = time.perf_counter()
        async for piece in pieces:
            spent = time.perf_counter() - asked
            self._tap.observe("engine_seconds", spent, engine="tts", job=job)
            if piece.audio.seconds:
                self._tap.observe("rtf", spent / piece.audio.seconds, engine="tts", job=job)
            yield piece
            asked = time.perf_counter()
