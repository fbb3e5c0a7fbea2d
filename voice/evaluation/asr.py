"""Figures of recognition, from takes. Definitions are in the docstrings; docs/evaluation.md shows them to users."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np

from voice.agreement import plain
from voice.evaluation.scoring import BY_CHARACTER, Score, interval, matches, replaced, score, total
from voice.evaluation.take import FINAL_JOBS, Take, Utterance

WORST = 20
"""Clips shown as the worst."""


@dataclass(frozen=True)
class Spread:
    """A distribution in seconds."""

    count: int = 0
    p50: float | None = None
    p95: float | None = None

    @classmethod
    def of(cls, values: Iterable[float | None]) -> "Spread":
        """Of those that are known."""
        known = [value for value in values if value is not None]
        if not known:
            return cls()
        middle, high = np.quantile(known, [0.5, 0.95])
        return cls(len(known), round(float(middle), 4), round(float(high), 4))


@dataclass(frozen=True)
class Errors:
    """Word errors of some clips: counts, rate, and the interval that holds it in 95 of 100 cases."""

    clips: int
    empty: int
    score: Score
    rate: float | None
    interval: tuple[float, float] | None

    @classmethod
    def of(cls, takes: list[Take], scores: list[Score]) -> "Errors":
        """Of takes and their scores."""
        whole = total(scores)
        return cls(len(takes), sum(not take.text for take in takes), whole, whole.rate, interval(scores))


@dataclass(frozen=True)
class Quiet:
    """Words heard where nobody speaks (or nobody to the caller's telephone)."""

    clips: int
    minutes: float
    words: int

    @property
    def rate(self) -> float:
        """False words per minute."""
        return self.words / self.minutes if self.minutes else 0.0


@dataclass
class Figures:
    """All there is to say about one condition.

    Attributes:
        words, characters: errors of the languages scored by words, and of those by characters.
        corpora: the same by corpus.
        first_partial: onset of speech -> first text shown.
        commit_lag: end of a word -> the word in text that stays.
        finalization: end of speech -> the recogniser's last text known.
        upwr: words taken back or changed after they were shown, by words of the final text.
        committed_changed: utterances of which text that stays did not stay, to the letter;
            committed_words_changed: of those, words that became others, whatever their case and punctuation.
        engine: engine seconds per second of talking, by job; "all" is their sum.
        faults: utterances without a text for a fault of the engine.
        broken: sessions that ended or stood still before their clip was over.
        finals_seconds, texts_seconds, stock_seconds: engine seconds of all final decodes, of those whose text became
            the final one, and of the stock engine's.
    """

    condition: str
    talking: float
    words: Errors
    characters: Errors
    corpora: dict[str, Errors]
    stock: Errors | None
    first_partial: Spread
    commit_lag: Spread
    finalization: Spread
    upwr: float | None
    committed_changed: int
    committed_words_changed: int
    engine: dict[str, float]
    finals: int
    retried: int
    finals_seconds: float
    texts_seconds: float
    stock_seconds: float | None
    faults: int
    broken: int
    quiet: dict[str, Quiet] = field(default_factory=dict)


def figures(takes: list[Take]) -> list[Figures]:
    """One for each condition, in their order; clips without speech are under the first."""
    talk = [take for take in takes if take.clip.talks]
    groups: dict[str, list[Take]] = {take.condition: [] for take in talk or takes}
    for take in talk:
        groups[take.condition].append(take)
    found = [_figures(name, group) for name, group in groups.items()]
    if found:
        found[0].quiet = _quiet([take for take in takes if not take.clip.talks])
    return found


def _figures(condition: str, takes: list[Take]) -> Figures:
    lettered = [take for take in takes if take.clip.language in BY_CHARACTER]
    spelled = [take for take in takes if take.clip.language not in BY_CHARACTER]
    corpora: defaultdict[str, list[Take]] = defaultdict(list)
    for take in takes:
        corpora[take.clip.corpus].append(take)
    timed = [take for take in takes if take.clip.trusted]
    talking = sum(take.talking for take in takes)
    jobs = sorted({job for take in takes for job in take.spent})
    spent = {job: sum(take.spent.get(job, 0.0) for take in takes) for job in jobs}
    utterances = [one for take in takes for one in take.utterances]
    words = sum(len((one.final or "").split()) for one in utterances)
    stock = [take for take in takes if take.stock is not None]
    return Figures(
        condition=condition,
        talking=talking,
        words=_errors(spelled),
        characters=_errors(lettered),
        corpora={name: _errors(group) for name, group in sorted(corpora.items())},
        stock=_errors(stock, stock=True) if stock else None,
        first_partial=Spread.of(first_partial(take) for take in timed),
        commit_lag=Spread.of(lag for take in timed for lag in commit_lags(take)),
        finalization=Spread.of(finalization(take) for take in timed),
        upwr=sum(unstable(one) for one in utterances) / words if words else None,
        committed_changed=sum(not (one.final or "").startswith(one.stable) for one in utterances if one.over),
        committed_words_changed=sum(_changed(one) for one in utterances if one.over),
        engine={job: seconds / talking for job, seconds in {"all": sum(spent.values()), **spent}.items()}
        if talking
        else {},
        finals=sum(take.finals for take in takes),
        retried=sum(take.retried for take in takes),
        finals_seconds=sum(spent.get(job, 0.0) for job in FINAL_JOBS),
        texts_seconds=sum(one.seconds for one in utterances),
        stock_seconds=sum(take.stock_seconds for take in stock) if stock else None,
        faults=sum(bool(one.fault) for one in utterances),
        broken=sum(bool(take.broken) for take in takes),
    )


def _errors(takes: list[Take], *, stock: bool = False) -> Errors:
    return Errors.of(takes, [scored(take, stock=stock) for take in takes])


def scored(take: Take, *, stock: bool = False) -> Score:
    """Errors of one take, or of the stock engine in it."""
    return score(take.clip.transcript, (take.stock or "") if stock else take.text, take.clip.language)


def _quiet(takes: list[Take]) -> dict[str, Quiet]:
    kinds: defaultdict[str, list[Take]] = defaultdict(list)
    for take in takes:
        kinds[take.clip.kind].append(take)
    return {
        kind: Quiet(len(group), sum(take.seconds for take in group) / 60, sum(len(take.text.split()) for take in group))
        for kind, group in sorted(kinds.items())
    }


# Times ------------------------------------------------------------------------------------------------------


def first_partial(take: Take) -> float | None:
    """Seconds from the onset of speech to the first text shown; None where nothing is shown before the end."""
    at = next((at for one in take.utterances for at, stable, open_ in one.shown if stable or open_), None)
    return None if at is None or take.onset is None else at - take.onset


def finalization(take: Take) -> float | None:
    """Seconds from the end of speech until the recogniser's text for all of it is known, told or not."""
    known = [one.known for one in take.utterances if one.final and one.known is not None]
    return None if not known or take.offset is None else known[-1] - take.offset


def commit_lags(take: Take) -> list[float]:
    """For each word recognised as it was said: seconds from its end until it stands in text that stays.

    The last words of an utterance stand when its final text is known.
    """
    said, stands = list[str](), list[float | None]()
    for one in take.utterances:
        words = (one.final or "").split()
        said += words
        stands += [_stands(one, n) for n in range(len(words))]
    pairs = matches([_key(word) for word, _, _ in take.clip.words], [_key(word) for word in said])
    ends = [end for _, _, end in take.clip.words]
    return [at - ends[right] for right, heard in pairs if (at := stands[heard]) is not None]


def _stands(one: Utterance, n: int) -> float | None:
    """When the utterance's n-th word was told for good."""
    shown = next((at for at, stable, _ in one.shown if len(stable.split()) > n), None)
    return min((at for at in (shown, one.known) if at is not None), default=None)


# Stability --------------------------------------------------------------------------------------------------


def unstable(one: Utterance) -> int:
    """Words changed or taken back after being shown: from each display to the next, and from the last to the final
    text, at the least edit distance, whatever their case and punctuation."""
    displays = [_keys(f"{stable} {open_}") for _, stable, open_ in one.shown]
    displays.append(_keys(one.final or ""))
    return sum(replaced(before, after) for before, after in pairwise(displays))


def _changed(one: Utterance) -> int:
    stable, final = _keys(one.stable), _keys(one.final or "")
    return 0 if final[: len(stable)] == stable else replaced(stable, final)


def _keys(text: str) -> list[str]:
    return [_key(word) for word in text.split()]


def _key(word: str) -> str:
    return plain(word).replace(" ", "") or "-"


# Single clips -----------------------------------------------------------------------------------------------


def rows(takes: list[Take]) -> list[dict[str, Any]]:
    """Every take for the JSON file."""
    return [
        {
            "id": take.clip.id,
            "kind": take.clip.kind,
            "corpus": take.clip.corpus,
            "language": take.clip.language,
            "condition": take.condition,
            "reference": take.clip.transcript,
            "heard": take.text,
            "errors": asdict(scored(take)),
            "stock": take.stock,
            "first_partial": first_partial(take),
            "finalization": finalization(take),
            "utterances": len(take.utterances),
            "unstable": sum(unstable(one) for one in take.utterances),
            "committed_changed": [
                {"stable": one.stable, "final": one.final}
                for one in take.utterances
                if one.over and not (one.final or "").startswith(one.stable)
            ],
            "finals": take.finals,
            "retried": take.retried,
            "spent": dict(take.spent),
            "stock_seconds": take.stock_seconds,
            "broken": take.broken,
            "faults": [one.fault for one in take.utterances if one.fault],
        }
        for take in takes
    ]


def worst(takes: list[Take]) -> list[Take]:
    """Those with most errors; clips without speech from which words were heard come first."""
    invented = [take for take in takes if not take.clip.talks and take.text]
    wrong = sorted((take for take in takes if take.clip.talks), key=lambda take: -scored(take).errors)
    return [*invented, *(take for take in wrong if scored(take).errors)][:WORST]
