"""What answers begun before the end of a turn have won and cost, and how much of that is worth while. Pure."""

from dataclasses import dataclass
from typing import Literal

from voice.commands import Cause

Outcome = Literal["hit", "lost"] | Cause

PRIOR_HITS, PRIOR = 3.0, 4.0
"""What a caller is taken for at first: three drafts of four are hits."""
FADE = 0.85
"""What a draft still counts one turn later."""
PAYS, HARDLY_PAYS = 0.6, 0.45
"""Share of hits from which drafts begin as early as they can, and from which they begin at all."""
TOOK, LEARNT = 0.35, 0.2
"""Seconds that a draft takes to its first sound, to begin with, and the weight of a newer one."""
SHORTEST, LONGEST = 0.25, 0.6
"""Bounds of the lead."""
MARGIN = 1.25
"""A draft gets so much more time than one takes at the average."""
BUSY, CROWDED = 1.0, 1.5
"""Calls for each thread of the busiest engine, from which drafts begin later, and from which none does."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A reply begun behind the gate, and what became of it.

    Attributes:
        outcome: "hit": it was released; "lost": it failed, or the call ended; else why it was withdrawn.
        saved: seconds that the caller waited less.
        tokens: of the language model, so far.
        seconds: since the language model was asked.
    """

    outcome: Outcome
    saved: float = 0.0
    tokens: int = 0
    seconds: float = 0.0

    def report(self) -> dict[str, object]:
        """For a client's waterfall and for the log."""
        return {
            "outcome": self.outcome,
            "saved_ms": round(1000 * self.saved, 1),
            "tokens": self.tokens,
            "engine_ms": round(1000 * self.seconds, 1),
        }


class Ledger:
    """The drafts of one caller.

    Args:
        mode: "auto" begins them while it pays, "on" always, "off" never.
    """

    def __init__(self, mode: Literal["auto", "on", "off"]) -> None:
        self._mode = mode
        self._hits = 0.0
        self._count = 0.0
        self._took = TOOK
        self.turn: list[Draft] = []

    def entered(self, draft: Draft) -> None:
        """One more draft has come to its end."""
        self.turn.append(draft)
        if draft.outcome != "lost":
            self._count += 1
            self._hits += draft.outcome == "hit"

    def turned(self) -> list[Draft]:
        """A turn is over; returns its drafts. Old ones count less, so that a caller is tried again after a while."""
        drafts, self.turn = self.turn, []
        self._hits *= FADE
        self._count *= FADE
        return drafts

    def ready(self, took: float) -> None:
        """A draft had its first sound so many seconds after it was begun."""
        self._took += LEARNT * (took - self._took)

    @property
    def hit_rate(self) -> float:
        """Share of drafts that were released, of late."""
        return (PRIOR_HITS + self._hits) / (PRIOR + self._count)

    def lead(self, load: float) -> float:
        """Seconds before the expected end of a turn at which a draft may begin; 0: none.

        Args:
            load: calls that wait or run for each thread of the busiest engine.
        """
        lead = min(max(MARGIN * self._took, SHORTEST), LONGEST)
        if self._mode != "auto":
            return lead if self._mode == "on" else 0.0
        if load >= CROWDED or self.hit_rate < HARDLY_PAYS:
            return 0.0
        return lead if load < BUSY and self.hit_rate >= PAYS else lead / 2
