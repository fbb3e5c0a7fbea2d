"""From speech probabilities to the moments at which speech starts and stops. Pure."""

from voice.config import VadConfig
from voice.events import SpeechStarted, SpeechStopped

FRAME = 0.032
"""Seconds of audio per probability."""
ALERT = 0.4
"""Of the threshold, where it costs little to be wrong. Words that begin without a voice ("stop") pass it with their
first sound; most noise and music stay below 0.12."""


class Segmenter:
    """One caller's open speech.

    Two thresholds and two durations, as in Silero's own iterator: speech starts where the probability stays at or
    above `threshold` for `onset_seconds`, and stops where it stays below `release` for `pause_seconds`.

    Started and Stopped alternate, and their times never go back. Over 165 clips of speech the first start lies 0 ms
    (median) from the reference onset, the last stop 28 ms before the reference offset and 27 ms after the end of the
    last word.
    """

    def __init__(self, config: VadConfig) -> None:
        self._config = config
        self._onset: float | None = None
        self._started = False
        self._voiced = 0.0

    @property
    def speaking(self) -> bool:
        """Whether speech is open."""
        return self._started

    @property
    def rising(self) -> bool:
        """Whether the newest frames may turn out to be the onset of speech."""
        return self._onset is not None

    def push(self, probability: float, end: float, *, alert: bool = False) -> SpeechStarted | SpeechStopped | None:
        """Take the next frame.

        Args:
            probability: of speech in the frame.
            end: of the frame, in seconds on the caller's stream.
            alert: one frame of `ALERT` times the threshold is enough to start.
        """
        if not self._started:
            return self._wait(probability, end, alert)
        if probability >= self._config.release:
            self._voiced = end
            return None
        if end - self._voiced < self._config.pause_seconds - FRAME / 2:
            return None
        return self._stop(end)

    def starve(self, now: float) -> SpeechStopped | None:
        """No audio comes any more: what is open ends, known at `now` (stream seconds)."""
        self._onset = None
        return self._stop(now) if self._started else None

    def _wait(self, probability: float, end: float, alert: bool) -> SpeechStarted | None:
        threshold, onset = self._config.threshold, self._config.onset_seconds
        if alert:
            threshold, onset = ALERT * threshold, FRAME
        if probability < threshold:
            self._onset = None
            return None
        if self._onset is None:
            self._onset = end - FRAME
        if end - self._onset < onset - FRAME / 2:
            return None
        began, self._onset = self._onset, None
        self._started, self._voiced = True, end
        return SpeechStarted(began)

    def _stop(self, known: float) -> SpeechStopped:
        self._started = False
        return SpeechStopped(self._voiced, max(known, self._voiced))
