"""Speech from piper: a VITS voice per language on onnxruntime, phonemes from espeak-ng."""

import json
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import aclosing, asynccontextmanager
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Self

import numpy as np
import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from numpy.typing import NDArray
from onnxruntime.capi.onnxruntime_pybind11_state import (
    Fail,
    InvalidArgument,
    InvalidGraph,
    InvalidProtobuf,
    RuntimeException,
)
from piper import PiperVoice
from piper.config import PiperConfig
from piper.const import BOS, EOS, PAD

from streams.audio import from_floats, join, silence
from voice.engines import EngineError, Setup
from voice.engines.spoken import Span, Trimmer, louder, pause_after, place, sounding, spell
from voice.engines.vits import Vits
from voice.events import Priority, Speech, Word

_GAIN = 1.25
"""Every sentence gets the same: scaling each to full range would make short ones shout."""

_WARM_UP = "Hello there, how can I help you today?"
_SAMPLE_IDS = 100
_ONNX_ERRORS = (Fail, InvalidArgument, InvalidGraph, InvalidProtobuf, RuntimeException)


class PiperTts:
    """A piper voice that speaks sentence by sentence, each in stretches, and knows when each word sounds.

    Voices as in the piper project: `<name>.onnx` and `<name>.onnx.json` in the folder of the registry entry.
    """

    name = "piper"

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._lane = setup.lane
        self._voice: PiperVoice
        self._network: Vits
        self.voices: tuple[str, ...] = (setup.config.tts.voice,)
        self.rate = 0

    async def __aenter__(self) -> Self:
        """Load the voice and speak a sentence, so that the first caller's is not the slow one.

        Raises:
            EngineError: the voice's files are missing or no piper voice.
        """
        await self._lane.run(self._load, priority=Priority.FIRST_CLAUSE, session=self.name)
        self.rate = self._voice.config.sample_rate
        async with self.stream(
            _WARM_UP, voice=self.voices[0], speed=1.0, priority=Priority.FIRST_CLAUSE, session=self.name
        ) as pieces:
            async for _ in pieces:
                pass
        return self

    async def __aexit__(self, *exc: object) -> None:
        del self._voice, self._network

    @asynccontextmanager
    async def stream(
        self, text: str, *, voice: str, speed: float, priority: Priority, session: str
    ) -> AsyncIterator[AsyncIterator[Speech]]:
        """Speak one clause; the silence that its punctuation asks for follows each sentence.

        Text with nothing to say yields nothing.

        Args:
            voice: one of `voices`.
            speed: 1 is the voice's own; 2 twice as fast.

        Raises:
            EngineError: unknown voice, or synthesis failed.
        """
        if voice not in self.voices:
            raise EngineError(f'voice "{voice}": unknown; choose one of {", ".join(self.voices)}')
        async with aclosing(self._stream(text, speed, priority, session)) as pieces:
            yield pieces

    async def _stream(self, text: str, speed: float, priority: Priority, session: str) -> AsyncGenerator[Speech]:
        pieces = self._speak(text, speed)
        while (
            piece := await self._lane.run(partial(next, pieces, None), priority=priority, session=session)
        ) is not None:
            yield piece

    def _load(self) -> None:
        name = self.voices[0]
        path = self._setup.model(name) / f"{name}.onnx"
        try:
            config = PiperConfig.from_dict(json.loads(Path(f"{path}.json").read_text(encoding="utf-8")))
            every = list(chain.from_iterable(config.phoneme_id_map.values()))
            self._network = Vits(onnx.load(str(path)), _inputs(config, every[:_SAMPLE_IDS], 1.0))
            self._voice = PiperVoice(session=self._network.session, config=config)
        except (OSError, ValueError, LookupError, DecodeError, *_ONNX_ERRORS) as error:
            raise EngineError(f'tts.voice = "{name}": cannot load {path} ({error}); fetch the voice again') from error

    def _speak(self, text: str, speed: float) -> Iterator[Speech]:
        """The pieces of a clause; each step computes one."""
        words = text.split()
        spelt = spell(words, self._voice.config.espeak_voice.startswith("en"))
        try:
            sentences = self._phonemes(" ".join(spelt))
            alone = [" ".join("".join(sentence) for sentence in self._phonemes(word)) for word in spelt]
            spans = place(alone, sentences)
            for number, phonemes in enumerate(sentences):
                inside = [(word, span) for word, span in zip(words, spans, strict=True) if span.sentence == number]
                yield from self._sentence(phonemes, inside, speed)
        except (ValueError, *_ONNX_ERRORS) as error:
            raise EngineError(f"speech synthesis failed ({error})") from error

    def _phonemes(self, text: str) -> list[list[str]]:
        """Phonemes the voice knows, sentence by sentence; none for what makes no sound."""
        known = self._voice.config.phoneme_id_map
        sentences = [[phoneme for phoneme in sentence if phoneme in known] for sentence in self._voice.phonemize(text)]
        return [sentence for sentence in sentences if sounding(sentence)]

    def _sentence(self, phonemes: Sequence[str], words: Sequence[tuple[str, Span]], speed: float) -> Iterator[Speech]:
        """Synthesise one sentence, stretch by stretch."""
        ids = self._voice.phonemes_to_ids(list(phonemes))
        utterance = self._network.speak(_inputs(self._voice.config, ids, speed))
        edges = self._edges(phonemes, utterance.widths, utterance.samples)
        trimmer = Trimmer(self.rate)
        left = list(words)
        said = computed = 0
        for stretch in utterance.stretches:
            computed += len(stretch)
            last = computed == utterance.samples
            sound = louder(trimmer.push(stretch, last), _GAIN)
            if not last and not len(sound):
                continue
            end = said + len(sound)
            at = np.clip(edges - trimmer.before, said, end if last else None) - said
            begun = left if last else [word for word in left if at[word[1].first] < len(sound)]
            left = left[len(begun) :]
            timed = (
                Word(text, float(at[span.first]) / self.rate, float(at[span.last]) / self.rate) for text, span in begun
            )
            audio = from_floats(sound, self.rate)
            if last:
                audio = join([audio, silence(pause_after(words[-1][0]) if words else 0.0, self.rate)])
            yield Speech(audio, tuple(timed))
            said = end

    def _edges(self, phonemes: Sequence[str], widths: NDArray[np.float32] | None, length: int) -> NDArray[np.int64]:
        """Sample at which each phoneme starts, and the last ends; shape (len(phonemes) + 1,).

        The ids are: begin, pad, then every phoneme's own followed by a pad, then end. A voice that does not tell the
        frames of each id (`widths`) gets its `length` samples evenly.
        """
        ids = self._voice.config.phoneme_id_map
        counts = [len(ids[BOS]) + len(ids[PAD]), *(len(ids[phoneme]) + len(ids[PAD]) for phoneme in phonemes)]
        last = np.cumsum(counts)
        total = int(last[-1]) + len(ids[EOS])
        if widths is None or len(widths) != total:
            widths = np.ones(total, dtype=np.float32)
        ends = np.cumsum(widths) * (length / widths.sum())
        return np.asarray(ends[last - 1], dtype=np.int64)


def _inputs(config: PiperConfig, ids: Sequence[int], speed: float) -> dict[str, NDArray[np.generic]]:
    """What the network is given to say phonemes in the voice's own manner; the first of several speakers says it."""
    inputs: dict[str, NDArray[np.generic]] = {
        "input": np.array([ids], dtype=np.int64),
        "input_lengths": np.array([len(ids)], dtype=np.int64),
        "scales": np.array([config.noise_scale, config.length_scale / speed, config.noise_w_scale], dtype=np.float32),
    }
    if config.num_speakers > 1:
        inputs["sid"] = np.array([config.default_speaker_id or 0], dtype=np.int64)
    return inputs
