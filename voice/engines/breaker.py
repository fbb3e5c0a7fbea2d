"""When to stop asking a server that fails, and when to try it again. Pure: the clock is the caller's.

Source: M. Nygard, "Release It!", the circuit breaker.
"""

from collections import deque
from dataclasses import dataclass, field

IN_A_ROW = 3
OUTCOMES = 20
ENOUGH = 10
SHARE = 0.5
"""Open after so many failures in a row, or when of the last outcomes, if there are enough, this share are failures."""
FIRST_PAUSE, LONGEST_PAUSE = 2.0, 60.0
"""Seconds from opening to the first trial; they double with each trial that fails."""

Ticket = int


@dataclass
class Breaker:
    """Closed: all may ask. Open: none. Half open: one may, and how that goes decides.

    Every request that `admit` lets in ends with one of `succeeded`, `failed` and `left`. A ticket is good for the state
    it was given in: what an old one has to tell is no longer news.

    Attributes:
        in_a_row: failures in a row that open it.
    """

    in_a_row: int = IN_A_ROW
    _outcomes: deque[bool] = field(default_factory=lambda: deque(maxlen=OUTCOMES))
    _ticket: Ticket = 1
    _until: float | None = None
    _trial: bool = False
    _pause: float = FIRST_PAUSE

    @property
    def closed(self) -> bool:
        """Nothing stands in the way."""
        return self._until is None

    def ready(self, now: float) -> bool:
        """Whether `admit` would let a request in."""
        return self._until is None or (not self._trial and now >= self._until)

    def admit(self, now: float) -> Ticket | None:
        """A ticket for one request, or None where it must not ask; `now` in seconds of a clock that never goes back."""
        if not self.ready(now):
            return None
        if self._until is not None:
            self._trial = True
            self._ticket += 1
        return self._ticket

    def succeeded(self, ticket: Ticket) -> None:
        """The server answers."""
        if ticket != self._ticket:
            return
        if self._trial:
            self._outcomes.clear()
            self._until, self._trial, self._pause = None, False, FIRST_PAUSE
            self._ticket += 1
        self._outcomes.append(True)

    def failed(self, ticket: Ticket, now: float) -> None:
        """The server does not, or broke off."""
        if ticket != self._ticket or (self._until is not None and not self._trial):
            return
        if self._trial:
            self._pause = min(2 * self._pause, LONGEST_PAUSE)
        self._outcomes.append(False)
        if self._trial or self._too_many():
            self._until, self._trial = now + self._pause, False
            self._ticket += 1

    def left(self, ticket: Ticket) -> None:
        """Nobody waited for how it went; a trial is then still due."""
        if ticket == self._ticket and self._trial:
            self._trial = False

    def _too_many(self) -> bool:
        newest = list(self._outcomes)[-self.in_a_row :]
        failures = self._outcomes.count(False)
        in_a_row = len(newest) == self.in_a_row and not any(newest)
        return in_a_row or (len(self._outcomes) >= ENOUGH and failures >= SHARE * len(self._outcomes))
