"""A stream's own time, coupled to the event loop's."""

from bisect import bisect_left
from collections import deque

_KEPT = 120.0  # seconds of arrivals remembered
_GRAIN = 0.001  # arrivals closer than this share an entry, so that tiny packets cannot grow the log


class SampleClock:
    """Tells stream positions from loop times and back; both in seconds, samples counted at `rate` Hz.

    Pure: loop times come in as arguments, and must not decrease from call to call.
    """

    def __init__(self, rate: int) -> None:
        self.rate = rate
        self._samples = 0
        self._last: float | None = None  # loop time of the last arrival
        self._log: deque[tuple[float, float]] = deque()  # (stream position after an arrival, its loop time)

    @property
    def position(self) -> float:
        """Seconds of stream received so far."""
        return self._samples / self.rate

    @property
    def last_arrival(self) -> float:
        """Loop time at which the newest sample arrived; 0 before the first."""
        return self._last or 0.0

    def arrived(self, samples: int, now: float) -> None:
        """Note that so many more samples came in at loop time `now`."""
        if samples <= 0:
            return
        self._samples += samples
        self._last = now
        since = now
        if self._log and now - self._log[-1][1] < _GRAIN:
            since = self._log.pop()[1]
        self._log.append((self.position, since))
        while self._log[0][1] < now - _KEPT:
            self._log.popleft()

    def now(self, loop_now: float, slack: float) -> float:
        """Where the stream is, extrapolated by the time beyond `slack` that nothing arrived, so that deadlines pass.

        Never decreases while nothing arrives. An arrival takes the extrapolation back: the samples say where it is.
        """
        if self._last is None:
            return 0.0
        return self.position + max(0.0, loop_now - self._last - slack)

    def when(self, position: float) -> float:
        """Loop time at which the sample at a stream position arrived, to a millisecond.

        Later than received: when it would arrive in real time. Earlier than the log of 120 s: its oldest time.

        Raises:
            ValueError: nothing has arrived yet.
        """
        if self._last is None:
            raise ValueError("no sample has arrived on this stream yet: its clock has no time to give")
        if position > self.position:
            return self._last + position - self.position
        return self._log[bisect_left(self._log, (position,))][1]
