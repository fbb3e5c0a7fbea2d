"""Speech from piper: a VITS voice per language on onnxruntime, phonemes from espeak-ng."""

import json
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Self

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.capi.onnxruntime_pybind11_state import (
    Fail,
    InvalidArgument,
    InvalidGraph,
    InvalidProtobuf,
    RuntimeException,
)
from piper import PiperVoice
from piper.config import PiperConfig, SynthesisConfig
from piper.const import BOS, EOS, PAD
from piper.patch_voice_with_alignment import add_alignment_output

from streams.audio import from_floats, join, silence
from voice.engines import EngineError, Setup
from voice.engines.spoken import Span, cut, pause_after, place, sounding, spell
from voice.events import Priority, Speech, Word

_GAIN = 1.25
_PEAK = 0.98
"""Every sentence gets the same gain, unless it would clip: scaling each to full range makes short ones shout."""

_WARM_UP = "Hello there, how can I help you today?"
_ONNX_ERRORS = (Fail, InvalidArgument, InvalidGraph, InvalidProtobuf, RuntimeException)


class PiperTts:
    """A piper voice that speaks sentence by sentence and knows when each word sounds.

    Voices as in the piper project: `<name>.onnx` and `<name>.onnx.json` in the folder of the registry entry.
    """

    name = "piper"

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._lane = setup.lane
        self._voice: PiperVoice
        self.voices: tuple[str, ...] = (setup.config.tts.voice,)
        self.rate = 0

    async def __aenter__(self) -> Self:
        """Load the voice and speak a sentence, so that the first caller's is not the slow one.

        Raises:
            EngineError: the voice's files are missing or no piper voice.
        """
        self._voice = await self._lane.run(self._load, priority=Priority.FIRST_CLAUSE, session=self.name)
        self.rate = self._voice.config.sample_rate
        async with self.stream(
            _WARM_UP, voice=self.voices[0], speed=1.0, priority=Priority.FIRST_CLAUSE, session=self.name
        ) as pieces:
            async for _ in pieces:
                pass
        return self

    async def __aexit__(self, *exc: object) -> None:
        del self._voice

    @asynccontextmanager
    async def stream(
        self, text: str, *, voice: str, speed: float, priority: Priority, session: str
    ) -> AsyncIterator[AsyncIterator[Speech]]:
        """Speak one clause, a sentence at a time; the silence that its punctuation asks for follows each.

        Times of words count from the start of the piece they are in. Text with nothing to say yields nothing.

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

    def _load(self) -> PiperVoice:
        name = self.voices[0]
        path = self._setup.model(name) / f"{name}.onnx"
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        try:
            settings = json.loads(Path(f"{path}.json").read_text(encoding="utf-8"))
            graph = onnx.load(str(path))
            with suppress(ValueError):  # the voice has the output already, or cannot have it
                add_alignment_output(graph)
            session = onnxruntime.InferenceSession(
                graph.SerializeToString(), sess_options=options, providers=["CPUExecutionProvider"]
            )
            return PiperVoice(session=session, config=PiperConfig.from_dict(settings))
        except (OSError, ValueError, KeyError, *_ONNX_ERRORS) as error:
            raise EngineError(f'tts.voice = "{name}": cannot load {path} ({error}); fetch the voice again') from error

    def _speak(self, text: str, speed: float) -> Iterator[Speech]:
        """The pieces of a clause; each step computes one sentence."""
        words = text.split()
        spelt = spell(words, self._voice.config.espeak_voice.startswith("en"))
        try:
            sentences = self._phonemes(" ".join(spelt))
            alone = [" ".join("".join(sentence) for sentence in self._phonemes(word)) for word in spelt]
            spans = place(alone, sentences)
            for number, phonemes in enumerate(sentences):
                inside = [(word, span) for word, span in zip(words, spans, strict=True) if span.sentence == number]
                yield self._piece(phonemes, inside, speed)
        except (ValueError, *_ONNX_ERRORS) as error:
            raise EngineError(f"speech synthesis failed ({error})") from error

    def _phonemes(self, text: str) -> list[list[str]]:
        """Phonemes the voice knows, sentence by sentence; none for what makes no sound."""
        known = self._voice.config.phoneme_id_map
        sentences = [[phoneme for phoneme in sentence if phoneme in known] for sentence in self._voice.phonemize(text)]
        return [sentence for sentence in sentences if sounding(sentence)]

    def _piece(self, phonemes: Sequence[str], words: Sequence[tuple[str, Span]], speed: float) -> Speech:
        """Synthesise one sentence."""
        scale = self._voice.config.length_scale / speed
        ids = self._voice.phonemes_to_ids(list(phonemes))
        sound, widths = self._voice.phoneme_ids_to_audio(
            ids, SynthesisConfig(length_scale=scale), include_alignments=True
        )
        sound = np.atleast_1d(sound)
        kept, before = cut(sound, self.rate)
        kept *= min(_GAIN, _PEAK / max(float(np.abs(kept).max(initial=0.0)), 1e-6))
        at = np.clip(self._edges(phonemes, widths, len(sound)) - before, 0, len(kept)) / self.rate
        timed = tuple(Word(text, float(at[span.first]), float(at[span.last])) for text, span in words)
        rest = pause_after(words[-1][0]) if words else 0.0
        return Speech(join([from_floats(kept, self.rate), silence(rest, self.rate)]), timed)

    def _edges(self, phonemes: Sequence[str], widths: NDArray[np.int64] | None, length: int) -> NDArray[np.int64]:
        """Sample at which each phoneme starts, and the last ends; shape (len(phonemes) + 1,).

        The ids are: begin, pad, then every phoneme's own followed by a pad, then end. A voice that does not tell the
        samples of each id (`widths`) gets them evenly.
        """
        ids = self._voice.config.phoneme_id_map
        counts = [len(ids[BOS]) + len(ids[PAD]), *(len(ids[phoneme]) + len(ids[PAD]) for phoneme in phonemes)]
        last = np.cumsum(counts)
        total = int(last[-1]) + len(ids[EOS])
        ends = np.linspace(0, length, total + 1)[1:] if widths is None or len(widths) != total else np.cumsum(widths)
        return np.asarray(ends[last - 1], dtype=np.int64)
