"""Which of several servers a prompt goes to. Pure: the clock is the caller's."""

from collections.abc import Collection
from dataclasses import dataclass, field

from voice.engines.breaker import Breaker, Ticket
from voice.engines.prefixes import Remembered, Texts

MISSES = 2
"""Looks in a row that a server misses before it is set aside."""
SLACK = 4
"""A conversation leaves its server when that has so many more requests than another: then waiting costs more than
reading the prompt again."""
NO_TICKET: Ticket = 0


@dataclass
class Worker:
    """What is known of one server.

    Attributes:
        running: requests of ours there.
        others: requests of others there, when it was last looked at.
        misses: looks in a row that it has missed.
        used: order of its last use.
        holds: what its prefix cache holds.
        breaker: opens with the first request that fails there.
    """

    running: int = 0
    others: int = 0
    misses: int = 0
    used: int = 0
    holds: Remembered = field(default_factory=Remembered)
    breaker: Breaker = field(default_factory=lambda: Breaker(in_a_row=1))

    @property
    def load(self) -> int:
        """Requests there."""
        return self.running + self.others

    @property
    def gone(self) -> bool:
        """Whether it is set aside until a look finds it well."""
        return self.misses >= MISSES


class Roster:
    """The servers by number. A conversation goes where most of it is cached, a new one where fewest requests are."""

    def __init__(self, count: int) -> None:
        self.workers = [Worker() for _ in range(count)]
        self._uses = 0

    def fit(self, number: int, now: float) -> bool:
        """Whether that server may be asked."""
        worker = self.workers[number]
        return not worker.gone and worker.breaker.ready(now)

    def choose(self, wanted: Texts, now: float, tried: Collection[int] = ()) -> int | None:
        """The server for a prompt, none of the `tried`.

        Where none is fit, one that is there but failed of late is better than no answer; and for a first try any is.
        """
        left = [number for number in range(len(self.workers)) if number not in tried]
        able = [number for number in left if self.fit(number, now)]
        able = able or [number for number in left if not self.workers[number].gone] or ([] if tried else left)
        if not able:
            return None
        held = {number: self.workers[number].holds.best(wanted) for number in able}
        stay = max(able, key=lambda number: (held[number], -self.workers[number].load))
        least = min(self.workers[number].load for number in able)
        if held[stay] and self.workers[stay].load - least <= SLACK:
            return stay
        return min(able, key=lambda number: (self.workers[number].load, self.workers[number].used))

    def begin(self, number: int, wanted: Texts, now: float) -> Ticket:
        """A request goes to that server: tell its breaker how it goes, and `end` it."""
        worker = self.workers[number]
        self._uses += 1
        worker.used = self._uses
        worker.running += 1
        worker.holds.add(wanted)
        return worker.breaker.admit(now) or NO_TICKET

    def end(self, number: int) -> None:
        """The request is over, one way or the other."""
        self.workers[number].running -= 1

    def looked(self, number: int, *, well: bool, requests: int = 0) -> None:
        """What a look at that server found: `requests` are all it works on.

        One that was gone begins anew, with an empty cache and a clean record.
        """
        worker = self.workers[number]
        if well and worker.gone:
            worker.holds, worker.breaker = Remembered(), Breaker(in_a_row=1)
        worker.misses = 0 if well else worker.misses + 1
        worker.others = max(0, requests - worker.running)
