"""Which words of an answer sounded, told by a recogniser that hears the answer's sound: the history's yardstick."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

import numpy as np

from streams.audio import Audio, resample
from voice.agreement import plain
from voice.engines.mel import RATE
from voice.events import Word

UNSURE, GUESSED = 0.1, 0.25
"""Seconds by which the middle of a word may be wrong: of one that the recogniser heard, and of one that it did not."""
QUIET = 0.02
"""Of the loudest: what is softer lies between words."""
EARLY = 0.07
"""Seconds by which the recogniser's words are early. Median over 335 words of whose times the voice itself told; nine
in ten lie within `UNSURE` of that. Where a pause shows the truth, the voice is right to 10 ms."""
LETTER = 0.06
"""Seconds that a letter takes, where the recogniser tells nothing."""
SLOT = RATE // 100


@dataclass(frozen=True)
class Middle:
    """When the middle of a word sounds, seconds, and by how much that may be wrong."""

    at: float
    slack: float


@dataclass(frozen=True)
class Verdict:
    """The history of one cut against its sound.

    Attributes:
        kept, sounded: how many words the history has, and how many sounded: their middle had been played.
        right: the history is these words; `wrong`: it is not, and the yardstick is sure.
        least, most: words that sounded, by the surest and the most generous reading of the yardstick.
        prefix: the history is a beginning of what was announced.
    """

    kept: int
    sounded: int
    least: int
    most: int
    prefix: bool

    @property
    def right(self) -> bool:
        """The history has the words that sounded, no more and no less."""
        return self.prefix and self.kept == self.sounded

    @property
    def wrong(self) -> bool:
        """It has not, however the yardstick is read."""
        return not (self.prefix and self.least <= self.kept <= self.most)

    @property
    def sure(self) -> bool:
        """The yardstick allows one reading only."""
        return self.least == self.most


def judge(history: str, transcript: str, middles: Sequence[Middle | None], played: float) -> Verdict:
    """Compare.

    Args:
        middles: of each word of the transcript; None: it is not in the sound.
        played: seconds of the sound that were heard.
    """
    kept, announced = history.split(), transcript.split()
    known = [middle for middle in middles if middle]
    return Verdict(
        len(kept),
        sum(middle.at <= played for middle in known),
        sum(middle.at + middle.slack <= played for middle in known),
        sum(middle.at - middle.slack <= played for middle in known),
        prefix=kept == announced[: len(kept)],
    )


def middles(transcript: str, sound: Audio, heard: Sequence[Word]) -> list[Middle | None]:
    """When the words of a transcript sound; None for those after the end of the sound.

    Words that the recogniser heard otherwise share the time between those around them by their letters. Where the sound
    breaks off in a word, its length is guessed by its letters too.

    Args:
        sound: at 16 kHz.
        heard: what the recogniser made of it.
    """
    words = transcript.split()
    if not heard:
        return [None] * len(words)
    spans = _matched(words, heard)
    known = [n for n, span in enumerate(spans) if span]
    last_loud = _loud(sound, 0.0, sound.seconds)[1]
    for before, after in itertools.pairwise([-1, *known, len(words)]):
        following = spans[after] if after < len(words) else None
        _share(spans, words, before + 1, after, _end(spans, before), following[0] if following else last_loud)
    return [
        None if span is None else Middle(sum(_loud(sound, *span)) / 2 + EARLY, UNSURE if n in known[:-1] else GUESSED)
        for n, span in enumerate(spans)
    ]


Spans = list[tuple[float, float] | None]


def _matched(words: Sequence[str], heard: Sequence[Word]) -> Spans:
    """Begin and end of the words that the recogniser heard too."""
    ours, theirs = [plain(word) for word in words], [plain(word.text) for word in heard]
    spans: Spans = [None] * len(words)
    for at, other, size in SequenceMatcher(None, ours, theirs, autojunk=False).get_matching_blocks():
        for n in range(size):
            word = heard[other + n]
            longest = LETTER * len(word.text) if other + n == len(heard) - 1 else word.end - word.start
            spans[at + n] = (word.start, min(word.end, word.start + longest))
    return spans


def _end(spans: Spans, word: int) -> float:
    span = spans[word] if word >= 0 else None
    return span[1] if span else 0.0


def _share(spans: Spans, words: Sequence[str], first: int, last: int, begin: float, end: float) -> None:
    """Give the time from `begin` to `end` to the words [first, last), by their letters. The last words of all may lie
    after the end."""
    letters = [len(word) for word in words[first:last]]
    each = (end - begin) / max(1, sum(letters)) if last < len(words) else LETTER
    for n, count in zip(range(first, last), letters, strict=True):
        if begin + count * each / 2 > end:
            return
        spans[n] = (begin, begin + count * each)
        begin += count * each


def _loud(sound: Audio, start: float, end: float) -> tuple[float, float]:
    """A stretch of sound without the silence before and after, seconds; as it is where it is all silent."""
    first = round(start * RATE)
    part = sound.floats()[first : max(first + SLOT, round(end * RATE))]
    slots = np.abs(part[: len(part) // SLOT * SLOT]).reshape(-1, SLOT)
    loud = np.flatnonzero(slots.max(axis=1, initial=0.0) > QUIET * np.abs(sound.floats()).max(initial=1e-9))
    if not len(loud):
        return start, end
    return start + float(loud[0]) * SLOT / RATE, start + float(loud[-1] + 1) * SLOT / RATE


def at_16_khz(sound: Audio) -> Audio:
    """As the recogniser takes it."""
    return Audio(resample(sound, RATE).samples, RATE)
