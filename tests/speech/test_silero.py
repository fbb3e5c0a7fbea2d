"""Real speech and real noise through the voice detector and the segmenter."""

from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest

from streams.audio import Audio
from streams.lane import Lane
from streams.tap import SILENT
from tests.speech.clips import NOISE, SPEECH, Clip
from voice.config import Config
from voice.engines import EngineError, Setup
from voice.engines.silero import SileroVad
from voice.events import SpeechStarted, SpeechStopped
from voice.vad import FRAME, Segmenter

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
async def vad() -> AsyncIterator[SileroVad]:
    async with SileroVad(Setup(Config(), Path, Lane("vad", 1, 1), SILENT)) as engine:
        yield engine


def probabilities(vad: SileroVad, audio: Audio, size: int = 320) -> list[float]:
    stream = vad.stream()
    return [probability for piece in audio.frames(size) for probability in stream.push(piece)]


def events(vad: SileroVad, audio: Audio) -> list[SpeechStarted | SpeechStopped]:
    segmenter = Segmenter(Config().vad)
    found = [segmenter.push(p, (n + 1) * FRAME) for n, p in enumerate(probabilities(vad, audio))]
    return [event for event in [*found, segmenter.starve(audio.seconds)] if event]


@pytest.mark.parametrize("clip", SPEECH, ids=lambda clip: clip.file)
async def test_speech_is_found_where_it_is(vad: SileroVad, clip: Clip) -> None:
    found = events(vad, clip.audio())
    assert found[0].at == pytest.approx(clip.vad_onset, abs=0.1)
    assert found[-1].at == pytest.approx(clip.vad_offset, abs=0.1)


@pytest.mark.parametrize("clip", NOISE, ids=lambda clip: clip.file)
async def test_noise_is_no_speech(vad: SileroVad, clip: Clip) -> None:
    assert events(vad, clip.audio()) == []


async def test_it_does_not_matter_how_the_audio_is_cut(vad: SileroVad) -> None:
    audio = SPEECH[1].audio()
    whole = probabilities(vad, audio, len(audio.samples))
    assert len(whole) == len(audio.samples) // 512
    for size in (160, 512, 700):
        assert np.allclose(probabilities(vad, audio, size), whole, atol=1e-3)


async def test_streams_share_nothing(vad: SileroVad) -> None:
    audio = SPEECH[1].audio()
    alone = probabilities(vad, audio)
    one, other, mixed = vad.stream(), vad.stream(), []
    for piece in audio.frames(320):
        mixed += one.push(piece)
        other.push(Audio(piece.samples[::-1], piece.rate))
    assert mixed == alone


async def test_another_rate_is_refused(vad: SileroVad) -> None:
    with pytest.raises(EngineError, match="8000 Hz"):
        vad.stream().push(Audio(np.zeros(512, np.int16), 8000))
