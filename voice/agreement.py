"""Which words of a growing transcript will stay: LocalAgreement-2 (Liu et al. 2020; Macháček et al. 2023). Pure.

The contract with whoever shows the text: `Transcript.stable` of partials is append-only, as a string; `finish` gives
the recogniser's last word on the utterance, which may differ from what was shown. `delta` says what to append.
"""

import unicodedata

from voice.events import Hypothesis, Transcript, Word

TRAILING = ".,;:!?…。，！？"
"""Punctuation that a cut-off sentence gets at its end, whether it ends there or not."""


class Agreement:
    """The open utterance of one caller; a new one for every utterance.

    A word is agreed once it followed the agreed ones in two hypotheses in a row, whatever its case and punctuation.
    """

    def __init__(self) -> None:
        self._agreed: list[Word] = []
        self._open: tuple[str, ...] = ()

    @property
    def words(self) -> tuple[Word, ...]:
        """The agreed words with their times."""
        return tuple(self._agreed)

    def partial(self, hypothesis: Hypothesis, start: float, upto: float) -> Transcript:
        """Take the next hypothesis of the utterance.

        Args:
            hypothesis: all words of the audio decoded.
            start: of that audio, stream seconds: the utterance's start, or later; words agreed before it stand.
            upto: end of that audio, stream seconds.
        """
        known = self._within(start)
        words = hypothesis.words
        fresh = words[_follows([plain(word.text) for word in known], [plain(word.text) for word in words]) :]
        keys = tuple(plain(word.text) for word in fresh)
        count = _common(self._open, keys)
        for word in fresh[:count]:
            last = word is words[-1]
            text = word.text.rstrip(TRAILING) or word.text if last else word.text
            self._agreed.append(Word(text, word.start, word.end, word.confidence))
        self._open = keys[count:]
        return Transcript(
            stable=_line(self._agreed),
            tentative=_line(fresh[count:]),
            final=False,
            upto=upto,
            language=hypothesis.language,
        )

    def finish(self, hypothesis: Hypothesis, start: float, upto: float) -> Transcript:
        """The utterance's final text: the hypothesis as it is, after what was agreed before the audio's `start`."""
        before = self._agreed[: len(self._agreed) - len(self._within(start))]
        return Transcript(
            stable=_line([*before, *hypothesis.words]),
            tentative="",
            final=True,
            upto=upto,
            language=hypothesis.language,
        )

    def _within(self, start: float) -> list[Word]:
        """The agreed words from `start` on: those whose middle lies after it, and all that follow."""
        first = next((n for n, word in enumerate(self._agreed) if (word.start + word.end) / 2 >= start), None)
        return [] if first is None else self._agreed[first:]


def delta(shown: str, text: str) -> str:
    """What to append to `shown` so that it says what `text` says; nothing where that cannot be done by appending.

    Words agree whatever their case and punctuation, so "I see" and "I see, yes." give " yes.".
    """
    if text.startswith(shown):
        return text[len(shown) :]
    old, new = shown.split(), text.split()
    if [plain(word) for word in old] != [plain(word) for word in new[: len(old)]]:
        return ""
    return "".join(f" {word}" for word in new[len(old) :])


def plain(word: str) -> str:
    """A word for comparison: case folded, without punctuation."""
    return "".join(character for character in word.casefold() if not unicodedata.category(character).startswith("P"))


def _line(words: list[Word] | tuple[Word, ...]) -> str:
    return " ".join(word.text for word in words)


def _common(left: tuple[str, ...], right: tuple[str, ...]) -> int:
    """Length of the common prefix."""
    pairs = zip(left, right, strict=False)
    return next((n for n, (a, b) in enumerate(pairs) if a != b), min(len(left), len(right)))


def _follows(known: list[str], words: list[str]) -> int:
    """Where in `words` begins what follows `known`: after the prefix at the least edit distance from it.

    A recogniser that now hears a known word otherwise, or as two, must not shift what comes after. Of equally good
    places the one counts that ends in the same word, then the one nearest to the known length.
    """
    if words[: len(known)] == known:
        return len(known)
    row = list(range(len(words) + 1))
    for n, word in enumerate(known, 1):
        above, row = row, [n]
        for m, other in enumerate(words, 1):
            row.append(min(above[m] + 1, row[m - 1] + 1, above[m - 1] + (word != other)))
    return min(range(len(words) + 1), key=lambda m: (row[m], words[m - 1 : m] != known[-1:], abs(m - len(known))))
