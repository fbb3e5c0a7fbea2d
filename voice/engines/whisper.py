"""Whisper on CTranslate2, with windows no longer than the audio needs.

Whisper (Radford et al. 2022) was trained on windows of 30 s, and most of the work on short audio is encoding emptiness.
A window of the audio and little more hears the words as well; what it loses is the end: the decoder runs on and says
everything again. Following several hypotheses side by side (beam search) mends most of that, and costs little, for the
model's weights are read once for all of them. Where it says everything again all the same,
`voice.engines.sanity.once` cuts that off, and what is still doubtful is decoded once more in a larger window.
docs/recognition.md has the figures.
"""

import time
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Self

import ctranslate2
import numpy as np
from tokenizers import Tokenizer

from streams.audio import Audio
from voice.engines import EngineError, Newest, Setup
from voice.engines.mel import HOP, RATE, log_mel
from voice.engines.sanity import believable, doubtful, once
from voice.events import Hypothesis, Priority, Word
from voice.language import known, presentable

FULL = 3000
"""Columns (10 ms each) of the window of the training; also the longest."""
MAX_TOKENS = 220


@dataclass(frozen=True, slots=True)
class Look:
    """How closely audio is listened to.

    Attributes:
        least: columns of the smallest window.
        margin: columns of emptiness after the audio; the more, the surer the decoder finds the end.
        tokens: most that may be written, and most for each second besides.
        beams: hypotheses followed side by side.
    """

    least: int
    margin: int
    tokens: tuple[int, float]
    beams: int = 1

    def window(self, audio: Audio) -> int:
        """Columns, an even number."""
        wanted = max(self.least, columns(audio) + self.margin)
        return min(wanted + wanted % 2, FULL)

    def most(self, audio: Audio) -> int:
        """Tokens."""
        some, each = self.tokens
        return min(some + round(each * audio.seconds), MAX_TOKENS)


QUICK = Look(200, 80, (3, 4.0))
"""For what will be heard again."""
THOROUGH = Look(1000, 200, (8, 6.0), beams=5)
SECOND = Look(1500, 300, (MAX_TOKENS, 0), beams=5)
"""For what is doubtful, or not believed."""

LENGTH = 0.5
"""Power of its length by which a hypothesis' log probability is divided. By 1, a text said twice is no less likely than
one said once; by 0, the shortest wins."""
LONGEST = 28.0
"""Seconds; longer audio is decoded in pieces."""
SEARCHED = 10.0
"""Seconds at the end of a piece in which the quietest point is looked for."""
QUIET = 0.2
"""Seconds over which loudness is taken for that."""
POSITION = 0.02
"""Seconds per position of the encoder."""


