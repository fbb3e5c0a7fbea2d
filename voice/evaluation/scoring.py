"""Words right and wrong: normalising, counting, resampling. Needs jiwer and whisper-normalizer."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache

import jiwer
import numpy as np
from whisper_normalizer.basic import BasicTextNormalizer
from whisper_normalizer.english import EnglishTextNormalizer

BY_CHARACTER = frozenset({"zh", "ja", "ko", "th"})
"""Languages scored by characters (CER), because spaces do not separate their words."""
RESAMPLES = 2000


@dataclass(frozen=True, slots=True)
class Score:
    """Errors against a reference, in words, or in characters for the languages of `BY_CHARACTER`."""

    words: int = 0
    substituted: int = 0
    deleted: int = 0
    inserted: int = 0

    @property
    def errors(self) -> int:
        """All of them."""
        return self.substituted + self.deleted + self.inserted

    @property
    def rate(self) -> float | None:
        """Errors by words of the reference; None without any."""
        return self.errors / self.words if self.words else None

    def __add__(self, other: "Score") -> "Score":
        return Score(
            self.words + other.words,
            self.substituted + other.substituted,
            self.deleted + other.deleted,
            self.inserted + other.inserted,
        )


def normal(text: str, language: str) -> str:
    """The text as it is compared: Whisper's English normaliser, its basic one for other languages."""
    return _normaliser(language)(text).strip()


@cache
def _normaliser(language: str) -> Callable[[str], str]:
    if language == "en":
        return EnglishTextNormalizer()  # type: ignore[no-any-return]
    return BasicTextNormalizer(split_letters=language in BY_CHARACTER)  # type: ignore[no-any-return]


def score(reference: str, heard: str, language: str) -> Score:
    """Errors of one transcript at the least edit distance, both sides normalised."""
    right, said = normal(reference, language), normal(heard, language)
    if not right:
        return Score(inserted=len(said.split()))
    found = jiwer.process_words(right, said)
    return Score(len(right.split()), found.substitutions, found.deletions, found.insertions)


def total(scores: Iterable[Score]) -> Score:
    """Their sum."""
    return sum(scores, Score())


def interval(scores: Sequence[Score]) -> tuple[float, float] | None:
    """95 % of the rate by the bootstrap over clips (Bisani & Ney 2004); None without words. The same at every call."""
    words = np.array([one.words for one in scores])
    errors = np.array([one.errors for one in scores])
    if not words.sum():
        return None
    draws = np.random.default_rng(0).integers(0, len(scores), (RESAMPLES, len(scores)))
    drawn = words[draws].sum(axis=1)
    rates = errors[draws].sum(axis=1)[drawn > 0] / drawn[drawn > 0]
    low, high = np.quantile(rates, [0.025, 0.975])
    return float(low), float(high)


def matches(reference: Sequence[str], heard: Sequence[str]) -> list[tuple[int, int]]:
    """Which words are the same: (index in reference, index in heard), at the least edit distance."""
    if not reference or not heard:
        return []
    found = jiwer.process_words([" ".join(reference)], [" ".join(heard)])
    return [
        (chunk.ref_start_idx + n, chunk.hyp_start_idx + n)
        for chunk in found.alignments[0]
        if chunk.type == "equal"
        for n in range(chunk.ref_end_idx - chunk.ref_start_idx)
    ]


def replaced(before: Sequence[str], after: Sequence[str]) -> int:
    """Words of `before` that have gone or become others in `after`, at the least edit distance."""
    if not before or not after:
        return len(before)
    return len(before) - jiwer.process_words([" ".join(before)], [" ".join(after)]).hits
