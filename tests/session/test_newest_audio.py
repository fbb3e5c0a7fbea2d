"""An engine that is busy looks later, and then at the newest audio."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from anyio import wait_all_tasks_blocked

from streams.audio import Audio, silence
from streams.virtual import VirtualLoop
from tests.session.scripted import ScriptedAsr, ScriptedVad, sound_of
from tests.taps import Recorder
from voice.config import AsrConfig, VadConfig
from voice.engines import Newest
from voice.events import Hypothesis
from voice.listening import RATE, Listening

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def anyio_backend() -> tuple[str, dict[str, object]]:
    return "asyncio", {"loop_factory": VirtualLoop}


class BusyAsr(ScriptedAsr):
    """Gets to a call when it is let."""

    def __init__(self) -> None:
        super().__init__()
        self.free = anyio.Event()
        self.asked = 0

    async def transcribe(self, audio: Audio | Newest, **how: Any) -> Hypothesis:
        self.asked += 1
        await self.free.wait()
        return await super().transcribe(audio, **how)


@asynccontextmanager
async def listening(asr: BusyAsr) -> AsyncIterator[Listening]:
    ears = Listening(
        ScriptedVad(), asr, AsrConfig(), "s", lambda _: None, Recorder(), turn=None, limit=60.0, ahead=10.0
    )
    ears.configure(VadConfig())
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ears.run)
        yield ears
        tasks.cancel_scope.cancel()


async def hear(ears: Listening, sound: Audio) -> None:
    for piece in sound.frames(RATE // 50):
        ears.push(piece)
        await wait_all_tasks_blocked()


def speech(seconds: float) -> Audio:
    words = sound_of("one two three four five six seven eight nine ten", RATE)
    return Audio(words[: round(seconds * RATE)], RATE)


async def test_a_look_that_waited_takes_what_came_in_the_meantime() -> None:
    asr = BusyAsr()
    async with listening(asr) as ears:
        await hear(ears, speech(2.0))
        assert (asr.asked, asr.calls) == (1, []), "one look waits, and no queue of them builds up"
        asr.free.set()
        await wait_all_tasks_blocked()
        [(_, _, end)] = asr.calls
        assert end == ears.position / RATE


async def test_a_look_at_speech_that_is_over_is_never_taken() -> None:
    asr = BusyAsr()
    async with listening(asr) as ears:
        await hear(ears, speech(1.5))
        await hear(ears, silence(0.5, RATE))
        asr.free.set()
        await wait_all_tasks_blocked()
        [(priority, _, end)] = asr.calls
        assert priority.name == "SPECULATIVE"
        assert 1.5 < end < 2.0, "and what is decoded for good is the speech up to the pause, whenever its turn comes"
