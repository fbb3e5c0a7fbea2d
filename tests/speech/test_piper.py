"""Speech that is heard back: what piper says, and when."""

import shutil
from collections.abc import AsyncIterator, Callable
from functools import lru_cache
from pathlib import Path

import jiwer
import numpy as np
import onnx
import onnxruntime
import pytest
from faster_whisper import WhisperModel
from whisper_normalizer.english import EnglishTextNormalizer

from streams.audio import Audio, join, resample
from streams.lane import Lane
from streams.tap import SILENT
from voice.config import Config
from voice.engines import EngineError, Setup
from voice.engines.piper import PiperTts
from voice.engines.vits import Vits
from voice.events import Priority, Speech, Word

pytestmark = pytest.mark.anyio

VOICE = "en_US-joe-medium"
SENTENCES = (
    "I can help you with that.",
    "Would you like milk or sugar with your tea?",
    "In the end, the quick brown fox jumped over the lazy dog, because it was in the mood for something new.",
    "The weather in London is cloudy today, with a chance of rain in the afternoon.",
    "Good morning, Dr. Smith! I will be there at the station on Monday morning.",
)


@pytest.fixture(scope="module")
async def tts(model_folder: Callable[[str], Path]) -> AsyncIterator[PiperTts]:
    model_folder(VOICE)
    async with Lane("tts", 1, 8) as lane, PiperTts(Setup(Config(), model_folder, lane, SILENT)) as engine:
        yield engine


@pytest.fixture(scope="module")
def listener(model_folder: Callable[[str], Path]) -> WhisperModel:
    return WhisperModel(str(model_folder("whisper-tiny.en")), device="cpu", compute_type="int8", cpu_threads=1)


@pytest.fixture(scope="module")
def network(model_folder: Callable[[str], Path]) -> Vits:
    sample = {
        "input": np.arange(120)[np.newaxis],
        "input_lengths": np.array([120]),
        "scales": np.array([0.667, 1.0, 0.8], dtype=np.float32),
    }
    return Vits(onnx.load(str(model_folder(VOICE) / f"{VOICE}.onnx")), sample)


async def speak(tts: PiperTts, text: str, speed: float = 1.0) -> list[Speech]:
    async with tts.stream(text, voice=VOICE, speed=speed, priority=Priority.BATCH, session="test") as pieces:
        return [piece async for piece in pieces]


def timed(pieces: list[Speech]) -> tuple[Audio, list[Word]]:
    """Everything said in one piece, with times from its start."""
    words, start = [], 0.0
    for piece in pieces:
        words += [Word(word.text, start + word.start, start + word.end) for word in piece.words]
        start += piece.audio.seconds
    return join([piece.audio for piece in pieces]), words


@lru_cache
def normalizer() -> EnglishTextNormalizer:
    return EnglishTextNormalizer()


async def test_speech_is_recognised_and_words_are_where_they_sound(tts: PiperTts, listener: WhisperModel) -> None:
    said, heard, apart = [], [], []
    for sentence in SENTENCES:
        audio, words = timed(await speak(tts, sentence))
        segments, _ = listener.transcribe(
            resample(audio, 16000).floats(), beam_size=1, word_timestamps=True, language="en"
        )
        echoes = [word for segment in segments for word in segment.words or []]
        said.append(normalizer()(sentence))
        heard.append(normalizer()("".join(word.word for word in echoes)))
        if len(echoes) == len(words):
            apart += [abs(word.start - echo.start) for word, echo in zip(words, echoes, strict=True)]
    assert jiwer.wer(said, heard) < 0.1
    assert len(apart) > 20
    assert np.median(apart) < 0.12


@pytest.mark.parametrize(
    "text",
    [
        *SENTENCES,
        "There are 1,000 people in the U.S. who pay $3.50, e.g. for state-of-the-art coffee... and they like it.",
        "Hi!  Yes -- no.\nWell",
        "It is ** [[x]] & x < 5.",
    ],
)
async def test_words_are_the_texts_own_and_inside_the_audio(tts: PiperTts, text: str) -> None:
    pieces = await speak(tts, text)
    assert [word.text for piece in pieces for word in piece.words] == text.split()
    for piece in pieces:
        assert piece.audio.rate == tts.rate
        assert all(0.0 <= word.start <= piece.audio.seconds for word in piece.words)
    audio, words = timed(pieces)
    edges = [edge for word in words for edge in (word.start, word.end)]
    assert [0.0, *edges, audio.seconds] == pytest.approx(sorted([0.0, *edges, audio.seconds]))


async def test_a_sentence_comes_in_pieces_the_first_of_them_short(tts: PiperTts) -> None:
    pieces = await speak(tts, SENTENCES[3])
    assert len(pieces) > 2
    assert pieces[0].words
    assert 0.1 < pieces[0].audio.seconds < 0.4
    assert np.abs(pieces[0].audio.floats()[: round(0.06 * tts.rate)]).max() > 0.001
    assert all(np.abs(piece.audio.floats()).max() > 0.01 for piece in pieces[:-1])


