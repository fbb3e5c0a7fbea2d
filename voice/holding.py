"""The part of a caller's audio that may still be needed."""

from collections import deque

import numpy as np

from streams.audio import Audio, join
from streams.tap import Tap

QUIET = 0.1
"""Seconds over which loudness is taken for the quietest moment."""


class Holding:
    """Takes audio at its end and lets go of it at its beginning; every sample is accounted for in `tap`.

    received = decoded + gated + dropped + held. Positions are samples of the stream.
    """

    def __init__(self, rate: int, tap: Tap) -> None:
        self.start = 0
        self.end = 0
        self._parts: deque[Audio] = deque()
        self._rate = rate
        self._tap = tap

    def push(self, audio: Audio) -> Audio:
        """Hold the next samples; returns them with their position."""
        placed = Audio(audio.samples, self._rate, self.end)
        self.end = placed.end
        self._parts.append(placed)
        self._count("received", placed)
        return placed

    def since(self, start: int) -> Audio:
        """All that is held from a position on."""
        return join([part for part in self._parts if part.end > start] or [self._nothing()]).span(start, self.end)

    def forget(self, upto: int, state: str) -> None:
        """Let go of what lies before a position, as "decoded", "gated" or "dropped"."""
        upto = min(upto, self.end)
        while self._parts and self._parts[0].start < upto:
            part = self._parts.popleft()
            self._count(state, part.span(part.start, upto))
            if part.end > upto:
                self._parts.appendleft(part.span(upto, part.end))
        self.start = max(self.start, upto)

    def quietest(self, first: int, last: int, near: list[int]) -> int | None:
        """Middle of the quietest moment between two positions; None if they are too close to tell.

        Where moments near some positions are among them, one of those.
        """
        energy = np.cumsum(self.since(first).span(first, last).floats().astype(np.float64) ** 2)
        size = round(QUIET * self._rate)
        if len(energy) < 2 * size:
            return None
        middles = max(first, self.start) + size // 2 + np.arange(len(energy) - size)
        loudness = energy[size:] - energy[:-size]
        close = np.zeros(len(middles), bool)
        for place in near:
            close |= np.abs(middles - place) <= size // 2
        if close.any():
            middles, loudness = middles[close], loudness[close]
        return int(middles[np.argmin(loudness)])

    def _nothing(self) -> Audio:
        return Audio(np.zeros(0, np.int16), self._rate, self.end)

    def _count(self, state: str, audio: Audio) -> None:
        self._tap.count("audio_seconds_total", audio.seconds, state=state)
