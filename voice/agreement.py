"""Which words of a growing transcript are shown, and which will stay. Pure.

There are two kinds of hypotheses. Quick ones look at the newest seconds only; what they find is shown once two of them
in a row agree (LocalAgreement: Liu et al. 2020; Macháček et al. 2023) and may still change. Thorough ones look at all
that is open; words that they have heard with some seconds of speech around them are promised.

The contract with whoever shows the text: `Transcript.stable` holds the promised words and is append-only, as a string,
up to and including the final text. `delta` says what to append.
"""

import unicodedata
from itertools import takewhile

from voice.events import Hypothesis, Transcript, Word

AGREEING = 2
"""Quick hypotheses in a row that a word must be in before it counts as heard."""
CUT_OFF = 0.5
"""Seconds at the end of the audio in which quick hypotheses settle nothing: the last word may be cut off."""
PROMISED, LONG_AGO = 1.5, 8.0
"""Seconds of audio that must follow a word in a thorough hypothesis before it may be promised; and before it must."""
CERTAIN = 0.8
"""Confidence from which one thorough hypothesis is enough to promise a word; else the one before must have had it."""
LOST = 3
"""So many words at the end of a thorough hypothesis are not taken back by one that ends before them: the decoder
sometimes stops in the middle."""
NEAR = 0.5
"""Seconds between the ends of two words, of two hypotheses, that may be the same one; where the first word of a
hypothesis begins is not told well."""
SURE = 0.75
"""Confidence from which a word is shown the first time it is heard."""


class Agreement:
    """The open utterance of one caller; a new one for every utterance."""

    def __init__(self) -> None:
        self._heard: list[Word] = []
        self._looked: list[str] = []  # what the last thorough hypothesis had after the promised words
        self._thorough = 0  # so many of the words heard are from thorough hypotheses
        self._promised = 0  # so many of them stay as they are
        self._open: list[tuple[str, int]] = []  # what comes after them, and how many hypotheses in a row had it
        self._fresh: tuple[Word, ...] = ()

    def quick(self, hypothesis: Hypothesis, start: float, upto: float) -> Transcript:
        """Take a hypothesis about the newest audio.

        Args:
            hypothesis: all words of the audio decoded.
            start: of that audio, stream seconds; words heard before it stand.
            upto: end of that audio, stream seconds.
        """
        if hypothesis.words:  # else the recogniser did not believe what it heard, and says nothing about it
            self._take(_after(self._heard, hypothesis, start), upto)
        return self._transcript(hypothesis, upto, final=False)

    def _take(self, fresh: tuple[Word, ...], upto: float) -> None:
        keys = _keys(fresh)
        same = _common([key for key, _ in self._open], keys)
        seen = [(key, self._open[n][1] + 1 if n < same else 1) for n, key in enumerate(keys)]
        count = 0
        while count < len(fresh) - 1 and seen[count][1] >= AGREEING and fresh[count].end <= upto - CUT_OFF:
            count += 1
        self._heard += fresh[:count]
        self._fresh, self._open = fresh[count:], seen[count:]

    def thorough(self, hypothesis: Hypothesis, start: float, upto: float, *, final: bool) -> Transcript:
        """Take a hypothesis about all audio that is not promised yet; it replaces all that is not.

        One without words says that the recogniser did not believe what it heard: what thorough ones have heard before
        stands, and words of quick ones do until the caller falls silent.

        Args:
            hypothesis, start, upto: as for `quick`.
            final: the caller fell silent; if the utterance ends here, this is its text.
        """
        if not hypothesis.words:
            if final:
                self._heard, self._fresh, self._open = self._heard[: self._thorough], (), []
            self._promise(0, upto)
            return self._transcript(hypothesis, upto, final=final)
        promised, before = self._heard[: self._promised], self._heard[self._promised : self._thorough]
        words = _after(promised, hypothesis, start)
        twice = _common(self._looked, _keys(words))
        lost = tuple(word for word in before if (word.start + word.end) / 2 > hypothesis.words[-1].end)
        words += lost if len(lost) >= LOST else ()
        whole = len(words) if final else sum(word.end <= upto - CUT_OFF for word in words)
        self._heard = [*promised, *words[:whole]]
        self._thorough = len(self._heard)
        self._fresh = words[whole:]
        self._open = [(key, 1) for key in _keys(self._fresh)]
        self._looked = _keys(words)
        self._promise(twice, upto)
        return self._transcript(hypothesis, upto, final=final)

    def _promise(self, twice: int, upto: float) -> None:
        """Of the words from thorough hypotheses, of which the first `twice` not promised yet were in two."""
        for n, word in enumerate(self._heard[self._promised : self._thorough]):
            believed = n < twice or word.confidence >= CERTAIN
            if not (believed and word.end <= upto - PROMISED) and word.end > upto - LONG_AGO:
                break
            self._promised += 1
            del self._looked[:1]

    def settled(self, upto: float, *, promised: bool) -> float:
        """The latest moment, not after `upto`, before which all words are heard, or promised."""
        rest = self._heard[self._promised :] if promised else []
        return min([upto, *(word.start for word in (*rest[:1], *self._fresh[:1]))])

    @property
    def until(self) -> float:
        """Where the last word heard ends; 0 before there is one."""
        return self._heard[-1].end if self._heard else 0.0

    def begins(self, since: float) -> list[float]:
        """Where the words begin that end after a moment."""
        return [word.start for word in (*self._fresh, *takewhile(lambda word: word.end > since, reversed(self._heard)))]

    def _transcript(self, hypothesis: Hypothesis, upto: float, *, final: bool) -> Transcript:
        stable = self._heard if final else self._heard[: self._promised]
        tentative = () if final else (*self._heard[self._promised :], *self._presentable())
        return Transcript(
            _line(stable),
            _line(tentative),
            final,
            upto,
            hypothesis.language,
            hypothesis.no_speech,
            (*stable, *tentative),
            hypothesis.logprob,
        )

    def _presentable(self) -> tuple[Word, ...]:
        """The newest words that will probably stay: seen before, or sure and not the last; but some word."""
        last = len(self._fresh) - 1
        doubted = (
            n
            for n, (word, (_, times)) in enumerate(zip(self._fresh, self._open, strict=True))
            if times == 1 and (word.confidence < SURE or n == last)
        )
        return self._fresh[: max(next(doubted, last + 1), not self._heard)]


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


