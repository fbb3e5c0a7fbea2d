"""Real speech through recognition."""

from collections.abc import AsyncIterator, Callable
from functools import lru_cache
from pathlib import Path

import jiwer
import msgspec
import numpy as np
import pytest
from whisper_normalizer.english import EnglishTextNormalizer

from streams.audio import Audio, join, read, resample, silence
from streams.lane import Lane
from streams.tap import SILENT
from tests.speech.clips import NOISE, SPEECH
from voice.config import AsrConfig, Config
from voice.engines import EngineError, Setup, whisper
from voice.engines.whisper import LONGEST, THOROUGH, WhisperAsr, pieces
from voice.events import Hypothesis, Priority

pytestmark = pytest.mark.anyio


async def engine(model: str, model_folder: Callable[[str], Path]) -> AsyncIterator[WhisperAsr]:
    model_folder(model)
    config = Config(asr=AsrConfig(model=model))
    async with Lane("asr", 1, 8) as lane, WhisperAsr(Setup(config, model_folder, lane, SILENT)) as asr:
        yield asr


@pytest.fixture(scope="module")
async def tiny(model_folder: Callable[[str], Path]) -> AsyncIterator[WhisperAsr]:
    async for asr in engine("whisper-tiny.en", model_folder):
        yield asr


@pytest.fixture(scope="module")
async def base(model_folder: Callable[[str], Path]) -> AsyncIterator[WhisperAsr]:
    async for asr in engine("whisper-base", model_folder):
        yield asr


@lru_cache
def normalizer() -> EnglishTextNormalizer:
    return EnglishTextNormalizer()


def errors(said: list[str], heard: list[str]) -> float:
    return float(jiwer.wer([normalizer()(text) for text in said], [normalizer()(text) for text in heard]))


async def hear(asr: WhisperAsr, audio: Audio, priority: Priority = Priority.FINAL) -> Hypothesis:
    return await asr.transcribe(audio, priority=priority, session="test")


@pytest.mark.parametrize("priority", [Priority.FINAL, Priority.PARTIAL])
async def test_it_hears_what_was_said(tiny: WhisperAsr, priority: Priority) -> None:
    heard = [await hear(tiny, clip.utterance(), priority) for clip in SPEECH]
    assert errors([clip.transcript for clip in SPEECH], [found.text for found in heard]) < 0.1
    assert all(found.language == "en" and found.seconds > 0 for found in heard)


