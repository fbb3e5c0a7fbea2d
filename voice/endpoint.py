"""When a silence means that the caller has finished. Pure.

A pause either ends the turn or lies inside it. What the turn model heard and what the words say give odds that it ends
the turn, and with every moment of further silence the odds rise, for long pauses inside a turn are rare. The turn is
over when the odds have risen far enough. Pauses inside a turn are taken to follow a Pareto law, of which at time t the
share S(t) = (SHORTEST / t) ** tail still lasts; the tail is learnt from this caller.

The figures were chosen on recordings, see docs/recognition.md.
"""

from dataclasses import dataclass
from math import exp, log
from typing import Literal

Eagerness = Literal["low", "medium", "high", "auto"]

SHORTEST = 0.16
"""Seconds; shorter silences are no pauses."""
TAIL = 3.5
"""Of a caller who has not paused yet: most turns have no pause inside."""
PRIOR = 1.0
"""How many pauses of the caller's own weigh as much as that."""
SLOWEST, QUICKEST = 2.0, 4.0
"""Bounds of a caller's tail."""
FADE = 0.5
"""What remains of the caller's pauses from one turn to the next."""
WEIGHT = 0.25
"""Share of the turn model's log odds that is believed: it is too sure of itself where a speaker ends one of several
sentences."""
UNFINISHED = 2.0
"""What an unfinished text takes from the log odds."""
DEMANDED = {"low": 6.8, "medium": 4.9, "auto": 4.9, "high": 4.0}
"""Log odds at which a turn is over."""
LEAST = 0.4
"""Seconds; however sure the model is, half of the pauses inside a turn are longer than 0.3 s."""
LONGEST = {"low": 8.0, "medium": 4.0, "auto": 4.0, "high": 2.0}
"""Seconds of silence that end any turn, as OpenAI documents them for semantic_vad."""
ENOUGH = {"low": 3.0, "medium": 1.15, "auto": 1.15, "high": 0.7}
"""Seconds that end one whose words may be all; of 98 pauses inside a turn three were longer than 1.1 s."""


@dataclass(frozen=True, slots=True)
class Pauses:
    """The pauses inside this caller's turns: how many, and the sum of log(length / SHORTEST)."""

    count: float = 0.0
    logs: float = 0.0

    def heard(self, seconds: float) -> "Pauses":
        """With one more pause, of so many seconds."""
        return Pauses(self.count + 1, self.logs + log(max(seconds, SHORTEST) / SHORTEST))

    def faded(self) -> "Pauses":
        """As they count in the next turn."""
        return Pauses(FADE * self.count, FADE * self.logs)

    @property
    def tail(self) -> float:
        """Exponent of the law: its posterior mean under a Gamma prior, within bounds."""
        return min(max((PRIOR + self.count) / (PRIOR / TAIL + self.logs), SLOWEST), QUICKEST)


def silence_needed(probability: float, text: str | None, language: str, pauses: Pauses, eagerness: Eagerness) -> float:
    """Seconds of silence, counted from the end of speech, after which the turn is over.

    Args:
        probability: that the turn is over, as the turn model heard it, in [0, 1].
        text: what was said, or None while it is not known.
        language: of the text, ISO 639-1.
        pauses: this caller's pauses so far.
    """
    sure = min(max(probability, 0.005), 0.995)
    odds = WEIGHT * log(sure / (1 - sure))
    longest = ENOUGH if text else LONGEST
    if text and unfinished(text, language):
        odds -= UNFINISHED
        longest = LONGEST
    seconds = SHORTEST * exp((DEMANDED[eagerness] - odds) / pauses.tail)
    return min(max(seconds, LEAST), longest[eagerness])


# Words that no sentence ends with.
_OPEN = {
    "en": "a an the and or but because if my your our their its of than into um uh er hmm",
    "de": "und oder aber weil dass wenn ein eine einen dem den der äh ähm",
    "fr": "et ou mais parce que si un une le la les des du de mon ma mes euh",
    "es": "y o pero porque que si un una el la los las de mi mis eh",
}
_WORDS = {language: frozenset(words.split()) for language, words in _OPEN.items()}


def unfinished(text: str, language: str) -> bool:
    """Whether the words alone say that more is to come: a trailing comma, dash or dots, or a word that ends nothing."""
    if text.endswith((",", "...", "…", "-", "–", "—")):
        return True
    words = text.split()
    last = words[-1].strip(".!?;:\"'").lower() if words else ""
    spelt = len(words) == 1 and len(last) == 1
    return last in _WORDS.get(language, ()) and not spelt