def _after(known: list[Word], hypothesis: Hypothesis, start: float) -> tuple[Word, ...]:
    """The words of a hypothesis about audio from `start` on that come after the known ones.

    Known words count from the first whose middle lies in that audio.
    """
    first = next((n for n, word in enumerate(known) if (word.start + word.end) / 2 >= start), len(known))
    return hypothesis.words[_follows(known[first:], hypothesis.words) :]


def _keys(words: list[Word] | tuple[Word, ...]) -> list[str]:
    return [plain(word.text) for word in words]


def _line(words: list[Word] | tuple[Word, ...]) -> str:
    return " ".join(word.text for word in words)


def _common(left: list[str], right: list[str]) -> int:
    """Length of the common prefix."""
    pairs = zip(left, right, strict=False)
    return next((n for n, (a, b) in enumerate(pairs) if a != b), min(len(left), len(right)))


def _follows(known: list[Word], words: tuple[Word, ...]) -> int:
    """Where in `words` begins what follows `known`: after the prefix at the least edit distance from it.

    A recogniser that now hears a known word otherwise, or as two, must not shift what comes after. Only words at about
    the same time can be the same. Of equally good places the one counts that ends in the same word, then the one
    nearest to the known length.
    """
    old, new = _keys(known), _keys(words)
    row = list(range(len(words) + 1))
    for n, word in enumerate(known):
        above, row = row, [n + 1]
        for m, other in enumerate(words):
            apart = abs(word.end - other.end) > NEAR
            row.append(min(above[m + 1] + 1, row[m] + 1, above[m] + (2 if apart else old[n] != new[m])))
    return min(range(len(words) + 1), key=lambda m: (row[m], new[m - 1 : m] != old[-1:], abs(m - len(known))))
