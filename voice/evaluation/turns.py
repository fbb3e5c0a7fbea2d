"""Figures of turn ends, from takes.

An inner pause is a stretch of at least 0.2 s between two stretches of speech in which the voice detector hears no voice
in the clean recording. It is taken for the end when an utterance is closed on the speech before it although more
follows.
"""

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from voice.evaluation.asr import Spread
from voice.evaluation.take import Take

NEAR = 0.3
"""Seconds by which the live detector may place the end of speech otherwise than the reference."""
SETTINGS: dict[str, dict[str, Any]] = {
    **{
        f"{silence:g} s of silence": {"type": "server_vad", "silence_duration_ms": round(1000 * silence)}
        for silence in (0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0, 1.2)
    },
    **{f"semantic_vad, {eagerness}": {"type": "semantic_vad", "eagerness": eagerness}
       for eagerness in ("low", "medium", "high")},
}  # fmt: skip
"""Turn detection to compare, as clients ask for it."""


@dataclass(frozen=True)
class Ends:
    """How some clips' ends were found.

    Attributes:
        delay: end of speech -> utterance closed, of trusted clips.
        early: clips of which the last utterance was closed before the reference says that speech ends.
        never: clips with an utterance that was not closed.
        pauses, cut: inner pauses, and those taken for the end.
        elsewhere: ends found where the reference has no pause.
    """

    clips: int
    delay: Spread
    early: int
    never: int
    pauses: int
    cut: int
    elsewhere: int

    @property
    def rate(self) -> float | None:
        """Part of the inner pauses taken for the end."""
        return self.cut / self.pauses if self.pauses else None


@dataclass(frozen=True)
class Setting:
    """One way to detect turns: the whole, and each corpus."""

    name: str
    whole: Ends
    corpora: dict[str, Ends] = field(default_factory=dict)


def setting(name: str, takes: list[Take]) -> Setting:
    """The figures of some takes."""
    corpora: defaultdict[str, list[Take]] = defaultdict(list)
    for take in takes:
        corpora[take.clip.corpus].append(take)
    return Setting(name, _ends(takes), {corpus: _ends(group) for corpus, group in sorted(corpora.items())})


def _ends(takes: list[Take]) -> Ends:
    delays = [delay(take) for take in takes if take.clip.trusted]
    found = [cuts(take) for take in takes]
    return Ends(
        clips=len(takes),
        delay=Spread.of(late for late in delays if late is not None and late >= 0),
        early=sum(late is not None and late < 0 for late in delays),
        never=sum(any(one.closed is None for one in take.utterances) for take in takes),
        pauses=sum(len(take.pauses) for take in takes),
        cut=sum(len(inside) for inside, _ in found),
        elsewhere=sum(others for _, others in found),
    )


def delay(take: Take) -> float | None:
    """Seconds from the end of speech until the last utterance is closed; None where it never is."""
    closed = take.utterances[-1].closed if take.utterances else None
    return None if closed is None or take.offset is None else closed - take.offset


def cuts(take: Take) -> tuple[set[int], int]:
    """Which inner pauses were taken for the end, and how many ends were found elsewhere inside the speech."""
    inside, elsewhere = set[int](), 0
    for one in take.utterances[:-1]:
        if (ended := one.ended) is None:
            continue
        distances = [abs(begun - ended) for begun, _ in take.pauses]
        if distances and min(distances) <= NEAR:
            inside.add(distances.index(min(distances)))
        elif take.onset is not None and take.offset is not None and take.onset < ended < take.offset - NEAR:
            elsewhere += 1
    return inside, elsewhere


def rows(name: str, takes: list[Take]) -> list[dict[str, Any]]:
    """Every take for the JSON file."""
    return [
        {
            "id": take.clip.id,
            "corpus": take.clip.corpus,
            "setting": name,
            "delay": delay(take),
            "pauses": take.pauses,
            "cut": sorted(cuts(take)[0]),
            "utterances": [
                {"ended": one.ended, "closed": one.closed, "known": one.known, "text": one.final}
                for one in take.utterances
            ],
        }
        for take in takes
    ]
