"""The turn model on real speech."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import numpy as np
import pytest

from streams.audio import Audio, join, silence
from streams.lane import Lane
from streams.tap import SILENT
from tests.speech.clips import SPEECH, Clip
from tests.taps import Recorder
from voice.config import Config
from voice.engines import EngineError, Setup
from voice.engines.mel import log_mel
from voice.engines.smart_turn import SmartTurn, features

pytestmark = pytest.mark.anyio
PAUSE = 0.16


@pytest.fixture(scope="module")
async def turn(model_folder: Callable[[str], Path]) -> AsyncIterator[SmartTurn]:
    model_folder(Config().endpoint.model)
    async with Lane("endpoint", 1, 8) as lane, SmartTurn(Setup(Config(), model_folder, lane, SILENT)) as engine:
        yield engine


def upto(clip: Clip, seconds: float) -> Audio:
    """The clip's speech up to a time, and a pause."""
    heard = clip.audio().span(0, round(seconds * 16000))
    return join([heard, silence(PAUSE, 16000, heard.end)])


async def test_a_finished_sentence_is_told_from_one_broken_off(turn: SmartTurn) -> None:
    finished, broken = [], []
    for clip in SPEECH:
        assert clip.vad_onset is not None
        assert clip.vad_offset is not None
        finished.append(await turn.judge(upto(clip, clip.vad_offset), session="a"))
        middle = (clip.vad_onset + clip.vad_offset) / 2
        broken.append(await turn.judge(upto(clip, middle), session="a"))
    assert np.median(finished) > 0.9
    assert np.median(broken) < 0.5


async def test_any_length_of_audio_is_judged(turn: SmartTurn) -> None:
    for seconds in (0.0, 0.01, 3.0, 8.0, 30.0):
        assert 0 <= await turn.judge(silence(seconds, 16000), session="a") <= 1


async def test_only_the_last_eight_seconds_count(turn: SmartTurn) -> None:
    audio = SPEECH[0].audio()
    long = join([silence(9, 16000), Audio(audio.samples, 16000, 9 * 16000)])
    last = long.span(long.end - 8 * 16000, long.end)
    assert await turn.judge(long, session="a") == await turn.judge(last, session="b")


async def test_another_rate_is_refused(turn: SmartTurn) -> None:
    with pytest.raises(EngineError, match="8000 Hz"):
        await turn.judge(silence(1, 8000), session="a")


async def test_its_time_is_told(model_folder: Callable[[str], Path]) -> None:
    model_folder(Config().endpoint.model)
    tap = Recorder()
    async with Lane("endpoint", 1, 8) as lane, SmartTurn(Setup(Config(), model_folder, lane, tap)) as engine:
        await engine.judge(silence(1, 16000), session="a")
    assert [labels for name, _, labels in tap.calls if name == "engine_seconds"] == [
        {"engine": "endpoint", "job": "pause"}
    ]


@pytest.mark.parametrize("files", [[], ["a.onnx", "b.onnx"], ["broken.onnx"]])
async def test_a_folder_without_the_model_is_refused(tmp_path: Path, files: list[str]) -> None:
    for name in files:
        (tmp_path / name).write_bytes(b"no model")
    async with Lane("endpoint", 1, 8) as lane:
        with pytest.raises(EngineError, match=r"\.onnx"):
            async with SmartTurn(Setup(Config(), lambda name: tmp_path, lane, SILENT)):
                pass


def test_features_are_those_of_the_padded_and_normalised_audio() -> None:
    audio = SPEECH[0].audio().span(0, 4 * 16000)
    samples = np.concatenate([np.zeros(4 * 16000, np.float32), audio.floats()])
    plain = log_mel(((samples - samples.mean()) / samples.std()).astype(np.float32))
    found = features(audio)
    assert found.shape == (80, 800)
    assert np.allclose(found[:, 2:-2], plain[:, 2:-2], atol=1e-3)
