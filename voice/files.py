"""Whole files instead of calls: a recording to words, a text to sound."""

from collections import Counter
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import aclosing

from streams.audio import Audio, join, resample
from voice.chunker import Chunker
from voice.config import Config, VadConfig
from voice.engines import Asr, EngineError, Tts, Vad
from voice.events import Hypothesis, Priority, Word

RATE = 16_000
FRAME = 512
"""Samples per frame of voice detection at 16 kHz."""
LONGEST = 24.0
"""Seconds of one passage; the recogniser's window is 30 s."""
JOINED = 1.0
"""A pause shorter than this does not end a passage while there is room."""
MARGIN = 0.3
"""Seconds kept before and after speech."""
SESSION = "files"


def passages(probabilities: list[float], config: VadConfig) -> list[tuple[int, int]]:
    """Where to cut a recording: frame ranges [first, last) that hold all speech, in order, without overlap.

    Args:
        probabilities: of speech, one per frame of 32 ms.
        config: `threshold` and `release` tell speech from silence.
    """
    margin, longest, joined = (round(seconds * RATE / FRAME) for seconds in (MARGIN, LONGEST, JOINED))
    found: list[tuple[int, int]] = []
    for first, last in _runs(probabilities, config):
        begin, end = max(0, first - margin), min(len(probabilities), last + margin)
        if found and begin - found[-1][1] < joined and end - found[-1][0] <= longest:
            found[-1] = (found[-1][0], end)
            continue
        if found:
            begin = max(begin, found[-1][1])
        found += [(at, min(at + longest, end)) for at in range(begin, end, longest)]
    return found


def _runs(probabilities: list[float], config: VadConfig) -> list[tuple[int, int]]:
    """Stretches of speech, in frames."""
    runs: list[tuple[int, int]] = []
    began = None
    for frame, probability in enumerate(probabilities):
        if began is None and probability >= config.threshold:
            began = frame
        elif began is not None and probability < config.release:
            runs.append((began, frame))
            began = None
    return runs if began is None else [*runs, (began, len(probabilities))]


def cut(audio: Audio, vad: Vad, config: VadConfig) -> list[Audio]:
    """The passages of a recording at 16 kHz that hold speech. Computes; not for the event loop of a server."""
    stream = vad.stream()
    probabilities = [value for piece in audio.frames(RATE) for value in stream.push(piece)]
    return [
        audio.span(first * FRAME, last * FRAME if last < len(probabilities) else audio.end)
        for first, last in passages(probabilities, config)
    ]


async def recognise(
    parts: Iterable[Audio], asr: Asr, *, language: str, session: str = SESSION, translate: bool = False
) -> AsyncGenerator[Hypothesis]:
    """Recognise passages one by one, as work that live callers overtake.

    Args:
        language: ISO 639-1 code, or empty to detect it.
        session: for fairness between callers.
        translate: into English.

    Raises:
        EngineError: recognition failed.
    """
    likely = ""
    for part in parts:
        heard = await asr.transcribe(
            part, priority=Priority.BATCH, session=session, language=language, likely=likely, translate=translate
        )
        likely = heard.likely
        yield heard


async def transcribe(
    audio: Audio,
    vad: Vad,
    asr: Asr,
    config: Config,
    *,
    translate: bool = False,
    advance: Callable[[float], None] = lambda seconds: None,
) -> tuple[tuple[Word, ...], str]:
    """Recognise a recording.

    Args:
        audio: any rate.
        translate: into English.
        advance: told the seconds of audio dealt with since the last call.

    Returns:
        The words, times from the beginning of the recording, and its language (that of most words).

    Raises:
        EngineError: recognition failed.
    """
    audio = resample(audio, RATE)
    parts = cut(audio, vad, config.vad)
    found: list[Hypothesis] = []
    done = 0
    async with aclosing(recognise(parts, asr, language=config.asr.language, translate=translate)) as hypotheses:
        async for heard in hypotheses:
            found.append(heard)
            end = parts[len(found) - 1].end
            advance((end - done) / RATE)
            done = end
    advance((audio.end - done) / RATE)
    return tuple(word for heard in found for word in heard.words), spoken(found, config.asr.language)


def spoken(found: list[Hypothesis], language: str) -> str:
    """The language of a transcript: that of most words; where there are none, the one that was asked for."""
    words = Counter(heard.language for heard in found for _ in heard.words)
    return words.most_common(1)[0][0] if words else language or "en"


async def say(
    text: str, tts: Tts, config: Config, *, advance: Callable[[int], None] = lambda characters: None
) -> Audio:
    """Speak a whole text with the configured voice and speed.

    Args:
        advance: told the characters spoken since the last call.

    Raises:
        EngineError: nothing in the text can be spoken, or synthesis failed.
    """
    chunker = Chunker()
    pieces = []
    for clause in chunker.push(text) + chunker.finish():
        async with tts.stream(
            clause, voice=config.tts.voice, speed=config.tts.speed, priority=Priority.BATCH, session=SESSION
        ) as speech:
            pieces += [part.audio async for part in speech]
        advance(len(clause))
    if not pieces:
        raise EngineError("the text holds nothing that can be spoken; give it words")
    return join(pieces)
