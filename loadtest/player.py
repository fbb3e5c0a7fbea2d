"""What a caller hears: a loudspeaker with a clock of its own, fed by the server's events. No I/O."""

from dataclasses import dataclass, replace
from enum import Enum
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from loadtest.caller import AUDIBLE, RATE
from streams.audio import Samples
from streams.playout import DUCKED

Told = Literal["started", "ducked", "held", "restored"]


class Client(Enum):
    """What a client does with sound it has received and not yet played."""

    API = "drops it at speech_started"
    EXTENDED = "follows rejoinder.interjection too"
    DEAF = "plays it whatever happens"


_DROPS: dict[Client, tuple[Told, ...]] = {
    Client.API: ("started",),
    Client.EXTENDED: ("started", "held"),
    Client.DEAF: (),
}


@dataclass(frozen=True, slots=True, eq=False)
class Stretch:
    """Sound of one answer without a break.

    Attributes:
        response, item: whose it is.
        at: when it begins, in samples of the player's clock.
        offset: where it lies in its item, in samples.
        gain: of the loudspeaker.
    """

    response: str
    item: str
    at: int
    offset: int
    samples: Samples
    gain: float = 1.0

    @property
    def end(self) -> int:
        """When it ends."""
        return self.at + len(self.samples)

    def parted(self, moment: int) -> "tuple[Stretch, Stretch]":
        """What comes before a moment, and what comes after it."""
        size = min(max(moment - self.at, 0), len(self.samples))
        rest = replace(self, at=self.at + size, offset=self.offset + size, samples=self.samples[size:])
        return replace(self, samples=self.samples[:size]), rest


class Player:
    """Plays what arrives, without a break as long as there is something; `latency` seconds late after each break.

    Times are seconds since the call began.
    """

    def __init__(self, client: Client, latency: float = 0.0) -> None:
        self.latency = latency
        self._client = client
        self._stretches: list[Stretch] = []
        self._received: dict[str, int] = {}  # samples of each item

    def arrived(self, now: float, response: str, item: str, samples: Samples) -> float:
        """More of an answer has come; returns when it sounds."""
        moment = round(now * RATE)
        end = self._stretches[-1].end if self._stretches else 0
        at = end if end > moment else moment + round(self.latency * RATE)
        offset = self._received.get(item, 0)
        self._received[item] = offset + len(samples)
        self._stretches.append(Stretch(response, item, at, offset, samples))
        return at / RATE

    def told(self, now: float, what: Told) -> None:
        """What the server says of the caller's voice over the answer."""
        moment = round(now * RATE)
        if what in _DROPS[self._client]:
            self._stretches = [stretch.parted(moment)[0] for stretch in self._stretches if stretch.at < moment]
        elif what == "ducked" and self._client is Client.EXTENDED:
            self._stretches = [
                part for stretch in self._stretches for part in _softer(stretch, moment) if len(part.samples)
            ]

    def sound(self, first: int, last: int) -> NDArray[np.float64]:
        """What sounded between two samples of the player's clock, in [-1, 1], shape (last - first,)."""
        heard = np.zeros(last - first)
        for stretch in self._stretches:
            begin, end = max(stretch.at, first), min(stretch.end, last)
            if begin < end:
                part = stretch.samples[begin - stretch.at : end - stretch.at]
                heard[begin - first : end - first] = part * (stretch.gain / 32768)
        return heard

    @property
    def until(self) -> float:
        """When it has played all it has."""
        return self._stretches[-1].end / RATE if self._stretches else 0.0

    def played(self, item: str, now: float) -> float:
        """Seconds of an item that have sounded."""
        moment = round(now * RATE)
        ends = [
            stretch.offset + min(moment, stretch.end) - stretch.at
            for stretch in self._stretches
            if stretch.item == item and stretch.at < moment
        ]
        return max(ends, default=0) / RATE

    def last_audible(self, response: str) -> float | None:
        """When the last sample of an answer sounded that can be heard."""
        for stretch in reversed(self._stretches):
            if stretch.response == response:
                loud = np.flatnonzero(np.abs(stretch.samples * stretch.gain) > AUDIBLE)
                if len(loud):
                    return float(stretch.at + loud[-1] + 1) / RATE
        return None

    def breaks(self, response: str, since: float) -> float:
        """Seconds for which the player had nothing to play of an answer, from a moment to the answer's end."""
        parts = [stretch for stretch in self._stretches if stretch.response == response]
        moment = round(since * RATE)
        return sum(max(0, later.at - max(part.end, moment)) for part, later in pairwise(parts)) / RATE


def _softer(stretch: Stretch, moment: int) -> tuple[Stretch, Stretch]:
    before, rest = stretch.parted(moment)
    return before, replace(rest, gain=DUCKED)
