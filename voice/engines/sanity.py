"""Is a recogniser's text what was said, or what it makes up? Tests that Whisper's own reference decoder applies
(Radford et al. 2022, section 4.5), and a few of the same kind. Pure."""

import re
import zlib
from dataclasses import replace

from voice.events import Hypothesis, Word

SILENT = 0.6
"""No-speech probability above which an unlikely text is no text."""
UNLIKELY = -1.0
"""Mean log probability per token below which a text is doubtful."""
REPETITIVE = 2.4
"""Compression ratio above which a text repeats itself."""
WEAK_SILENT = 0.5
WEAK_UNLIKELY = -0.9
"""Beyond either, a stock phrase is not believed; one in four real short utterances reaches -0.7."""
HASTY = 6.0
"""Words per second nobody speaks."""
LONGEST_PHRASE = 8
"""Words of a phrase that may be found looping."""
INVENTIONS = frozenset(
    {
        "bye",
        "bye bye",
        "please subscribe",
        "so",
        "subtitles by the amara.org community",
        "thank you",
        "thank you for watching",
        "thank you so much",
        "thank you very much",
        "thanks",
        "thanks for watching",
        "the end",
        "you",
    }
)
"""What Whisper writes over noise; believed where the evidence is good."""


def _plain(text: str) -> str:
    return re.sub(r"[^\w\s.']|\.(?!\w)", "", text.lower()).strip()


def doubtful(found: Hypothesis, seconds: float) -> bool:
    """Whether a text heard in `seconds` of audio deserves a second look: unlikely, hasty, or going round in circles."""
    data = found.text.encode()
    return (
        found.logprob < UNLIKELY
        or len(found.words) > HASTY * max(seconds, 1.0)
        or len(data) > REPETITIVE * len(zlib.compress(data))
        or loop(found.words) is not None
    )


def believable(found: Hypothesis) -> bool:
    """Whether anybody spoke at all, by the model's own account."""
    if not any(character.isalnum() for character in found.text):
        return False
    if found.no_speech > SILENT and found.logprob < UNLIKELY:
        return False
    weak = found.no_speech > WEAK_SILENT or found.logprob < WEAK_UNLIKELY
    return not (weak and _plain(found.text) in INVENTIONS)


def loop(words: tuple[Word, ...]) -> tuple[int, int] | None:
    """The first phrase said over and over: where it begins and its length in words.

    A single word counts from five times in a row, a longer phrase from three, since people do say "no, no, no".
    """
    plain = [_plain(word.text) for word in words]
    for first in range(len(plain)):
        for size in range(1, LONGEST_PHRASE + 1):
            times = 5 if size == 1 else 3
            phrase = plain[first : first + size]
            if plain[first : first + size * times] == phrase * times:
                return first, size
    return None


def unlooped(found: Hypothesis) -> Hypothesis:
    """The hypothesis up to the end of the first round of a loop, if it has one; else unchanged."""
    circle = loop(found.words)
    if circle is None:
        return found
    return replace(found, words=found.words[: sum(circle)])
