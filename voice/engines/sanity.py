"""Is a recogniser's text what was said, or what it makes up? Tests that Whisper's own reference decoder applies
(Radford et al. 2022, section 4.5), and those that short windows need. Pure."""

import re
import zlib
from itertools import groupby

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
BRIEF = 1.5
"""Seconds of audio, pre-roll included, that a single word may fill."""
CLEAR = 0.15
"""Distance between the mean confidence of words and the probability that nobody speaks that tells them apart."""
CONVINCING = 0.72
"""Mean confidence of words that are believed whatever that probability; over babble it stays below 0.68."""
HASTY = 6.0
"""Words per second nobody speaks."""
SQUEEZED = 0.07
"""Median seconds of a word below which the alignment had no sound left for the words."""
INSTANT = 0.03
"""Seconds of a word that got no sound at all; three in a row are not spoken."""
ROUNDS = 3
"""A phrase that is said so often in a row is a loop, whatever its pace; a single word ROUNDS + 2 times."""
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
        or any(instant and len(list(run)) >= 3 for instant, run in groupby(found.words, _instant))
    )


def _instant(word: Word) -> bool:
    return word.end - word.start <= INSTANT


def believable(found: Hypothesis, seconds: float, *, quick: bool) -> bool:
    """Whether anybody spoke to this microphone, by the model's own account.

    Over babble the decoder writes fluent sentences. What gives them away: the probability that nobody speaks comes
    near to the words' confidence, or exceeds it. How near it may come depends on the look: in the small window of a
    quick one that probability is higher, and brief audio holds single words, which are often no surer.

    Args:
        found: what was heard.
        seconds: of audio it was heard in.
        quick: a look at the newest audio, while the caller speaks.
    """
    if not any(character.isalnum() for character in found.text):
        return False
    if found.no_speech > SILENT and found.logprob < UNLIKELY:
        return False
    weak = found.no_speech > WEAK_SILENT or found.logprob < WEAK_UNLIKELY
    if weak and _plain(found.text) in INVENTIONS:
        return False
    confidence = sum(word.confidence for word in found.words) / len(found.words)
    if seconds < BRIEF:
        return not quick or found.no_speech <= confidence + 2 * CLEAR
    return confidence >= CONVINCING or found.no_speech <= (confidence if quick else confidence - CLEAR)


def once(words: tuple[Word, ...]) -> tuple[Word, ...]:
    """The words up to where the decoder missed the end of the audio and began again.

    In a window hardly longer than the audio, Whisper says all of it and then, one time in four, says it again. The
    alignment, which must give every word a place, squeezes one of the two rounds into next to no time; that tells a
    decoder's repetition from a speaker's. What is repeated without haste counts from `ROUNDS` rounds.
    """
    plain = [_plain(word.text) for word in words]
    for again in range(1, len(words)):
        for period in range(1, again + 1):
            if plain[again:] != plain[again - period : -period]:
                continue
            more = len(words) - again
            loop = more >= (ROUNDS - 1) * period if period > 1 else more > ROUNDS
            rest, round_before = words[again:], words[again - period : again]
            if loop or ((more > 1 or period == 1) and min(_pace(rest), _pace(round_before)) <= SQUEEZED):
                return words[:again]
    return words


def _pace(words: tuple[Word, ...]) -> float:
    """Median seconds per word."""
    return sorted(word.end - word.start for word in words)[len(words) // 2]