async def test_what_was_said_is_written_once(tiny: WhisperAsr, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beam search finds the end of short audio by itself, without its second round being cut off."""
    monkeypatch.setattr(whisper, "once", lambda words: words)
    heard = [tiny.look(clip.utterance(), THOROUGH, "en", translate=False)[0].text for clip in SPEECH]
    assert errors([clip.transcript for clip in SPEECH], heard) < 0.1


async def test_word_times_are_on_the_stream_clock(tiny: WhisperAsr) -> None:
    audio = SPEECH[0].audio()
    later = Audio(audio.samples, audio.rate, 100 * audio.rate)
    words = (await hear(tiny, later)).words
    assert [word.start for word in words] == sorted(word.start for word in words)
    assert all(100 <= word.start <= word.end <= 100 + audio.seconds for word in words)
    country = [word.start - 100 for word in words if "country" in word.text]
    assert country == pytest.approx([5.9, 10.0], abs=0.3)


async def test_an_utterance_longer_than_the_window(tiny: WhisperAsr) -> None:
    chosen = (SPEECH[3], SPEECH[5], SPEECH[2], SPEECH[6], SPEECH[3], SPEECH[2])
    audio = join([part for clip in chosen for part in (clip.utterance(), silence(0.5, 16000))])
    assert audio.seconds > LONGEST
    found = await hear(tiny, audio)
    assert errors([" ".join(clip.transcript for clip in chosen)], [found.text]) < 0.15
    assert found.words[-1].end == pytest.approx(audio.seconds, abs=1.5)


async def test_noise_and_silence_have_no_words(tiny: WhisperAsr) -> None:
    for audio in [*(clip.audio() for clip in NOISE), silence(3.0, 16000)]:
        assert (await hear(tiny, audio)).text == ""
    assert (await hear(tiny, silence(0.0, 16000))) == Hypothesis(words=())


async def test_what_cannot_be_done_is_refused(tiny: WhisperAsr) -> None:
    with pytest.raises(EngineError, match=r'"fr": unknown to whisper-tiny\.en; it knows en'):
        await tiny.transcribe(SPEECH[1].audio(), priority=Priority.FINAL, session="test", language="fr")
    with pytest.raises(EngineError, match="8000 Hz"):
        await hear(tiny, silence(1.0, 8000))


async def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    async with Lane("asr", 1, 8) as lane:
        with pytest.raises(EngineError, match="does not load"):
            await WhisperAsr(Setup(Config(), lambda name: tmp_path, lane, SILENT)).__aenter__()


async def test_a_multilingual_model_detects_and_knows_languages(base: WhisperAsr) -> None:
    found = await hear(base, SPEECH[0].utterance())
    assert found.language == "en"
    assert errors([SPEECH[0].transcript], [found.text]) < 0.1
    with pytest.raises(EngineError, match=r'"xx": unknown to whisper-base; it knows .*de, .*fr'):
        await base.transcribe(SPEECH[0].audio(), priority=Priority.FINAL, session="test", language="xx")


def clip_in(language: str, speech_dir: Path) -> Audio:
    lines = (msgspec.json.decode(line) for line in (speech_dir / "manifest.jsonl").read_bytes().splitlines())
    clip = next(line for line in lines if line["language"] == language and line["kind"] == "speech")
    return resample(read(speech_dir / clip["file"]), 16000)


async def test_a_callers_language_stands_until_another_is_clear(base: WhisperAsr, speech_dir: Path) -> None:
    audio = clip_in("ja", speech_dir)
    whole = await base.transcribe(audio, priority=Priority.FINAL, session="test", likely="en")
    assert (whole.language, whole.likely) == ("ja", "ja")
    short = await base.transcribe(audio.span(0, 14000), priority=Priority.FINAL, session="test", likely="en")
    assert (short.language, short.likely) == ("en", "en")
    quick = await base.transcribe(audio, priority=Priority.PARTIAL, session="test", likely="en")
    assert quick.language == "en"
    fixed = await base.transcribe(audio, priority=Priority.FINAL, session="test", language="en", likely="ja")
    assert fixed.language == "en"


async def test_nothing_is_shown_before_a_language_can_be_told(base: WhisperAsr) -> None:
    audio = SPEECH[2].utterance()
    first = audio.span(audio.start, audio.start + 15000)
    assert not (await hear(base, first, Priority.FIRST_PARTIAL)).words
    assert (await base.transcribe(first, priority=Priority.FIRST_PARTIAL, session="test", likely="en")).words
    assert (await hear(base, audio, Priority.FIRST_PARTIAL)).words


async def test_it_translates_into_english(base: WhisperAsr, speech_dir: Path) -> None:
    audio = clip_in("es", speech_dir)
    spanish = await hear(base, audio)
    english = await base.transcribe(audio, priority=Priority.FINAL, session="test", translate=True)
    assert (spanish.language, english.language, english.likely) == ("es", "en", "es")
    assert {"sand", "white"} <= set(english.text.lower().replace(",", "").split())


def test_long_audio_is_cut_where_it_is_quiet() -> None:
    loud = np.full(70 * 16000, 3000, np.int16)
    for second in (20, 25, 45):
        loud[second * 16000 : second * 16000 + 8000] = 0
    parts = pieces(Audio(loud, 16000, start=777))
    assert [part.start for part in parts[1:]] == [part.end for part in parts[:-1]]
    assert (parts[0].start, parts[-1].end) == (777, 777 + len(loud))
    assert all(part.seconds <= LONGEST for part in parts)
    for part in parts[1:]:
        cut = part.start - 777
        assert not loud[cut - 1600 : cut + 1600].any() or cut > 60 * 16000