async def test_nothing_clicks_where_pieces_meet(tts: PiperTts) -> None:
    for sentence in SENTENCES:
        pieces = [piece.audio for piece in await speak(tts, sentence)]
        bend = np.abs(np.diff(join(pieces).floats(), 2))
        for seam in np.cumsum([len(piece.samples) for piece in pieces])[:-1]:
            near = bend[seam - 300 : seam + 300]
            assert bend[seam - 2 : seam].max() <= max(np.delete(near, (298, 299)).max(), 0.01)


async def test_sentences_are_trimmed_and_followed_by_their_pause(tts: PiperTts) -> None:
    first, second = [timed(await speak(tts, text))[0] for text in ("Yes.", "I think so, but")]
    for audio, pause in ((first, 0.22), (second, 0.0)):
        sound = np.abs(audio.floats())
        loud = np.flatnonzero(sound > sound.max() / 30)
        assert 0.01 < loud[0] / tts.rate < 0.08
        assert pause <= audio.seconds - loud[-1] / tts.rate < pause + 0.12
        assert sound[0] == sound[-1] == 0.0


@pytest.mark.parametrize("ids", [3, 60, 150, 400])
def test_stretches_are_the_whole(model_folder: Callable[[str], Path], network: Vits, ids: int) -> None:
    inputs = {
        "input": np.arange(ids)[np.newaxis] % 100 + 1,
        "input_lengths": np.array([ids]),
        "scales": np.array([0.0, 1.0, 0.0], dtype=np.float32),  # without noise
    }
    whole = onnxruntime.InferenceSession(str(model_folder(VOICE) / f"{VOICE}.onnx")).run(["output"], inputs)[0].ravel()
    utterance = network.speak(inputs)
    stretches = list(utterance.stretches)
    assert (len(stretches) > 1) == (ids > 3)
    assert utterance.samples == len(whole)
    assert utterance.widths is not None
    assert utterance.widths.sum() * 256 == len(whole)
    assert np.abs(np.concatenate(stretches) - whole).max() < 1e-4


async def test_voice_that_cannot_be_cut_speaks_whole_sentences(
    model_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    graph = onnx.load(str(model_folder(VOICE) / f"{VOICE}.onnx"))
    for node in graph.graph.node:
        node.name = node.name.replace("/dec/", "/other/")
    onnx.save(graph, str(tmp_path / f"{VOICE}.onnx"))
    shutil.copy(model_folder(VOICE) / f"{VOICE}.onnx.json", tmp_path)
    async with Lane("tts", 1, 8) as lane, PiperTts(Setup(Config(), lambda name: tmp_path, lane, SILENT)) as engine:
        pieces = await speak(engine, SENTENCES[4])
    assert [len(piece.words) for piece in pieces] == [4, 10]
    assert all(piece.words[-1].end > 0.7 * piece.audio.seconds for piece in pieces)


async def test_speed_shortens(tts: PiperTts) -> None:
    slow, fast = [timed(await speak(tts, SENTENCES[1], speed))[0].seconds for speed in (0.7, 1.6)]
    assert 1.4 < slow / fast < 2.4


@pytest.mark.parametrize("text", ["", " ", "...", "?!", "\x00"])
async def test_nothing_to_say_yields_nothing(tts: PiperTts, text: str) -> None:
    assert await speak(tts, text) == []


async def test_unknown_voice_names_the_known(tts: PiperTts) -> None:
    with pytest.raises(EngineError, match=f'"nobody": unknown; choose one of {VOICE}'):
        async with tts.stream("Hi", voice="nobody", speed=1.0, priority=Priority.BATCH, session="test"):
            pass


async def test_leaving_the_block_ends_the_work(tts: PiperTts) -> None:
    async with tts.stream(
        "One. Two. Three.", voice=VOICE, speed=1.0, priority=Priority.BATCH, session="test"
    ) as pieces:
        assert [word.text for word in (await anext(pieces)).words] == ["One."]
    assert await anext(pieces, None) is None


async def test_missing_voice_says_what_is_missing(tmp_path: Path) -> None:
    async with Lane("tts", 1, 8) as lane:
        with pytest.raises(EngineError, match=r"cannot load .*en_US-joe-medium\.onnx"):
            async with PiperTts(Setup(Config(), lambda name: tmp_path, lane, SILENT)):
                pass


async def test_damaged_voice_is_named(model_folder: Callable[[str], Path], tmp_path: Path) -> None:
    shutil.copy(model_folder(VOICE) / f"{VOICE}.onnx.json", tmp_path)
    async with Lane("tts", 1, 8) as lane:
        for content in (b"", b"no voice"):
            (tmp_path / f"{VOICE}.onnx").write_bytes(content)
            with pytest.raises(EngineError, match=r"cannot load .*en_US-joe-medium\.onnx"):
                async with PiperTts(Setup(Config(), lambda name: tmp_path, lane, SILENT)):
                    pass