class WhisperAsr:
    """Speech recognition, computed on `setup.lane`. Folder: a CTranslate2 conversion with its tokenizer.json.

    Raises:
        EngineError: on entering, when the model does not load.
    """

    name = "whisper"
    device = ""
    """Where it computes, once it is loaded: "cpu" or "cuda"."""

    def __init__(self, setup: Setup) -> None:
        self._config = setup.config.asr
        self._folder = setup.model(self._config.model)
        self._lane = setup.lane
        self._model: Any = None
        self.device = ""
        self.languages: tuple[str, ...] = ()

    async def __aenter__(self) -> Self:
        await self._lane.run(self._load, priority=Priority.FINAL, session="")
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._model = None

    def _load(self) -> None:
        device = self._config.device
        if device == "auto":
            device = "cuda" if ctranslate2.get_cuda_device_count() else "cpu"
        try:
            tokens = Tokenizer.from_buffer((self._folder / "tokenizer.json").read_bytes())
            self._model = ctranslate2.models.Whisper(
                str(self._folder),
                device=device,
                compute_type="int8" if device == "cpu" else "float16",
                intra_threads=self._config.threads,
                inter_threads=self._config.lanes,
            )
        except (RuntimeError, ValueError, OSError) as error:
            raise EngineError(
                f"{self._folder}: does not load as a Whisper model on {device} ({error}); "
                "give a CTranslate2 conversion with its tokenizer.json, and a device this machine has"
            ) from error
        self.device = device
        self._tokens = tokens
        self._start = self._special("startoftranscript")
        self._plain = self._special("notimestamps")
        self._end = self._special("endoftext")
        self.languages = self._known_languages()
        noise = np.random.default_rng(0).normal(0, 1000, RATE).astype(np.int16)
        self.look(Audio(noise, RATE), THOROUGH, self.languages[0], translate=False)

    def _special(self, name: str) -> int:
        token = self._tokens.token_to_id(f"<|{name}|>")
        if token is None:
            raise EngineError(
                f"{self._folder}/tokenizer.json: no token <|{name}|>; give the tokenizer of a Whisper model"
            )
        return int(token)

    def _known_languages(self) -> tuple[str, ...]:
        if not self._model.is_multilingual:
            return ("en",)
        first = self._start + 1
        names = (self._tokens.id_to_token(token) or "" for token in range(first, first + self._model.num_languages))
        return tuple(name.strip("<|>") for name in names)

    async def transcribe(
        self,
        audio: Audio | Newest,
        *,
        priority: Priority,
        session: str,
        language: str = "",
        likely: str = "",
        translate: bool = False,
    ) -> Hypothesis:
        """See `voice.engines.Asr`. What will be heard again stands even if it is doubtful; all else is decoded again.

        A word is what stands between spaces: Chinese and Japanese come as one word per phrase.
        """
        if language and language not in self.languages:
            names = ", ".join(sorted(self.languages))
            raise EngineError(f'language "{language}": unknown to {self._config.model}; it knows {names}')
        if not self._model.is_multilingual:
            language, translate = "en", False
        look = QUICK if priority in (Priority.FIRST_PARTIAL, Priority.PARTIAL) else THOROUGH
        if look is QUICK:
            language = language or likely  # detecting costs half as much as encoding
        parts: list[Hypothesis] = []
        for piece in pieces(audio) if isinstance(audio, Audio) else [audio]:
            heard = await self._hear(
                piece, look, priority=priority, session=session, language=language, likely=likely, translate=translate
            )
            parts.append(heard)
            likely = heard.likely
        return merged(parts)

    async def _hear(
        self,
        audio: Audio | Newest,
        look: Look,
        *,
        priority: Priority,
        session: str,
        language: str,
        likely: str,
        translate: bool,
    ) -> Hypothesis:
        """One look, or two, and whether to believe it."""
        taken: list[Audio] = []

        def take() -> None:
            taken[:] = [audio if isinstance(audio, Audio) else audio()]

        def decode(look: Look) -> tuple[Hypothesis, bool]:
            return self.look(taken[0], look, language, likely=likely, translate=translate)

        run = partial(self._lane.run, priority=priority, session=session)
        found, broken_off = await run(partial(decode, look), ready=take)
        seconds = taken[0].seconds
        believed = partial(believable, seconds=seconds, quick=look is QUICK)
        doubted = broken_off or doubtful(found, seconds) or (found.words and not believed(found))
        if look is THOROUGH and priority is not Priority.REVIEW and doubted:
            again, _ = await run(partial(decode, SECOND))
            found = replace(again, seconds=found.seconds + again.seconds, retried=True)
        if not believed(found):
            found = replace(found, words=(), likely=likely)
        return found

    def look(
        self, audio: Audio, look: Look, language: str, *, likely: str = "", translate: bool
    ) -> tuple[Hypothesis, bool]:
        """Decode one window; and whether the text broke off. What is said again after the end is left out.

        Computes: to be called on the lane.

        Args:
            language, likely, translate: see `voice.engines.Asr`.
        """
        if audio.rate != RATE:
            raise EngineError(f"audio at {audio.rate} Hz: recognition takes {RATE} Hz; resample it first")
        began = time.perf_counter()
        most = look.most(audio)
        try:
            features = log_mel(audio.floats(), self._model.n_mels)
            canvas = np.zeros((1, len(features), look.window(audio)), np.float32)
            canvas[0, :, : features.shape[1]] = features
            encoded = self._model.encode(ctranslate2.StorageView.from_array(canvas))
            if language:
                likely = language
            else:
                token, probability = self._model.detect_language(encoded)[0][0]
                likely = known(likely, token.strip("<|>"), probability, audio.seconds)
                language = likely or token.strip("<|>")
                if look is QUICK and not likely and not presentable(probability, audio.seconds):
                    return Hypothesis((), language, seconds=time.perf_counter() - began), False
            start = self._prompt(language, translate)
            # The library halves max_length, which counts the prompt too where that is longer than the answer.
            result = self._model.generate(
                encoded,
                [[*start, self._plain]],
                beam_size=look.beams,
                length_penalty=LENGTH,
                max_length=2 * most,
                return_scores=True,
                return_no_speech_prob=True,
            )[0]
            ids = [token for token in result.sequences_ids[0] if token < self._end]
            spoken = self._words(encoded, start, ids, audio)
        except (RuntimeError, ValueError) as error:
            raise EngineError(f"recognition failed on {audio.seconds:.1f} s of audio: {error}") from error
        full = len(ids) >= most
        words = once(spoken[:-1] if full else spoken)
        found = Hypothesis(
            words=words,
            language="en" if translate else language,
            likely=likely,
            logprob=result.scores[0] * max(len(ids), 1) ** LENGTH / (len(ids) + 1),
            no_speech=result.no_speech_prob,
            seconds=time.perf_counter() - began,
        )
        return found, full and len(words) == len(spoken) - 1

    def _prompt(self, language: str, translate: bool) -> list[int]:
        if not self._model.is_multilingual:
            return [self._start]
        return [self._start, self._special(language), self._special("translate" if translate else "transcribe")]

    def _words(self, encoded: Any, start: list[int], ids: list[int], audio: Audio) -> tuple[Word, ...]:
        """Words with times from the cross-attention (dynamic time warping over the alignment heads)."""
        if not ids:
            return ()
        aligned = self._model.align(encoded, start, [ids], columns(audio) // 2 * 2)[0]
        begins: dict[int, int] = {}
        for token, position in aligned.alignments:
            begins.setdefault(token, position)
        limit = audio.seconds / POSITION
        times = [min(begins.get(token, limit), limit) * POSITION for token in range(len(ids) + 1)]
        heads = [n for n, token in enumerate(ids) if n == 0 or (self._tokens.id_to_token(token) or "").startswith("Ġ")]
        offset = audio.start / audio.rate
        words = []
        for first, last in zip(heads, [*heads[1:], len(ids)], strict=True):
            text = self._tokens.decode(ids[first:last]).strip()
            if text:
                sure = float(np.mean(aligned.text_token_probs[first:last]))
                words.append(
                    Word(text, round(offset + times[first], 3), round(offset + times[last], 3), round(sure, 3))
                )
        return tuple(words)


def columns(audio: Audio) -> int:
    """Feature columns of a piece of audio."""
    return -(-len(audio.samples) // HOP)


def pieces(audio: Audio) -> list[Audio]:
    """The audio in runs of at most `LONGEST` seconds, cut where it is quietest; nothing for no audio."""
    parts = []
    while audio.seconds > LONGEST:
        size = round(QUIET * RATE)
        first = round((LONGEST - SEARCHED) * RATE)
        energy = np.cumsum(audio.floats()[first : round(LONGEST * RATE)].astype(np.float64) ** 2)
        middle = first + int(np.argmin(energy[size:] - energy[:-size])) + 1 + size // 2
        parts.append(audio.span(audio.start, audio.start + middle))
        audio = audio.span(audio.start + middle, audio.end)
    return [*parts, audio] if len(audio.samples) else parts


def merged(parts: list[Hypothesis]) -> Hypothesis:
    """One hypothesis from those of consecutive pieces; likelihoods are those of the worst."""
    if not parts:
        return Hypothesis(words=())
    return Hypothesis(
        words=tuple(word for part in parts for word in part.words),
        language=parts[0].language,
        likely=parts[-1].likely,
        logprob=min(part.logprob for part in parts),
        no_speech=max(part.no_speech for part in parts),
        seconds=sum(part.seconds for part in parts),
        retried=any(part.retried for part in parts),
    )
