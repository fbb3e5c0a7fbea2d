"""An engine that is asked for too much says so in words."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import numpy as np
import pytest

from streams.audio import Audio
from streams.lane import LaneFull
from tests.session.scripted import ScriptedAsr, ScriptedTts
from tests.taps import Recorder
from voice.engines import EngineError
from voice.engines.metered import MeteredAsr, MeteredTts
from voice.events import Hypothesis, Priority, Speech

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
