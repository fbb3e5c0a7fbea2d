"""An engine that is asked for too much says so in words."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import numpy as np
import pytest

from streams.audio import Audio
from streams.lane import LaneFull
from tests.session.scripted import ScriptedAsr, ScriptedLlm, ScriptedTts, echo
from tests.taps import Recorder
from voice.engines import EngineError
from voice.engines.metered import MeteredAsr, MeteredLlm, MeteredTts
from voice.events import Hypothesis, LlmEvent, Message, Priority, Prompt, Speech, Usage

pytestmark = pytest.mark.anyio


class FullAsr(ScriptedAsr):
    async def transcribe(self, *_: object, **__: object) -> Hypothesis:
        raise LaneFull("asr")


class FullTts(ScriptedTts):
    @asynccontextmanager
    async def stream(self, *_: object, **__: object) -> AsyncIterator[AsyncIterator[Speech]]:
        async def pieces() -> AsyncIterator[Speech]:
            raise LaneFull("tts")
            yield

        yield pieces()


async def test_a_full_lane_is_an_engine_error() -> None:
    silence = Audio(np.zeros(16_000, np.int16), 16_000)
    with pytest.raises(EngineError, match="more work"):
        await MeteredAsr(FullAsr(), Recorder()).transcribe(silence, priority=Priority.FINAL, session="s")
    speaking = MeteredTts(FullTts(), Recorder()).stream(
        "hi", voice="", speed=1, priority=Priority.FIRST_CLAUSE, session="s"
    )
    with pytest.raises(EngineError, match="more work"):
        async with speaking as pieces:
            [piece async for piece in pieces]


async def test_recognition_reports_its_real_time_factor() -> None:
    tap = Recorder()
    silence = Audio(np.zeros(16_000, np.int16), 16_000)
    await MeteredAsr(ScriptedAsr(0.01), tap).transcribe(silence, priority=Priority.FINAL, session="s")
    assert ("rtf", 0.01, {"engine": "asr", "job": "final"}) in tap.calls


@pytest.mark.parametrize(("read", "tokens"), [(Usage(prompt=30, cached=20), [10]), (Usage(), [])])
async def test_tokens_read_in_advance_are_counted_where_any_were(read: Usage, tokens: list[int]) -> None:
    class Reader(ScriptedLlm):
        async def prefill(self, *_: object, **__: object) -> Usage:
            return read

    tap = Recorder()
    prompt = Prompt((Message("user", "I would like"),))
    assert await MeteredLlm(Reader(echo), tap).prefill(prompt, request="0" * 32) == read
    counted = [
        value for name, value, labels in tap.calls if (name, labels) == ("llm_tokens_total", {"kind": "prefill"})
    ]
    timed = [labels for name, _, labels in tap.calls if name == "engine_seconds"]
    assert counted == tokens
    assert timed == [{"engine": "llm", "job": "prefill"}] * len(tokens)


async def test_what_became_of_an_engines_drafts_is_reported() -> None:
    class Drafting(ScriptedLlm):
        @asynccontextmanager
        async def stream(self, *_: object, **__: object) -> AsyncIterator[AsyncIterator[LlmEvent]]:
            async def events() -> AsyncIterator[LlmEvent]:
                yield Usage(completion=9, accept_length=2.5, accept_rate=0.5)

            yield events()

    tap = Recorder()
    prompt = Prompt((Message("user", "Hello"),))
    async with MeteredLlm(Drafting(echo), tap).stream(prompt, request="0" * 32, priority=Priority.FINAL) as events:
        [event async for event in events]
    assert ("llm_accept_length", 2.5, {}) in tap.calls
    assert ("llm_accept_rate", 0.5, {}) in tap.calls
