"""Between the words of a text and a voice's sound: how espeak is given them, when they sound, where to cut."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from voice.speakable import ends_sentence, pauses

HEAD_SECONDS = 0.02
TAIL_SECONDS = 0.06
"""What is left of the silence before and after a sentence."""
FADE_SECONDS = 0.005
CLAUSE_PAUSE_SECONDS = 0.08
SENTENCE_PAUSE_SECONDS = 0.22
"""Silence added after a comma and after a full stop; none where a clause was cut without punctuation."""

_HOP_SECONDS = 0.005
_AUDIBLE_BELOW_LOUDEST = 40.0
_AUDIBLE_DBFS = -60.0
_KNEE = 0.85
_PEAK = 0.98

_SILENT = frozenset(" ,.;:!?-\"'()[]¡¿«»“”…—")
_STRESS = re.compile("[ˈˌːʲ]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]+")
_MONEY = re.compile(r"(\W*)([$£€])(\d[\d,]*)(?:\.(\d\d?))?(\D*)")
_CURRENCIES = {"$": "dollar", "£": "pound", "€": "euro"}
_MAGNITUDE = re.compile(r"(hundred|thousand|million|billion|trillion)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Span:
    """Where a word lies: phonemes `first` up to `last` (excluded) of a sentence."""

    sentence: int
    first: int
    last: int


def spell(words: Sequence[str], english: bool = True) -> list[str]:
    """What the phonemizer is given for each word.

    The full stop of an abbreviation goes, or espeak ends the sentence at "Dr."; an ellipsis becomes the pause it
    stands for; "[[" would start raw phonemes. English amounts are put in the order they are said: "3 dollars 50".
    """
    spelt: list[str] = []
    for index, word in enumerate(words):
        plain = _CONTROL.sub("", word).replace("[[", "[").replace("]]", "]")
        last = index == len(words) - 1
        if plain.endswith(("...", "…")) and not last:
            plain = plain.rstrip(".…") + ","
        elif plain in ("-", "--", "–"):
            plain = "—"
        elif plain.endswith(".") and plain[0].isupper() and not last and not ends_sentence(plain):
            plain = plain[:-1]
        spelt.append(plain)
    return _in_words(spelt) if english else spelt


def _in_words(words: list[str]) -> list[str]:
    """English amounts of money as they are said."""
    said = list(words)
    for index, word in enumerate(words):
        amount = _MONEY.fullmatch(word)
        if amount is None:
            continue
        before, sign, whole, fraction, after = amount.groups()
        unit = _CURRENCIES[sign] + ("" if whole == "1" and not fraction else "s")
        scale = _MAGNITUDE.match(words[index + 1]) if not after and index + 1 < len(words) else None
        if scale is not None:
            said[index] = before + whole + (f".{fraction}" if fraction else "")
            said[index + 1] = f"{scale[0]} {_CURRENCIES[sign]}s{words[index + 1][scale.end() :]}"
        elif fraction in (None, "00"):
            said[index] = f"{before}{whole} {unit}{after}"
        elif len(fraction) == 2:
            said[index] = f"{before}{whole} {unit} {int(fraction)}{after}"
    return said


def place(alone: Sequence[str], said: Sequence[Sequence[str]]) -> list[Span]:
    """Find each word of a text in the phonemes of the whole.

    In context espeak joins words ("in the" is one), spells others out ("1,000" is two) and weakens vowels. Words whose
    phonemes are the same anchor the rest; between anchors as many words as groups are matched one by one, and unequal
    numbers share the phonemes in proportion to their own lengths.

    Args:
        alone: the phonemes of each word spoken by itself, parts separated by spaces.
        said: the phonemes of each sentence in context, spaces and punctuation included.

    Returns:
        One span per word, in order. A word that makes no sound has an empty one after the word before it.
    """
    groups = [group for number, sentence in enumerate(said) for group in _groups(number, sentence)]
    owners = [index for index, phonemes in enumerate(alone) for _ in _parts(phonemes)]
    parts = [part for phonemes in alone for part in _parts(phonemes)]
    keys = [_STRESS.sub("", "".join(said[group.sentence][group.first : group.last])) for group in groups]
    matcher = SequenceMatcher(None, [_STRESS.sub("", part) for part in parts], keys, autojunk=False)
    found: dict[int, list[Span]] = {}
    for _, part, parts_end, group, groups_end in matcher.get_opcodes():
        if parts_end - part == groups_end - group:
            shares = groups[group:groups_end]
        else:
            shares = _share([len(text) for text in parts[part:parts_end]], groups[group:groups_end])
        for owner, span in zip(owners[part:parts_end], shares, strict=False):
            found.setdefault(owner, []).append(span)
    spans: list[Span] = []
    here = Span(0, 0, 0)
    for index in range(len(alone)):
        own = found.get(index, [Span(here.sentence, here.last, here.last)])
        ends = [span.last for span in own if span.sentence == own[0].sentence]
        here = Span(own[0].sentence, own[0].first, ends[-1])
        spans.append(here)
    return spans


def _parts(phonemes: str) -> list[str]:
    """The groups of phonemes of a word spoken by itself."""
    return "".join(" " if phoneme in _SILENT else phoneme for phoneme in phonemes).split()


def _groups(number: int, sentence: Sequence[str]) -> list[Span]:
    """Runs of sounding phonemes."""
    groups: list[Span] = []
    first = -1
    for index, phoneme in enumerate([*sentence, " "]):
        if phoneme not in _SILENT:
            first = index if first < 0 else first
        elif first >= 0:
            groups.append(Span(number, first, index))
            first = -1
    return groups


def _share(lengths: list[int], groups: list[Span]) -> list[Span]:
    """Divide the phonemes of some groups in proportion."""
    places = [(group.sentence, index) for group in groups for index in range(group.first, group.last)]
    if not places:
        return []
    edges = np.rint(np.cumsum([0, *lengths]) / max(sum(lengths), 1) * len(places)).astype(int)
    spans = []
    for first, last in pairwise(edges.tolist()):
        if first == last:
            sentence, start = places[first - 1] if first else (places[0][0], places[0][1] - 1)
            spans.append(Span(sentence, start + 1, start + 1))
            continue
        sentence, start = places[first]
        end = max(index + 1 for number, index in places[first:last] if number == sentence)
        spans.append(Span(sentence, start, end))
    return spans


def sounding(sentence: Sequence[str]) -> bool:
    """Whether any phoneme makes a sound."""
    return any(phoneme not in _SILENT for phoneme in sentence)


class Trimmer:
    """Leaves a little of the silence around a sentence whose sound comes in pieces, and fades its two ends.

    Audible is a window of 5 ms at most 40 dB below the loudest so far and above -60 dBFS.

    Attributes:
        before: samples left out in front of the first that was let through.
    """

    def __init__(self, rate: int) -> None:
        self.before = 0
        self._begun = False
        self._hop = round(_HOP_SECONDS * rate)
        self._head, self._tail, self._fade = (
            round(seconds * rate) for seconds in (HEAD_SECONDS, TAIL_SECONDS, FADE_SECONDS)
        )
        self._threshold = _AUDIBLE_DBFS
        self._held = np.empty(0, dtype=np.float32)
        self._quiet = 0  # samples let through since the last audible one

    def push(self, samples: NDArray[np.float32], last: bool = False) -> NDArray[np.float32]:
        """Feed float32 samples; get those that are now certain to stay (possibly none)."""
        self._held = np.concatenate([self._held, samples])
        first, end = self._audible()
        ramp = np.linspace(0.0, 1.0, self._fade, dtype=np.float32)
        if not self._begun:
            start = max((first if end else len(self._held)) - self._head, 0)
            self._held = self._held[start:]
            self.before += start
            if not end:
                return np.empty(0, dtype=np.float32)
            self._begun = True
            end -= start
            faded = min(self._fade, len(self._held))
            self._held[:faded] *= ramp[:faded]
        end = end or -self._quiet
        room = max(end + self._tail - (0 if last else self._fade), 0)
        kept, self._held = self._held[:room], self._held[room:]
        self._quiet = len(kept) - end
        if last:
            faded = min(self._fade, len(kept))
            kept[len(kept) - faded :] *= ramp[:faded][::-1]
        return kept

    def _audible(self) -> tuple[int, int]:
        """First audible sample held and the one after the last; both 0 where nothing is."""
        windows = self._held[: len(self._held) // self._hop * self._hop].reshape(-1, self._hop)
        level = 10 * np.log10(np.mean(windows.astype(np.float64) ** 2, axis=1) + 1e-12)
        self._threshold = max(self._threshold, float(level.max(initial=_AUDIBLE_DBFS)) - _AUDIBLE_BELOW_LOUDEST)
        loud = np.flatnonzero(level > self._threshold)
        return (int(loud[0]) * self._hop, int(loud[-1] + 1) * self._hop) if len(loud) else (0, 0)


def louder(samples: NDArray[np.float32], gain: float) -> NDArray[np.float32]:
    """Samples times a gain; peaks above 0.85 are bent so that none reaches 0.98, whatever comes next."""
    raised = samples * np.float32(gain)
    size = np.abs(raised)
    bent = _KNEE + (_PEAK - _KNEE) * np.tanh((size - _KNEE) / (_PEAK - _KNEE))
    return np.where(size > _KNEE, np.copysign(bent, raised), raised).astype(np.float32)


def pause_after(word: str) -> float:
    """Seconds of silence after a sentence or clause that ends with this word."""
    if ends_sentence(word) or word.rstrip("\"'”’)").endswith("."):
        return SENTENCE_PAUSE_SECONDS
    return CLAUSE_PAUSE_SECONDS if pauses(word) else 0.0
