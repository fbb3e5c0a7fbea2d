"""Our own answers coming back through the caller's microphone; and callers over them."""

from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import numpy as np
import pytest
from numpy.typing import NDArray

from streams.audio import Audio, from_floats, resample
from streams.echo import Echo
from streams.lane import Lane
from streams.tap import SILENT
from streams.virtual import VirtualLoop
from tests.speech.clips import SPEECH
from voice.config import Config
from voice.echo_guard import EchoGuard
from voice.engines import Setup, Vad
from voice.engines.silero import SileroVad
from voice.events import SpeechStarted
from voice.vad import FRAME, Segmenter

pytestmark = pytest.mark.anyio

CALLERS = [clip for clip in SPEECH if not clip.file.startswith("lj-")]
RATE = 16_000
PAUSE = 1.5
"""Seconds before each answer."""

Floats = NDArray[np.float32]


@pytest.fixture(scope="module")
def answers() -> list[Audio]:
    """Read by one voice; recordings, so that each run hears the same."""
    return [Audio(clip.utterance().samples[: 5 * RATE], RATE) for clip in SPEECH if clip.file.startswith("lj-")][
        : len(CALLERS)
    ]


@pytest.fixture(scope="module")
async def vad() -> AsyncIterator[SileroVad]:
    async with SileroVad(Setup(Config(), Path, Lane("vad", 1, 1), SILENT)) as engine:
        yield engine


def room(seconds: float, seed: int = 1) -> Floats:
    """A response whose sound fades by 60 dB in so many seconds, with the direct sound as loud as all reflections."""
    if not seconds:
        return np.ones(1, np.float32)
    time = np.arange(round(seconds * RATE)) / RATE
    response = np.random.default_rng(seed).standard_normal(len(time)) * 10 ** (-3 * time / seconds)
    response[:32] = 0
    response /= np.sqrt((response**2).sum())
    response[0] = 1
    return np.asarray(response / np.sqrt(2), np.float32)


def microphone(answers: list[Audio], lag: float, gain: float, reverberation: float, callers: list[Floats]) -> Floats:
    """All the answers with a pause before each, as they come back, with noise; a caller speaks over each, if any."""
    sounds = [resample(answer, RATE).floats() for answer in answers]
    total = sum(len(sound) / RATE + PAUSE for sound in sounds) + 4
    heard = (10 ** (-60 / 20) * np.random.default_rng(3).standard_normal(round(total * RATE))).astype(np.float32)
    at = 0.0
    for number, sound in enumerate(sounds):
        at += PAUSE
        parts = [(at + lag, np.convolve(10 ** (gain / 20) * sound, room(reverberation)))]
        if callers:
            parts.append((at + 1.0, callers[number]))
        for start, part in parts:
            place = heard[round(start * RATE) :]
            place[: len(part)] += part[: len(place)]
        at += len(sound) / RATE
    return heard


def call(vad: Vad, answers: list[Audio], heard: Floats) -> list[float]:
    """The answers are played in frames of 40 ms, 0.2 s ahead; when speech was found to have started (stream time)."""
    sends, at = [], 0.0
    for answer in answers:
        at += PAUSE
        for piece in answer.frames(answer.rate // 25):
            begins = piece.start / answer.rate
            sends.append((at + max(0.0, begins - 0.2), piece))
        at += answer.seconds
    found = []

    async def hear() -> None:
        echo, segmenter, end = Echo(RATE), Segmenter(Config().vad), 0.0
        stream = EchoGuard(vad, echo, SILENT).stream()
        for packet in from_floats(heard, RATE).frames(320):
            while sends and sends[0][0] <= packet.end / RATE:
                await anyio.sleep_until(sends[0][0])
                echo.played(sends.pop(0)[1])
            await anyio.sleep_until(packet.end / RATE)
            for probability in stream.push(packet):
                end += FRAME
                if isinstance(segmenter.push(probability, end), SpeechStarted):
                    found.append(end)

    anyio.run(hear, backend_options={"loop_factory": VirtualLoop})
    return found


@pytest.mark.parametrize("lag", [0.04, 0.2, 0.5])
@pytest.mark.parametrize("reverberation", [0.0, 0.3])
@pytest.mark.parametrize("gain", [-6, -15])
async def test_our_own_voice_does_not_interrupt_us(
    vad: SileroVad, answers: list[Audio], lag: float, reverberation: float, gain: float
) -> None:
    heard = microphone(answers, lag, gain, reverberation, [])
    assert await anyio.to_thread.run_sync(call, vad, answers, heard) == []


async def test_without_the_guard_it_would(vad: SileroVad, answers: list[Audio]) -> None:
    heard = microphone(answers, 0.12, -15, 0.0, [])
    assert len(await anyio.to_thread.run_sync(call, vad, [], heard)) >= len(answers)


def voices() -> list[Floats]:
    """A caller for each answer, at -23 dBFS."""
    sounds = [clip.utterance().floats()[: 2 * RATE] for clip in CALLERS]
    return [np.asarray(0.07 * sound / np.sqrt((sound**2).mean()), np.float32) for sound in sounds]


async def test_where_nothing_comes_back_a_caller_is_heard_as_ever(vad: SileroVad, answers: list[Audio]) -> None:
    heard = microphone(answers, 0.12, -120, 0.0, voices())
    found = [await anyio.to_thread.run_sync(call, vad, played, heard) for played in ([], answers)]
    assert found[0] == found[1] != []


@pytest.mark.parametrize("reverberation", [0.0, 0.3])
async def test_a_caller_is_heard_over_it(vad: SileroVad, answers: list[Audio], reverberation: float) -> None:
    callers = voices()
    alone = await anyio.to_thread.run_sync(call, vad, [], microphone(answers, 0.12, -90, 0.0, callers))
    over = microphone(answers, 0.12, -15, reverberation, callers)
    both = await anyio.to_thread.run_sync(call, vad, answers, over)
    begun = np.cumsum([PAUSE + answer.seconds for answer in answers]) - [answer.seconds - 1 for answer in answers]
    for start in begun:
        first, heard = [min(t for t in times if t > start) for times in (alone, both)]
        assert heard < first + 0.5
    assert not [t for t in both if not any(start < t < start + 2.2 for start in begun)]
